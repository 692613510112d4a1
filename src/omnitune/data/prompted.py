"""Prompted: what an input reads where a task has a prompt for it, in the place of its own values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from omnitune.data.columns import Column
from omnitune.data.table import Rowed
from omnitune.errors import Mistake
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
    task, modality = recipe.tasks[name], recipe.inputs[recipe.tasks[name].of]
    limit, wanted = modality.language(read)["limit"], task.answer_tokens
    (column,) = task.columns()
    answers = (value for value in Column(table, column, train[:: -(-len(train) // COUNTED) or 1]) if value is not None)
    try:
        lengths = modality.prompts(task.prompts, 1, read).lengths(islice(answers, COUNTED))
        if not len(lengths):
            raise Mistake("target", "no training row has an answer", f"Fill column {column!r}")
        free = min(lengths.max(), limit // 2) if wanted is None else wanted
        modality.prompts(task.prompts, int(free), read)
    except Mistake as mistake:
        raise mistake.under(f"tasks.{name}") from None
    return {FREE: int(free), LONG: float((lengths > free).mean())}


def alone(recipe: Recipe) -> str | None:
    """The task whose prompt is all that is read of its input, since there is no other; None where there is one, or no prompt."""
    name, *others = recipe.tasks
    return None if others or recipe.tasks[name].prompts is None else name


def read_by(recipe: Recipe, name: str) -> list[str]:
    """The columns that decide what the input of task `name` reads: those of its prompt, and its target."""
    return [*dict.fromkeys((*recipe.read_by(name).values(), *recipe.tasks[name].columns()))]


def encoded(recipe: Recipe, inputs: Mapping[str, Facts], name: str, facts: Facts, columns: Values) -> dict[str, Tensor]:
    """What the input of task `name` reads, by its prompt, with the answers behind it, as tensors.

    Args:
        recipe: as given.
        inputs: what inputs learned.
        name: of a task with a prompt.
        facts: what it learned.
        columns: values by column, one a row: those of names in the prompt, and where there are answers those of the target.
    """
    task = recipe.tasks[name]
    values = {named: columns[column] for named, column in recipe.read_by(name).items()}
    rows = len(next(iter(columns.values())))
    answers = columns.get(*task.columns()) or [None] * rows
    made: dict[str, Tensor] = recipe.inputs[task.of].prompted(task.prompts, facts[FREE], values, answers, inputs[task.of])
    return made


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
    """`batch` itself, or where task `name` has a prompt one whose input reads it; arguments as of `encoded`, `known` as of `Batches`."""
    task = recipe.tasks[name]
    if task.prompts is None:
        return batch
    kept = known[task.of](batch.rows, None) if known and task.of in known and alone(recipe) else None
    return replace(batch, inputs={**batch.inputs, task.of: (kept or {}) | encoded(recipe, inputs, name, facts, columns)})
