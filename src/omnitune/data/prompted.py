"""Prompted: what an input reads where a task has a prompt for it, in the place of its own values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from omnitune.data.columns import Column
from omnitune.data.table import Rowed
from omnitune.errors import Mistake
from omnitune.modalities._prompts import Shown
from omnitune.nn import values as cells
from omnitune.nn.tokens import Batch
from omnitune.recipe import Recipe

Facts = dict[str, Any]
Known = Mapping[str, Callable[[Any, int | None], dict[str, Tensor] | None]]
Values = Mapping[str, Sequence[Any]]
Array = np.ndarray[Any, Any]
COUNTED = 5_000
"""Training answers whose length is looked at, spread evenly over the rows."""
FREE, LONG = "answer", "long"
"""Under which a task's facts keep how many tokens are free for an answer, and the share of answers that are longer."""


def learn(recipe: Recipe, name: str, read: Facts, table: Rowed, train: Array) -> Facts:
    """What task `name` must know of its prompt: the tokens that are free for an answer, and the share of answers that are longer.

    Args:
        recipe: as given.
        name: of a task with a prompt.
        read: what the input that it asks learned.
        table, train: the training rows.

    Raises:
        Mistake: the prompt cannot be read by the backbone, or no training row has an answer.
    """
    task, modality, stands = recipe.tasks[name], recipe.inputs[recipe.tasks[name].of], shown(recipe, name)
    limit, wanted = modality.language(read)["limit"], task.answer_tokens
    some = train[:: -(-len(train) // COUNTED) or 1]
    columns = {column: Column(table, column, some)[:] for column in (*task.columns(), *task.needs())}
    texts = [text for row in task.behind(columns, len(some)) for text in row]
    if task.windows:
        longest = max(modality.tokens(texts, read), default=1) if wanted is None else wanted
        return {FREE: int(longest), LONG: 0.0}
    try:
        lengths = modality.prompts(task.prompts, 1, read, stands).lengths(texts)
        if not len(lengths):
            raise Mistake("target", "no training row has an answer", f"Fill column {task.columns()[0]!r}")
        free = min(lengths.max(), limit // 2) if wanted is None else wanted
        modality.prompts(task.prompts, int(free), read, stands)
    except Mistake as mistake:
        raise mistake.under(f"tasks.{name}") from None
    return {FREE: int(free), LONG: float((lengths > free).mean())}


def shown(recipe: Recipe, name: str) -> tuple[Shown, ...]:
    """The inputs that stand in the prompt of task `name` as what their backbones make of them."""
    numbers = {of: number for number, of in enumerate(recipe.inputs)}
    return tuple(Shown(of, numbers[of], recipe.inputs[of].shows) for of in recipe.shown(name))


def alone(recipe: Recipe) -> str | None:
    """The task whose prompt is all that is read of its input, since there is no other; None where there is one, or no prompt."""
    name, *others = recipe.tasks
    return None if others or recipe.tasks[name].prompts is None else name


def kept(recipe: Recipe) -> str | None:
    """The same, where what frozen blocks make of prompt and answer may be kept: not of several texts behind one prompt, nor where pictures or sounds
    stand in it, since what they are there learns."""
    name = alone(recipe)
    return None if name is None or recipe.tasks[name].forks or recipe.tasks[name].windows or recipe.shown(name) else name


def read_by(recipe: Recipe, name: str) -> list[str]:
    """The columns that decide what the input of task `name` reads: those of its prompt, and of the texts behind it."""
    return [*dict.fromkeys((*recipe.read_by(name).values(), *recipe.tasks[name].needs(), *recipe.tasks[name].columns()))]


def sizes(recipe: Recipe, name: str, table: Rowed, rows: Array) -> Array:
    """About how many tokens the prompt of task `name` and what lies behind it have in each row, (n,) int64."""
    task, total = recipe.tasks[name], np.full(len(rows), sum(of.most for of in shown(recipe, name)), np.int64)
    size = recipe.inputs[task.of].size
    if task.windows:  # all of a text is read
        size = lambda value: len(cells.text(value)) // 4  # noqa: E731
    for column in recipe.read_by(name).values():
        total += np.fromiter((0 if v is None else size(v) for v in Column(table, column, rows)), np.int64, len(rows))
    columns = {column: Column(table, column, rows)[:] for column in (*task.columns(), *task.needs())}
    return total + np.fromiter((sum(map(size, texts)) for texts in task.behind(columns, len(rows))), np.int64, len(rows))


def encoded(
    recipe: Recipe, inputs: Mapping[str, Facts], name: str, facts: Facts, columns: Values, there: Mapping[str, Sequence[bool]]
) -> dict[str, Tensor]:
    """What the input of task `name` reads, by its prompt, with the answers behind it, as tensors.

    Args:
        recipe: as given.
        inputs: what inputs learned.
        name: of a task with a prompt.
        facts: what it learned.
        columns: values by column, one a row: those of names in the prompt, those that the task `needs`, and where there are answers its own.
        there: of inputs that stand in the prompt as what their backbones make of them, the rows that have one.
    """
    task = recipe.tasks[name]
    values = {named: columns[column] for named, column in recipe.read_by(name).items()}
    texts = task.behind(columns, len(next(iter((*columns.values(), *there.values())))))
    asked, free, facts_of = task.prompts, facts[FREE], inputs[task.of]
    if task.windows:
        contexts = [cells.text(value) for value in columns[recipe.column(task.of)]]
        spans = task.located(contexts, columns)
        read: dict[str, Tensor] = recipe.inputs[task.of].windowed(asked, free, values, contexts, spans, task.overlap, facts_of)
        return read
    stands = {of: there[of.name] for of in shown(recipe, name)}
    if task.forks:
        forked: dict[str, Tensor] = recipe.inputs[task.of].forked(asked, free, values, texts, task.ends, facts_of, stands)
        return forked
    answers = [next(iter(some), None) for some in texts]
    made: dict[str, Tensor] = recipe.inputs[task.of].prompted(asked, free, values, answers, facts_of, stands)
    return made


def told(recipe: Recipe, name: str, columns: Values, rows: int) -> list[list[str]]:
    """What task `name` is told of each row with which its answers become words: the texts behind its prompt, or what it quotes from."""
    task = recipe.tasks[name]
    return [[cells.text(value)] for value in columns[recipe.column(task.of)]] if task.windows else task.behind(columns, rows)


def spelled(recipe: Recipe, name: str, facts: Facts, columns: Values) -> Values:
    """`columns` themselves, or where the backbone of its input spells the answers of task `name`, with tokens and UTF-8 bytes in their place."""
    task = recipe.tasks[name]
    lead = task.lead(facts)
    if lead is None:
        return columns
    (column,) = task.columns()
    texts = [None if cells.missing(value) else " ".join(cells.sound(cells.text(value)).split()) for value in columns[column]]
    spell = recipe.inputs[task.of].spelled
    return {**columns, column: [None if text is None else (spell(text, lead), len(text.encode())) for text in texts]}


def prompted(
    recipe: Recipe, inputs: Mapping[str, Facts], name: str, facts: Facts, batch: Batch, columns: Values, known: Known | None = None
) -> Batch:
    """`batch` itself, or where task `name` has a prompt one whose input reads it; arguments as of `encoded`, `known` as of `Batches`. Of inputs that
    stand in the prompt the batch tells which rows have one."""
    task = recipe.tasks[name]
    if task.prompts is None:
        return batch
    found = known[task.of](batch.rows, None) if known and task.of in known and kept(recipe) else None
    there = {of: batch.inputs[of]["present"].tolist() for of in recipe.shown(name)}
    return replace(batch, inputs={**batch.inputs, task.of: (found or {}) | encoded(recipe, inputs, name, facts, columns, there)})
