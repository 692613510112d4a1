"""Preferences: what a model that prefers has to beat on the same test rows: the length of answers, and itself before training."""

from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered
from omnitune.nn import values as cells
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks, what `PreferHead.measure` gives of the test rows with both answers, and what it is of, by name of the rival."""
    found = {}
    for name in tasks:
        seen, asked = _longer(prepared, name, prepared.answered), _longer(prepared, name, as_it_is[name].rows[as_it_is[name].known])
        way = 1 if seen.sum() >= 0 else -1
        p = np.stack([np.full(len(asked), np.nan), np.full(len(asked), np.nan), way * asked], 1)
        words = f"the {'longer' if way > 0 else 'shorter'} of both, in characters, as in most training rows"
        found[name] = ({"simple": p, "before": as_it_is[name].p[as_it_is[name].known]}, {"simple": words, "before": "the model before training"})
    return found


def _longer(prepared: Prepared, name: str, rows: Array) -> Array:
    """Of each row 1 where the chosen answer is the longer one, -1 where it is the shorter, 0 where neither is or one is missing."""
    both = [Column(prepared.table, column, rows) for column in prepared.recipe.tasks[name].columns()]
    pairs = ((a, b) for a, b in zip(*both, strict=True))
    return np.array([0.0 if cells.missing(a) or cells.missing(b) else np.sign(len(cells.text(a)) - len(cells.text(b))) for a, b in pairs])
