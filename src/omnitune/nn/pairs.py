"""Pairs: vectors of two inputs in one space, near where they belong together.

Shape letters: B rows, D width of an input's tokens, P width of the vectors that are compared.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from omnitune.nn.heads import EmbeddingHead
from omnitune.nn.retrieval import Array, found
from omnitune.nn.tokens import Loss, Tokens, View

STEEPEST = math.log(100.0)
"""CLIP lets the logits be no steeper, or training becomes unstable (Radford et al. 2021, section 2.5)."""


class PairHead(EmbeddingHead):
    """A linear projection of each input's pooled tokens, and the cosine between them, made steeper by a temperature that is learned.

    Both projections start as the same orthogonal one where the inputs are equally wide, so that vectors of one backbone start as near each other
    as it put them.

    Target: `y` (B, 2) int64, equal where values are; `weight` (B,), 0 where one of the two is missing.

    Args:
        of: the two inputs.
        widths: D of each.
        width: P.
        kind: of the loss, see `Match`.
    """

    def __init__(self, of: Sequence[str], widths: Sequence[int], width: int, kind: Literal["softmax", "sigmoid"] = "softmax") -> None:
        super().__init__()
        self.of, self.width = tuple(of), width
        made = [nn.Linear(inside, width, bias=False) for inside in widths]
        first, second = (nn.init.orthogonal_(projection.weight) for projection in made)
        if first.shape == second.shape:
            second.data.copy_(first.data)
        self.projections = nn.ModuleList(made)
        self.steepness = nn.Parameter(torch.tensor(math.log(1 / 0.07 if kind == "softmax" else 10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if kind == "sigmoid" else None  # most pairs do not match (SigLIP, section 3.2)

    def embed(self, name: str, tokens: Tokens) -> Tensor:
        """See `EmbeddingHead.embed`."""
        pooled_BD = tokens.pooled().float()
        with torch.autocast(pooled_BD.device.type, enabled=False):
            return normalize(self.projections[self.of.index(name)](pooled_BD), dim=1)

    def vectors(self, view: View) -> tuple[Tensor, Tensor]:
        """Of both inputs, (B, P) each."""
        a, b = self.of
        return self.embed(a, view.streams[a]), self.embed(b, view.streams[b])

    def gather(self, view: View) -> Tensor:
        """Both vectors of each row, (B, 2 P)."""
        return torch.cat(self.vectors(view), 1)

    def together(self, y: Array, p: Array, known: Array) -> tuple[Array, Array]:
        """From both vectors of all rows to what `retrieval.found` gives of those that are `known`; zeros of others."""
        candidates, places = found(p[known, : p.shape[1] // 2], p[known, p.shape[1] // 2 :], y[known])
        return _spread(candidates, known), _spread(places, known)

    def predict(self, view: View) -> Tensor:
        """The cosine of each row, (B,); NaN where an input is missing."""
        a_BP, b_BP = self.vectors(view)
        there_B = view.streams[self.of[0]].present & view.streams[self.of[1]].present
        return torch.where(there_B, (a_BP * b_BP).sum(1), torch.nan)

    def loss_of(self, x_BN: Tensor, target: dict[str, Tensor]) -> Loss:
        """See `JointHead.loss_of`."""
        (a_BP, b_BP), y_B2, weight_B = x_BN.chunk(2, 1), target["y"], target["weight"]
        with torch.autocast(a_BP.device.type, enabled=False):
            logits_BB = self.steepened(a_BP @ b_BP.T)
            right_BB = torch.eye(len(y_B2), dtype=torch.bool, device=y_B2.device)
            there_B = weight_B.detach() > 0
            asked_BB = (y_B2[:, None] != y_B2[None]).all(2) & there_B | right_BB
            each_B = self._softmax(logits_BB, asked_BB) if self.bias is None else self._sigmoid(logits_BB + self.bias, asked_BB, right_BB)
            return Loss((each_B * weight_B).sum(), weight_B.sum())

    def steepened(self, cosines: Tensor) -> Tensor:
        """Cosines times the temperature's inverse, which beyond its limit stays there."""
        # the gradient passes, so that the weight can come back
        steepness = self.steepness + (self.steepness.clamp(max=STEEPEST) - self.steepness).detach()
        return steepness.exp() * cosines

    @staticmethod
    def _softmax(logits_BB: Tensor, asked_BB: Tensor) -> Tensor:
        """Cross-entropy of the right one among those asked for, the mean of both ways."""
        own_B = logits_BB.diagonal()
        ways = [x_BB.masked_fill(~asked_BB, -torch.inf).logsumexp(1) - own_B for x_BB in (logits_BB, logits_BB.T)]
        return (ways[0] + ways[1]) / 2

    @staticmethod
    def _sigmoid(logits_BB: Tensor, asked_BB: Tensor, right_BB: Tensor) -> Tensor:
        return -(logsigmoid(torch.where(right_BB, logits_BB, -logits_BB)) * asked_BB).sum(1)


def _spread(values: Array, known: Array) -> Array:
    wide = np.zeros((len(known), values.shape[1]))
    wide[known] = values
    return wide
