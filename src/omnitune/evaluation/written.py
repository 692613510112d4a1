"""Written: the texts that a model writes for test rows, before and after training, beside those that are true."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.before import sample
from omnitune.evaluation.measure import Predictions, measure
from omnitune.nn import values as cells
from omnitune.nn.text_metrics import counts, text_metrics
from omnitune.training.model import Model
from omnitune.training.writing import Writing

Array = np.ndarray[Any, Any]
SHOWN = 8
"""Rows whose texts a report shows."""
WORDS = {
    "simple": "the first words of the longest value in the prompt, as many as half of the training answers have",
    "before": "what the model writes before training",
}
ROWS = 1000
"""Training answers whose words are counted."""


@dataclass(frozen=True)
class Texts:
    """Of one task on some test rows.

    Args:
        rows: their numbers.
        true: the answers.
        said: by model, what it writes.
    """

    rows: Array
    true: list[str]
    said: dict[str, list[str]]


def before(model: Model, prepared: Prepared, name: str) -> Texts | None:
    """What a simple model and the model as it stands write for up to `samples` test rows of task `name`; None where there is none."""
    task = prepared.recipe.tasks[name]
    column, *_ = task.columns()
    test = prepared.parts["test"]
    there = np.array([not cells.missing(value) for value in Column(prepared.table, column, test)], bool)
    rows = sample(test[there], task.samples, prepared.recipe.train.seed)
    if not len(rows):
        return None
    true = [cells.text(value) for value in Column(prepared.table, column, rows)[:]]
    return Texts(rows, true, {"simple": _firsts(prepared, name, rows), "before": write(model, prepared, name, rows)})


def write(model: Model, prepared: Prepared, name: str, rows: Array) -> list[str]:
    """What the model writes for these rows, the likeliest token always."""
    model.eval()
    values = _values(prepared, name, rows)
    asked = [{column: of[i] for column, of in values.items()} for i in range(len(rows))]
    return [written.text for written in Writing(model, prepared.recipe, prepared.schema, name)(asked)]


def told(model: Model, prepared: Prepared, name: str, texts: Texts) -> dict[str, Any]:
    """For the report: `metrics` of the texts, `examples` of them, and what the models are as `baselines`."""
    said = texts.said | {"after": write(model, prepared, name, texts.rows)}
    given = {model: Predictions(np.zeros(len(texts.rows)), counts(of, texts.true), texts.rows) for model, of in said.items()}
    shown = [{"true": texts.true[i]} | {model: of[i] for model, of in said.items()} for i in range(min(SHOWN, len(texts.rows)))]
    return {"metrics": measure(text_metrics(), given, prepared.recipe.train.seed), "examples": shown, "baselines": WORDS}


def _firsts(prepared: Prepared, name: str, rows: Array) -> list[str]:
    """The simple model: see `WORDS`."""
    column, *_ = prepared.recipe.tasks[name].columns()
    train = sample(prepared.answered, ROWS, prepared.recipe.train.seed)
    lengths = [len(cells.text(value).split()) for value in Column(prepared.table, column, train) if value is not None]
    most, values = int(np.median(lengths)), _values(prepared, name, rows)
    longest = [max((cells.text(of[i]) for of in values.values()), key=len, default="") for i in range(len(rows))]
    return [" ".join(text.split()[:most]) for text in longest]


def _values(prepared: Prepared, name: str, rows: Array) -> Mapping[str, list[Any]]:
    return {column: Column(prepared.table, column, rows)[:] for column in prepared.recipe.read_by(name).values()}
