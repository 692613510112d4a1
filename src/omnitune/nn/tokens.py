"""Batch, Tokens, Mixture, View, Loss: what goes in, what flows between encoders, fusion and heads, and what comes out.

Shape letters here and elsewhere: B rows of a batch, L tokens of a row, D width, C classes, K labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Pool = Literal["mean", "first", "last"]


@dataclass(frozen=True)
class Tokens:
    """One sequence of vectors a row, with a mask of those that are real.

    Args:
        x_BLD: the vectors.
        mask_BL: True where a token is real. A row without a real token is a missing value.
        pool: how one vector stands for a row: the mean of real tokens, the first, or the last real one.
    """

    x_BLD: Tensor
    mask_BL: Tensor
    pool: Pool = "mean"

    def pooled(self) -> Tensor:
        """One vector a row, (B, D); zeros for a row without a real token."""
        x, mask = self.x_BLD, self.mask_BL
        if self.pool == "first":
            return x[:, 0] * mask[:, :1]
        if self.pool == "last":
            last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
            return x[torch.arange(len(x), device=x.device), last] * mask.any(1, keepdim=True)
        weight = mask.to(x.dtype)
        return torch.einsum("bld,bl->bd", x, weight) / weight.sum(1, keepdim=True).clamp(min=1)

    def only(self, present_B: Tensor) -> "Tokens":
        """The same tokens, with those of rows that are not present masked and zero."""
        mask = self.mask_BL & present_B[:, None]
        return replace(self, x_BLD=self.x_BLD * mask[..., None], mask_BL=mask)

    @property
    def present(self) -> Tensor:
        """Rows with at least one real token, (B,) bool."""
        return self.mask_BL.any(1)


@dataclass(frozen=True)
class Mixture(Tokens):
    """One fused vector a row that is a weighted sum over inputs, so that it can be told how much each input said.

    Args:
        weights: of each input, (B,) in [0, 1]; 0 where it is missing. Those of a row add up to 1; where all is missing, to 0.
        alone: what each input gives by itself, masked where it is missing; empty where no head is to learn from that.
        own: how much the losses of `alone` count beside that of all inputs together.
    """

    weights: Mapping[str, Tensor] = field(default_factory=dict)
    alone: Mapping[str, Tokens] = field(default_factory=dict)
    own: float = 0.0


def beside(column: str) -> str:
    """The name under which a column stands among inputs and streams that is read as one of the inputs is, and is none itself."""
    return f"\0{column}"


@dataclass(frozen=True)
class View:
    """What a head may look at: the tokens of every input, and the fused ones. Where the fusion reads one vector an input, so may the streams.

    Args:
        streams: tokens by input, and of columns that are read beside them, see `beside`.
        fused: of all inputs.
        inputs: what they were made from, as in `Batch`.
    """

    streams: dict[str, Tokens]
    fused: Tokens
    inputs: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """Encoded rows.

    Args:
        inputs: tensors by input and name, first dimension B; each input has `present` (B,) bool. So has each column that is read `beside` them.
        rows: number of each row in its table, (B,) int64.
        same: of inputs (and columns `beside` them) that a task compares, a number a row, equal where the values in the table (or in the files)
            are, (B,) int64.
    """

    inputs: dict[str, dict[str, Tensor]]
    rows: np.ndarray[Any, np.dtype[np.int64]]
    same: dict[str, np.ndarray[Any, np.dtype[np.int64]]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """B."""
        return len(self.rows)

    def part(self, start: int, stop: int) -> "Batch":
        """Rows `start` to `stop`."""
        inputs = {k: {n: t[start:stop] for n, t in v.items()} for k, v in self.inputs.items()}
        return Batch(inputs, self.rows[start:stop], {k: v[start:stop] for k, v in self.same.items()})

    def to(self, device: torch.device) -> "Batch":
        """The same batch on `device`."""
        inputs = {k: {n: t.to(device, non_blocking=True) for n, t in v.items()} for k, v in self.inputs.items()}
        return Batch(inputs, self.rows, self.same)

    def pinned(self) -> "Batch":
        """The same batch in memory that a GPU copies from while it computes."""
        return Batch({k: {n: t.pin_memory() for n, t in v.items()} for k, v in self.inputs.items()}, self.rows)


@dataclass(frozen=True)
class Loss:
    """A weighted sum of row losses and the weight it sums over, so that means stay exact however rows are grouped."""

    sum: Tensor
    count: Tensor

    @property
    def mean(self) -> Tensor:
        """The weighted mean; zero where nothing was counted."""
        return self.sum / self.count.clamp(min=1e-12)
