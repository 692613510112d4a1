"""Neighbours: what a model that puts rows of one label near each other has to beat: chance, and itself before training."""

from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered
from omnitune.nn.neighbours import MOST, chance
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the answers on the test rows, (n, 3) as `neighbours.found` gives them, and what they are of, by name of the rival."""
    made = {}
    for name in tasks:
        found = as_it_is[name]
        group = -(-int(found.known.sum()) // max(1, -(-int(found.known.sum()) // MOST)))
        p = {"constant": chance(found.y[found.known], group - 1), "before": found.p[found.known]}
        made[name] = p, {"constant": f"chance, among {group - 1:,} other rows", "before": "the model before training"}
    return made
