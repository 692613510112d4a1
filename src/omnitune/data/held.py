"""Held: questions that stay in memory. What does not change from epoch to epoch is made once, and picked row by row from then on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.batches import Batches, Question, encode
from omnitune.data.columns import Column
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

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Question]:
        """See `Batches.epoch`."""
        whole = self.memory.inputs.keys() == self.batches.recipe.inputs.keys()
        for i, rows in enumerate(self.batches.order(number)):
            if i >= start:
                yield self.question(rows, None if whole else self.batches.luck(number, i))

    def question(self, rows: Rows, rng: np.random.Generator | None = None) -> Question:
        """See `Batches.question`."""
        batches, at = self.batches, self.memory.places(rows)
        known = {name: lambda _, tensors=tensors: {k: t[at] for k, t in tensors.items()} for name, tensors in self.memory.inputs.items()}
        values = lambda column, media: Column(batches.table, column, rows, media)[:]  # noqa: E731
        batch = encode(batches.recipe, batches.schema, rows, values, rng, known)
        return Question({task: (batch, {k: t[at] for k, t in target.items()}) for task, target in self.memory.targets.items()})
