"""Held: questions that stay in memory. What does not change from epoch to epoch is made once, and picked row by row from then on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.batches import Batches, Known, Question, ahead
from omnitune.tasks import Target

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Memory:
    """What is known of some rows.

    Args:
        rows: their numbers, rising, (n,).
        inputs: of each input that does not change, its tensors, first dimension n.
        targets: what each task asks, first dimension n.
    """

    rows: Rows
    inputs: dict[str, dict[str, Tensor]]
    targets: dict[str, Target]

    def places(self, rows: Rows) -> Tensor:
        """Where these rows are."""
        device = next(iter(next(iter(self.targets.values())).values())).device
        return torch.from_numpy(np.searchsorted(self.rows, rows)).to(device)


@dataclass(frozen=True)
class Held:
    """The questions of `batches`, in the same order, from memory. Inputs that are not there are encoded, and augmented, as `batches` would.

    Args:
        batches: which rows, and in which order.
        memory: holds all of these rows.
    """

    batches: Batches
    memory: Memory

    def __len__(self) -> int:
        return len(self.batches)

    @property
    def rows(self) -> Rows:
        """See `Batches.rows`."""
        return self.batches.rows

    def origin(self, rows: Rows) -> Rows:
        """See `Batches.origin`."""
        return self.batches.origin(rows)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Question]:
        """See `Batches.epoch`; made ahead only where there is something to encode."""
        whole, order = self.memory.inputs.keys() == self.batches.recipe.inputs.keys(), self.batches.order(number)

        def made() -> Iterator[Question]:
            return (self.question(rows, None if whole else self.batches.luck(number, i), number) for i, rows in enumerate(order) if i >= start)

        return made() if whole else ahead(made)

    def question(self, rows: Rows, rng: np.random.Generator | None = None, epoch: int = 0) -> Question:
        """See `Batches.question`."""
        at = self.memory.places(rows)
        held: Known = {name: partial(_picked, tensors, at) for name, tensors in self.memory.inputs.items()}
        batch = self.batches.encoded(rows, rng, epoch, {**self.batches.known, **held})
        return Question({task: (batch, {k: t[at] for k, t in target.items()}) for task, target in self.memory.targets.items()})


def _picked(tensors: dict[str, Tensor], at: Tensor, rows: Rows, view: int | None) -> dict[str, Tensor]:
    """The rows at these places; nothing that is held has views."""
    return {name: tensor[at] for name, tensor in tensors.items()}
