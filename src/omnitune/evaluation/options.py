"""Options: what a model that chooses has to beat on the same test rows: chance or the most frequent option, words, and itself before training."""

from typing import Any

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation import baselines
from omnitune.evaluation.answers import Answered
from omnitune.evaluation.before import sample
from omnitune.nn import values as cells
from omnitune.nn.tokens import Batch
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks probabilities (n, K) on the test rows with an answer, and what they are of, by name of the rival."""
    found = {}
    for name in tasks:
        p, known = as_it_is[name].p[as_it_is[name].known], as_it_is[name].rows[as_it_is[name].known]
        fixed = "classes" in prepared.schema.tasks[name]
        others, words = _of_choices(prepared, name, known) if fixed else ({"constant": _chance(p)}, {"constant": "chance: every option alike"})
        found[name] = (others | {"before": p}, words | {"before": "the model before training"})
    return found


def _chance(p: Array) -> Array:
    """Every option alike; those that are not there have probability 0."""
    there = p > 0
    return np.asarray(there / np.maximum(1, there.sum(1, keepdims=True)))


def _of_choices(prepared: Prepared, name: str, test: Array) -> tuple[dict[str, Array], dict[str, str]]:
    """Where all rows have the same options: how often each is right, and the best model of the words in the prompt."""
    seen = sample(prepared.answered, baselines.ROWS, prepared.recipe.train.seed)
    (train_rows, y), (val_rows, y_val) = (_right(prepared, name, rows) for rows in (seen, prepared.parts["validation"]))
    if not len(y):
        return {}, {}
    classes = len(prepared.schema.tasks[name]["classes"])
    p, words = {"constant": baselines.constant("classes", y, len(test), classes)}, {"constant": "the shares of the training rows"}
    train, val, asked = (_filled(prepared, name, rows) for rows in (train_rows, val_rows, test))
    if made := baselines.simple("classes", train, val, asked, {"prompt": "text"}, y, y_val, classes):
        p["simple"], words["simple"] = made
    return p, words


def _right(prepared: Prepared, name: str, rows: Array) -> tuple[Array, Array]:
    """The rows that have an answer, and which one."""
    task = prepared.recipe.tasks[name]
    batch = Batch({task.of: {"present": torch.ones(len(rows), dtype=torch.bool)}}, rows)
    columns = {column: Column(prepared.table, column, rows)[:] for column in task.columns()}
    y = task.prepare(batch, columns, prepared.schema.tasks[name], None)[1]["y"].numpy()
    return rows[y >= 0], y[y >= 0]


def _filled(prepared: Prepared, name: str, rows: Array) -> dict[str, list[Any]]:
    """What the prompt says of each row, in words."""
    read = {named: Column(prepared.table, column, rows)[:] for named, column in prepared.recipe.read_by(name).items()}
    body, blank = prepared.recipe.tasks[name].prompts.body, dict.fromkeys(prepared.recipe.shown(name), "")
    return {"prompt": [body.filled({named: cells.text(values[i]) for named, values in read.items()} | blank)[0] for i in range(len(rows))]}
