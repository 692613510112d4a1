"""Inputs: what each one is worth to a trained model: the same test rows without it, and with it alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.batches import Batches, Question
from omnitune.evaluation.answers import Answers, Pieces, gather, of_question, together
from omnitune.evaluation.measure import Figure, Predictions, figure, measure
from omnitune.nn.heads import LinearHead
from omnitune.nn.metrics import Metric
from omnitune.nn.tokens import Mixture, View
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ALL = "all inputs"
MOST = 16
"""Inputs up to which each is taken away: the fusion runs twice an input, and the bootstrap as often."""
TOO_MANY = f"What each input is worth was not measured: there are more than {MOST}."
WEIGHTS = ("", "")
"""No task's key."""


@dataclass(frozen=True)
class Examined:
    """What a model says about some rows.

    Args:
        whole: with all inputs, by task.
        partly: with some of them only, by what is read (`text alone`, `without text`) and task; empty where there is one input, or too many.
        weights: of each input in each row, (n,), where the fusion has any. A row counts where some task has an answer.
        rows: all of them, (n,).
    """

    whole: dict[str, Answers]
    partly: dict[str, dict[str, Answers]] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    rows: Array = field(default_factory=lambda: np.zeros(0, np.int64))


def hidings(inputs: Sequence[str]) -> dict[str, set[str]]:
    """Which inputs to hide, by what is read then. Of two inputs, one without the other is that one alone."""
    if not 1 < len(inputs) <= MOST:
        return {}
    without = {f"without {name}": {name} for name in inputs} if len(inputs) > 2 else {}
    return without | {f"{name} alone": set(inputs) - {name} for name in inputs}


@torch.inference_mode()
def examine(model: Model, batches: Batches, precision: str) -> Examined:
    """The answers to `batches`, which are unshuffled. Encoders read each row once; what they made of it is fused anew for all that is hidden."""
    model.eval()
    hidden = hidings(model.inputs)
    rowwise = {task for task in model.tasks if isinstance(model.head(task), LinearHead)}

    def ask(question: Question) -> dict[tuple[str, str], Pieces]:
        views = model.views(question)
        found = {(ALL, task): pieces for task, pieces in of_question(question, model.answered(question, views)).items()}
        read = {id(batch): views[id(batch)] for task, (batch, _) in question.asked.items() if task in rowwise}
        for reads, names in hidden.items():
            fewer = {key: model.without(view, names) for key, view in read.items()}
            answers = {task: of for task, of in model.answered(question, fewer).items() if task in rowwise}
            found |= {(reads, task): pieces for task, pieces in of_question(question, answers).items()}
        return found | {WEIGHTS: next((weights(view) for view in read.values()), {})}

    with model.apart():
        gathered = gather(batches, ask, model.device, precision)
    shares = gathered.pop(WEIGHTS, {})
    rows = shares.pop("rows", batches.rows)
    found: dict[str, dict[str, Answers]] = {reads: {} for reads in (ALL, *hidden)}
    for (reads, task), pieces in gathered.items():
        found[reads][task] = together(model.head(task), pieces)
    return Examined(found.pop(ALL), {reads: answers for reads, answers in found.items() if answers}, shares, rows)


def weights(view: View) -> dict[str, Tensor]:
    """Of each input in each row, (B,) float32; nothing where the fusion has none."""
    return {name: weight.float() for name, weight in view.fused.weights.items()} if isinstance(view.fused, Mixture) else {}


def worth(metrics: Mapping[str, Metric], whole: Predictions, partly: Mapping[str, Predictions], seed: int = 0) -> dict[str, Any]:
    """Of one task: what `measure` says of its first metric, and of two classes also of `auroc`, all inputs being the subject."""
    two = whole.p.shape[1:] == (2,)
    main = {name: metric for i, (name, metric) in enumerate(metrics.items()) if i == 0 or (two and name == "auroc")}
    return measure(main, {**partly, ALL: whole}, seed)


def mean_weights(weights: Mapping[str, Array], seed: int = 0, resamples: int = 1000) -> dict[str, Figure]:
    """The mean weight of every input over the rows, with its bootstrap interval."""
    rng = np.random.default_rng(seed)
    n = len(next(iter(weights.values()), ()))
    drawn = [rng.integers(n, size=n) for _ in range(resamples)] if n else []
    return {name: figure(float(of.mean()) if n else float("nan"), np.array([of[rows].mean() for rows in drawn])) for name, of in weights.items()}
