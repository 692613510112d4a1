"""Score: how good a model is on validation rows, how sure that is, and what sets it apart from another on the same rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from omnitune.data.batches import Question
from omnitune.evaluation.answers import places
from omnitune.evaluation.measure import Figure, Predictions, measure
from omnitune.evaluation.validate import Validate
from omnitune.nn.tokens import View
from omnitune.training.device import autocast
from omnitune.training.step import Validation

Array = np.ndarray[Any, Any]
NORMAL = 1.959964
"""Standard errors on either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Score:
    """What validation says of one model.

    Args:
        validation: the loss and every metric.
        evidence: what intervals are made of, by row: of a loss `losses` (n,), see `_losses`; or of the task whose metric counts, the
            answers `y` and predictions `p` with their `rows`.
    """

    validation: Validation
    evidence: dict[str, Array]


def score(validate: Validate) -> Score:
    """The score of the model as it is now, by `train.stop_on`."""
    answers, watched = validate.answers(), validate.recipe.train.stop_on.rpartition(".")[0]
    if not watched:
        return Score(validate.of(answers), {"losses": _losses(validate)})
    found = answers[watched]
    return Score(validate.of(answers), {"y": found.y[found.known], "p": found.p[found.known], "rows": found.rows[found.known]})


def interval(validate: Validate, of: Score) -> Figure:
    """The value of `train.stop_on` with its 95 % interval: by the standard error of a loss, by the bootstrap of a metric."""
    if "losses" in of.evidence:
        return _normal(of.evidence["losses"])
    figures: dict[str, Any] = measure(_watched(validate), {"it": Predictions(**of.evidence)})["models"]["it"]
    return figures["it"]  # type: ignore[no-any-return]


def difference(validate: Validate, of: Score, other: Score) -> Figure:
    """How much more `of` has in `train.stop_on` than `other`, paired by row, with a 95 % interval."""
    if "losses" in of.evidence:
        return _normal(of.evidence["losses"] - other.evidence["losses"])
    both = {"other": Predictions(**other.evidence), "it": Predictions(**of.evidence)}
    return measure(_watched(validate), both)["differences"]["other"]["it"]  # type: ignore[no-any-return]


def _watched(validate: Validate) -> dict[str, Any]:
    task, _, metric = validate.recipe.train.stop_on.rpartition(".")
    return {"it": validate.metrics[task][metric]}


def _normal(parts: Array) -> Figure:
    mean = float(parts.mean())
    error = float(parts.std(ddof=1) / np.sqrt(len(parts))) if len(parts) > 1 else float("nan")
    if not np.isfinite(mean):
        return {"value": None, "low": None, "high": None}
    known = np.isfinite(error)
    return {"value": mean, "low": mean - NORMAL * error if known else None, "high": mean + NORMAL * error if known else None}


def _losses(validate: Validate) -> Array:
    """Of every validation row what it does to the loss, around the loss itself, in the order of the rows; (n,).

    Their mean is the loss. The loss of a task is a ratio of two sums, so a row moves it by its weight times how far its own loss lies from
    that of all (Cochran 1977, Sampling Techniques, chapter 6); a row without an answer does not move it.
    """
    validate.model.eval()
    rows: list[Array] = []
    parts: dict[str, list[Array]] = {name: [] for name in validate.recipe.tasks}
    for question in validate.batches.epoch():
        rows.append(question.rows)
        for task, found in _of_rows(validate, question.to(validate.model.device)).items():
            parts[task].append(found)
    order, moves = places(np.concatenate(rows), validate.batches.rows), []
    for name, pieces in parts.items():
        sums_n, weights_n = np.concatenate(pieces, 1)
        if weights_n.sum():
            mean = sums_n.sum() / weights_n.sum()
            moved_n = (sums_n - mean * weights_n) * len(order) / weights_n.sum()
            moves.append(validate.recipe.tasks[name].weight * (mean + moved_n))
    return np.sum(moves, axis=0)[order] if moves else np.full(len(order), np.nan)


def _of_rows(validate: Validate, question: Question) -> dict[str, Array]:
    """Of each task the weighted losses of rows and their weights, (2, B). A head's loss is a sum of weights times losses: its slope in a weight
    is the loss of that row."""
    model, found = validate.model, {}
    views: dict[int, View] = {}
    for task, (batch, target) in question.asked.items():
        with autocast(model.device, validate.recipe.train.precision):
            with torch.no_grad():
                view = views.setdefault(id(batch), views.get(id(batch)) or model(batch))
            weight = target["weight"].clone().requires_grad_()
            total = model.head(task).loss(view, target | {"weight": weight}).sum
        (slope,) = torch.autograd.grad(total, weight)
        found[task] = torch.stack([slope * target["weight"], target["weight"]]).double().cpu().numpy()
    return found
