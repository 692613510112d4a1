"""Quotes: what a model that finds answers in texts has to beat on the same test rows: there being no answer, and itself before training."""

from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks, what `SpanHead.predict` gives of the test rows whose answer is known, and what it is of, by name of the rival."""
    found = {}
    for name in tasks:
        before = as_it_is[name].p[as_it_is[name].known]
        p = {"constant": np.tile([0.0, 0.0, 0.0, 1.0], (len(before), 1)), "before": before}
        found[name] = (p, {"constant": "no text holds an answer", "before": "the model before training"})
    return found
