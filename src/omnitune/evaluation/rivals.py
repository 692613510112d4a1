"""Rivals: what a trained model has to beat on the same test rows: a constant, a simple model of the table, the pretrained backbone as it was."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation import (
    baselines,
    before,
    futures,
    neighbours,
    options,
    pairs,
    parts,
    pixels,
    preferences,
    quotes,
    ranks,
    rebuilt,
    texts,
    written,
)
from omnitune.evaluation.answers import answer, known
from omnitune.nn.metrics import like
from omnitune.nn.tokens import Batch
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


OF_INPUTS = {
    "tokens": texts.rivals, "classes": texts.rivals, "pixels": pixels.rivals, "pairs": pairs.rivals, "series": futures.rivals,
    "rebuilt": rebuilt.rivals, "neighbours": neighbours.rivals, "choices": options.rivals,
    "preferences": preferences.rivals, "spans": quotes.rivals, "tags": parts.rivals,
}  # fmt: skip
"""By form, what tasks without labels have to beat."""


@dataclass(frozen=True)
class Truth:
    """What is known of one task on some rows.

    Args:
        y: answers of the rows that can be measured, first dimension n.
        rows: their numbers, (n,).
        known: which of all rows those are, bool.
        partly: how many more have an answer to some of several labels.
    """

    y: Array
    rows: Array
    known: Array
    partly: int


@dataclass(frozen=True)
class Rivals:
    """Of one task, on its labelled test rows.

    Args:
        p: predictions by name: constant; simple, where some input has a simple model; before, where something is pretrained.
        words: what each of them is.
        texts: of a task that writes, what is written before training.
    """

    p: dict[str, Array]
    words: dict[str, str]
    texts: written.Texts | None = None


def truth(prepared: Prepared, task: str, rows: Array) -> Truth:
    """The answers of `task` on `rows`, in their order."""
    asked = prepared.recipe.tasks[task]
    if not asked.supervised:
        return Truth(np.ones((len(rows), 2)), rows, np.ones(len(rows), dtype=bool), 0)
    columns = {column: Column(prepared.table, stored, rows)[:] for column, stored in prepared.recipe.answers(task).items()}
    _, target = asked.prepare(Batch({}, rows), columns, prepared.schema.tasks[task], None)
    y = target["y"].numpy()
    weight = target["weight"].numpy()
    there = known(y, weight)
    return Truth(y[there], rows[there], there, int((weight > 0).sum() - there.sum()))


def rivals(model: Model, prepared: Prepared) -> dict[str, Rivals]:
    """The rivals of every task, which learn from real rows alone. `model` stands as it was before training."""
    prepared = prepared.real()
    supervised = {name: task.supervised for name, task in prepared.recipe.tasks.items()}
    probed = _probed(prepared) if any(supervised.values()) else {}
    frozen = _features(model, prepared, probed) if probed and model.backbones and len(prepared.parts["test"]) else None
    of_inputs = _of_inputs(model, prepared, [name for name, answers in supervised.items() if not answers])
    of_rows = {name: _of_task(name, prepared.of(name), probed, frozen) for name, answers in supervised.items() if answers}
    said = {name: written.before(model, prepared, name) for name, task in prepared.recipe.tasks.items() if task.writes}
    said |= {name: written.quoted(model, prepared, name) for name, task in prepared.recipe.tasks.items() if task.quotes}
    return {name: of_rows[name] if answers else replace(Rivals(*of_inputs[name]), texts=said.get(name)) for name, answers in supervised.items()}


def _of_inputs(model: Model, prepared: Prepared, tasks: list[str]) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """The rivals of tasks without labels; what the model says before training is read once, whatever their forms."""
    found: dict[str, Any] = {name: ({}, {}) for name in tasks}
    for names in _by_table(prepared, tasks):
        own, train = prepared.of(names[0]), prepared.recipe.train
        if not len(own.parts["test"]):
            continue
        forms = {name: prepared.recipe.tasks[name].form for name in names}
        alike = set(forms.values()) == {"pairs"}  # which compares vectors, and reads these by itself
        as_it_is = {} if alike else answer(model, own.batches("test", int(train.micro_batch)), train.precision)
        for form in dict.fromkeys(forms.values()):
            found |= OF_INPUTS[form](model, own, [name for name in names if forms[name] == form], as_it_is)
    return found


def _by_table(prepared: Prepared, tasks: list[str]) -> list[list[str]]:
    """Tasks that are asked of the same rows."""
    if not prepared.owns:
        return [tasks] if tasks else []
    return [of for own in prepared.owns if (of := [name for name in tasks if name in own.recipe.tasks])]


def _probed(prepared: Prepared) -> dict[str, Array]:
    """The rows that answers are measured on, and some of those to learn them from, of each table."""
    if prepared.owns:
        tables = [_probed_of(prepared.of(next(iter(own.recipe.tasks))), list(own.recipe.tasks)) for own in prepared.owns]
        return {part: np.concatenate([of[part] for of in tables]) for part in prepared.parts}
    return _probed_of(prepared, list(prepared.recipe.tasks))


def _probed_of(prepared: Prepared, tasks: list[str]) -> dict[str, Array]:
    parts = {part: prepared.once(rows) for part, rows in prepared.parts.items()}
    labelled = [name for name in tasks if prepared.recipe.tasks[name].supervised]
    if not labelled:
        return dict.fromkeys(parts, parts["train"][:0])
    return parts | {"train": before.sample(_answered(prepared, labelled), before.ROWS, prepared.recipe.train.seed)}


def _answered(prepared: Prepared, tasks: list[str]) -> Array:
    """Training rows that can be measured in some of these tasks, which have answers."""
    train = prepared.once(prepared.parts["train"])
    there: Array = np.any([truth(prepared, name, train).known for name in tasks], axis=0)
    return train[there]


def _features(model: Model, prepared: Prepared, parts: dict[str, Array]) -> dict[str, Array]:
    train = prepared.recipe.train
    return {
        part: before.features(model, prepared.batches(part, int(train.micro_batch), rows=rows), train.precision) if len(rows) else np.zeros((0, 1))
        for part, rows in parts.items()
    }


def _of_task(name: str, prepared: Prepared, probed: dict[str, Array], frozen: dict[str, Array] | None) -> Rivals:
    if prepared.recipe.tasks[name].form == "ranks":
        return Rivals(*ranks.rivals(prepared, name))
    form, facts = like(prepared.recipe.tasks[name].form), prepared.schema.tasks[name]
    classes, levels = len(facts.get("classes", ())), facts.get("levels")
    train = truth(prepared, name, prepared.parts["train"])
    true = {part: truth(prepared, name, rows) for part, rows in probed.items()}
    if not len(train.y) or not len(true["test"].y):
        return Rivals({}, {})
    spare = "validation" if len(true["validation"].y) else "train"
    asked = (spare, "test") if levels else ("test",)
    p = {"constant": baselines.constant(form, train.y, sum(len(true[part].y) for part in asked), classes)}
    words = {"constant": "the mean of the training rows" if form == "value" else "the shares of the training rows"}
    if made := _simple(name, prepared, train, true, asked):
        p["simple"], words["simple"] = made
    if frozen is not None and len(true["train"].y):
        x = {part: frozen[part][t.known] for part, t in true.items()}
        x_asked = np.concatenate([x[part] for part in asked])
        p["before"] = baselines.probe(form, x["train"], true["train"].y, x["validation"], true["validation"].y, x_asked, classes)
        words["before"] = f"a linear probe on the model as pretrained, {len(x['train']):,} training rows"
    if levels:
        p = {model: baselines.around(said, true[spare].y, levels) for model, said in p.items()}
        words = {model: f"{what}, and the quantiles of its errors on {spare} rows" for model, what in words.items()}
    return Rivals(p, words)


def _simple(name: str, prepared: Prepared, train: Truth, true: dict[str, Truth], asked: Sequence[str]) -> tuple[Array, str] | None:
    """Predictions on the rows of the parts that are `asked`, and what the model is."""
    recipe = prepared.recipe
    seen = before.sample(np.arange(len(train.rows)), baselines.ROWS, recipe.train.seed)
    kinds = {input: modality.plain for input, modality in recipe.inputs.items()}
    wanted = np.concatenate([true[part].rows for part in asked])
    train_columns, val, test = (_columns(prepared, kinds, rows) for rows in (train.rows[seen], true["validation"].rows, wanted))
    kinds = {input: kind for input, kind in kinds.items() if input in train_columns}
    form, classes = like(recipe.tasks[name].form), len(prepared.schema.tasks[name].get("classes", ()))
    return baselines.simple(form, train_columns, val, test, kinds, train.y[seen], true["validation"].y, classes)


def _columns(prepared: Prepared, kinds: Mapping[str, str], rows: Array) -> dict[str, Any]:
    """Raw values by input, or their outlines where they have any."""
    found: dict[str, Any] = {}
    for input, kind in kinds.items():
        values = prepared.written(input, rows) if kind != "outline" else prepared.raw(input, rows)
        made = prepared.recipe.inputs[input].outline(values) if kind == "outline" else values[:]
        found |= {} if made is None else {input: made}
    return found
