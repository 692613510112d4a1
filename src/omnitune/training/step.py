"""Step and Progress: what the loop tells after each step, and what it has to remember."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

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
