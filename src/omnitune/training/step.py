"""Step, Progress and Climb: what is told after each step, and what a loop and a ladder of loops have to remember."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from omnitune.recipe import Train

Validation = dict[str, float]


@dataclass(frozen=True)
class Step:
    """What happened in one step.

    Args:
        step: number, from 1.
        epoch: passes over the training rows so far.
        seconds: of training so far, validation included, over all sessions of a resumed run.
        progress: share of the run that is done, in [0, 1].
        rows: rows learned from in this step.
        rate: rows learned from a second, waiting for data included, validation not.
        losses: mean loss of every task in this batch.
        lr: the highest learning rate of any group.
        norm: gradient norm before clipping.
        micro_batch: rows in memory at once.
        validation: metrics on the validation rows where this step ended with them.
        last: no step follows.
        state: gives tensors and plain values from which `Loop.restore` goes on; to be called before the next step.
    """

    step: int
    epoch: float
    seconds: float
    progress: float
    rows: int
    rate: float
    losses: dict[str, float]
    lr: float
    norm: float
    micro_batch: int
    validation: Validation | None
    last: bool
    state: Callable[[], tuple[dict[str, Tensor], dict[str, Any]]] = field(repr=False, compare=False)


@dataclass
class Progress:
    """How far a run is. Everything here is saved and restored."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    idle: float = 0.0
    """Seconds in which a step waited for its rows."""
    micro_batch: int = 0
    waited: int = 0
    stopped: str = ""
    best: list[tuple[float, int]] = field(default_factory=list)
    """(score, step) of the rounds whose weights are kept, best first."""

    def note(self, score: float, train: Train) -> None:
        """Remembers a round of validation, more being better, and stops where too many were in vain."""
        better = not self.best or score > self.best[0][0]
        self.waited = 0 if better else self.waited + 1
        self.best = sorted([*self.best, (score, self.step)], key=lambda b: (-b[0], b[1]))[: train.average]
        if train.patience and self.waited >= train.patience:
            self.stopped = f"no progress in {train.stop_on} for {self.waited} rounds"


@dataclass
class Climb:
    """How far a climb is. Everything here is saved and restored, beside `Progress`.

    Args:
        rungs: those that are over, begun or not: `rung`, `why`, `result`, and of those begun `steps`, `epochs`, `seconds`, `stopped`, `validation`.
        at: rungs that were decided on.
        tuning: of the rung under way; None where none is.
        why: the reason for it.
        minutes: it has.
        pass_seconds: see `Rungs`.
        score: of the best weights, higher is better; None where nothing was measured.
        means: rungs in the average.
        found: validation of the best round of the rung under way.
        steps, epochs, idle: of earlier rungs.
        winner: what gave the best weights.
    """

    rungs: list[dict[str, Any]] = field(default_factory=list)
    at: int = 0
    tuning: dict[str, Any] | None = None
    why: str = ""
    minutes: float | None = None
    pass_seconds: float = 0.0
    score: float | None = None
    means: int = 0
    found: Validation | None = None
    steps: int = 0
    epochs: float = 0.0
    idle: float = 0.0
    winner: str = ""


def candidates(progress: Progress, kept: dict[int, dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Weights worth choosing from: those of the best round, and the average of the best rounds where there are several."""
    best = [kept[step] for _, step in progress.best]
    if len(best) < 2:
        return best
    return [best[0], {name: torch.stack([weights[name] for weights in best]).mean(0) for name in best[0]}]
