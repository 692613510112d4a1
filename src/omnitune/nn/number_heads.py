"""Heads of numbers: how much, how many, and how sure. All are float32, whatever the precision of the layers before.

Shape letters: B rows, D width of the fused tokens, O numbers of the linear layer, Q levels.
"""

from abc import ABC
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, mse_loss

from omnitune.nn.heads import LinearHead, Readout


class NumberHead(LinearHead, ABC):
    """Numbers in the table's own units, learned in units of what training rows spread over.

    Target: `y` (B,) float32 and `z` (B,) float32, the answer less `mean`, in units of `std`, 0 where it is not known; `weight` (B,).

    Args:
        width: D.
        outputs: O.
        mean, std: of the answers in training.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, outputs: int, mean: float, std: float, dropout: float) -> None:
        super().__init__()
        self.standard = Readout(width, outputs, dropout)
        self.mean, self.std = mean, std

    @property
    def readout(self) -> Readout:
        """Gives numbers without a unit."""
        return self.standard


class RegressHead(NumberHead):
    """One number.

    Args:
        width: D.
        mean, std: of the answers in training.
        kind: `mse`, the squared error, or `huber`, half of it up to one `std` and linear beyond, which outliers pull less.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, mean: float, std: float, kind: Literal["huber", "mse"] = "huber", dropout: float = 0.0) -> None:
        super().__init__(width, 1, mean, std, dropout)
        self.kind = kind

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """The error in units of `std`."""
        error = huber_loss if self.kind == "huber" else mse_loss
        return error(x_BO[:, 0], target["z"], reduction="none")

    def answers(self, x_BO: Tensor) -> Tensor:
        """Numbers in the table's own units, (B,)."""
        return x_BO[:, 0] * self.std + self.mean


class CountHead(NumberHead):
    """How many: the mean of a Poisson distribution, whose logarithm is linear in the tokens (McCullagh and Nelder 1989, chapter 6).

    Args:
        width: D.
        mean: of the answers in training, which it starts with.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, mean: float, dropout: float = 0.0) -> None:
        super().__init__(width, 1, mean, mean, dropout)

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Half the deviance, in units of `mean`: 0 where the answer is met, and as steep in few things as in many."""
        share_B, x_B = target["y"].nan_to_num(0.0) / self.mean, x_BO[:, 0]
        at_best_B: Tensor = torch.special.xlogy(share_B, share_B) - share_B
        return x_B.exp() - share_B * x_B + at_best_B

    def answers(self, x_BO: Tensor) -> Tensor:
        """Expected counts, (B,)."""
        return x_BO[:, 0].exp() * self.mean


class QuantileHead(NumberHead):
    """Numbers that the answer lies below with given probabilities (Koenker and Bassett 1978). They start as those of the training rows.

    Args:
        width: D.
        mean, std: of the answers in training.
        levels: the probabilities, rising, Q.
        start: numbers below which so many training answers lie, (Q,).
        dropout: before the linear layer.
    """

    levels: Tensor

    def __init__(self, width: int, mean: float, std: float, levels: Sequence[float], start: Sequence[float], dropout: float = 0.0) -> None:
        super().__init__(width, len(levels), mean, std, dropout)
        self.register_buffer("levels", torch.tensor(levels), persistent=False)
        self.standard.linear.bias.data = ((torch.tensor(start, dtype=torch.float64) - mean) / std).float()

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Pinball loss in units of `std`, the mean over levels."""
        over_BQ = target["z"][:, None] - x_BO
        return torch.maximum(self.levels * over_BQ, (self.levels - 1) * over_BQ).mean(1)

    def answers(self, x_BO: Tensor) -> Tensor:
        """Rising numbers in the table's own units, (B, Q): those that cross change places, which never costs (Chernozhukov et al. 2010)."""
        return x_BO.sort(1).values * self.std + self.mean
