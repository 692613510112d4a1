"""Numbers and categories as tokens: one a value, (B, 1, D)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnitune.nn.tokens import Tokens


class NumberEncoder(nn.Module):
    """A number, given as F features, as one token: a linear layer and ReLU (the "PLE-LR" of Gorishniy et al. 2022, arXiv 2203.05556).

    Args:
        features: F.
        width: D.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.linear = nn.Linear(features, width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `features` (B, F) and `present` (B,)."""
        return _one_token(self.linear(inputs["features"]).relu(), inputs["present"])


class CategoryEncoder(nn.Module):
    """A category, given as its place, as one learned token.

    Args:
        places: places there are, that of unknown categories included.
        width: D.
    """

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(places, width)
        nn.init.uniform_(self.embedding.weight, -(width**-0.5), width**-0.5)  # as FT-Transformer (Gorishniy et al. 2021)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `place` (B,) int64 and `present` (B,)."""
        return _one_token(self.embedding(inputs["place"]), inputs["present"])


class SetEncoder(nn.Module):
    """A set, given as the places of its members, as one token: the sum of their learned vectors, in which order is lost and number is not (Deep Sets,
    Zaheer et al. 2017, https://arxiv.org/abs/1703.06114).

    Args:
        places: places there are, those of unknown members and of an empty set included.
        width: D.
    """

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(places, width)
        nn.init.uniform_(self.embedding.weight, -(width**-0.5), width**-0.5)  # as a category's

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `places` (B, L) int64, `real` (B, L) and `present` (B,)."""
        x_BD = (self.embedding(inputs["places"]) * inputs["real"][..., None]).sum(1)
        return _one_token(x_BD, inputs["present"])


def piecewise_linear(x_B: Tensor, edges: Tensor) -> Tensor:
    """How far each value has come through each of T bins, (B, T) in [0, 1]: equation 1 of Gorishniy et al. 2022, arXiv 2203.05556.

    Unlike there, the outer bins end too, so that no value, however large, gives a large feature.

    Args:
        x_B: values, float64.
        edges: T + 1 rising borders of the bins, float64; fewer than two give no bin.
    """
    low_T, high_T = edges[:-1], edges[1:]
    return ((x_B[:, None] - low_T) / (high_T - low_T)).clamp(0, 1)


def _one_token(x_BD: Tensor, present_B: Tensor) -> Tokens:
    return Tokens(x_BD[:, None], torch.ones_like(present_B)[:, None], "first").only(present_B)
