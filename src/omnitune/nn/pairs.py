"""Pairs: vectors of two inputs in one space, near where they belong together.

Shape letters: B rows, D width of an input's tokens, P width of the vectors that are compared, K hard negatives of a row, C = B (1 + K) candidates.
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from omnitune.nn.dropout import Dropout
from omnitune.nn.heads import EmbeddingHead, RowHead
from omnitune.nn.retrieval import Array, found
from omnitune.nn.tokens import Loss, Tokens, View, beside

STEEPEST = math.log(100.0)
"""CLIP lets the logits be no steeper, or training becomes unstable (Radford et al. 2021, section 2.5)."""


class PairHead(EmbeddingHead, RowHead):
    """A linear projection of each input's pooled tokens, and the cosine between them, made steeper by a temperature that is learned.

    Both projections start as the same orthogonal one where the inputs are equally wide, so that vectors of one backbone start as near each other
    as it put them.

    Target: `y` (B, 2) int64, equal where values are; `weight` (B,), 0 where one of the two is missing; with hard negatives `wrong` (B, K) int64,
    equal to the second column of `y` where values are, -1 where they are missing.

    Args:
        of: the two inputs.
        widths: D of each.
        width: P.
        kind: of the loss, see `Match`.
        negatives: columns of hard negatives, read as the second input is.
        dropout: share of the pooled values that training drops before they are projected.
    """

    def __init__(
        self,
        of: Sequence[str],
        widths: Sequence[int],
        width: int,
        kind: Literal["softmax", "sigmoid"] = "softmax",
        negatives: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.of, self.width, self.negatives = tuple(of), width, [beside(column) for column in negatives]
        made = [nn.Linear(inside, width, bias=False) for inside in widths]
        first, second = (nn.init.orthogonal_(projection.weight) for projection in made)
        if first.shape == second.shape:
            second.data.copy_(first.data)
        self.projections = nn.ModuleList(made)
        self.dropout = Dropout(dropout)
        self.steepness = nn.Parameter(torch.tensor(math.log(1 / 0.07 if kind == "softmax" else 10.0)))
        self.bias = nn.Parameter(torch.tensor(-10.0)) if kind == "sigmoid" else None  # most pairs do not match (SigLIP, section 3.2)

    def embed(self, name: str, tokens: Tokens) -> Tensor:
        """See `EmbeddingHead.embed`."""
        pooled_BD = self.dropout(tokens.pooled().float())
        with torch.autocast(pooled_BD.device.type, enabled=False):
            return normalize(self.projections[self.of.index(name)](pooled_BD), dim=1)

    def vectors(self, view: View) -> tuple[Tensor, Tensor]:
        """Of both inputs, (B, P) each."""
        a, b = self.of
        return self.embed(a, view.streams[a]), self.embed(b, view.streams[b])

    def gather(self, view: View) -> Tensor:
        """Both vectors of each row, and those of its hard negatives, (B, (2 + K) P)."""
        return torch.cat([*self.vectors(view), *(self.embed(self.of[1], view.streams[key]) for key in self.negatives)], 1)

    def together(self, y: Array, p: Array, known: Array) -> tuple[Array, Array]:
        """From both vectors of all rows to what `retrieval.found` gives of those that are `known`; zeros of others."""
        candidates, places = found(p[known, : self.width], p[known, self.width : 2 * self.width], y[known])
        return _spread(candidates, known), _spread(places, known)

    def predict(self, view: View) -> Tensor:
        """The cosine of each row, (B,); NaN where an input is missing."""
        a_BP, b_BP = self.vectors(view)
        there_B = view.streams[self.of[0]].present & view.streams[self.of[1]].present
        return torch.where(there_B, (a_BP * b_BP).sum(1), torch.nan)

    def loss_of(self, x_BN: Tensor, target: dict[str, Tensor]) -> Loss:
        """See `JointHead.loss_of`."""
        (a_BP, *b), y_B2, weight_B = torch.split(x_BN, self.width, 1), target["y"], target["weight"]
        with torch.autocast(x_BN.device.type, enabled=False):
            logits_BC = self.steepened(a_BP @ torch.cat(b).T)
            right_BC = torch.eye(len(y_B2), logits_BC.shape[1], dtype=torch.bool, device=y_B2.device)
            asked_BC = self._asked(y_B2, weight_B.detach() > 0, target.get("wrong")) | right_BC
            each_B = self._softmax(logits_BC, asked_BC) if self.bias is None else self._sigmoid(logits_BC + self.bias, asked_BC, right_BC)
            return Loss((each_B * weight_B).sum(), weight_B.sum())

    @staticmethod
    def _asked(y_B2: Tensor, there_B: Tensor, wrong_BK: Tensor | None) -> Tensor:
        """Which candidates are wrong for a row, (B, C) bool: there, and equal to the row in no value. Hard negatives stand behind the rows' own."""
        asked_BB = (y_B2[:, None] != y_B2[None]).all(2) & there_B
        if wrong_BK is None:
            return asked_BB
        wrong_N = wrong_BK.T.reshape(-1)
        return torch.cat([asked_BB, (wrong_N >= 0) & (wrong_N != y_B2[:, 1:])], 1)

    def steepened(self, cosines: Tensor) -> Tensor:
        """Cosines times the temperature's inverse, which beyond its limit stays there."""
        # the gradient passes, so that the weight can come back
        steepness = self.steepness + (self.steepness.clamp(max=STEEPEST) - self.steepness).detach()
        return steepness.exp() * cosines

    @staticmethod
    def _softmax(logits_BC: Tensor, asked_BC: Tensor) -> Tensor:
        """Cross-entropy of the right one among those asked for, the mean of both ways; hard negatives are candidates of the first alone."""
        own_B, B = logits_BC.diagonal(), len(logits_BC)
        there_BC = logits_BC.masked_fill(~asked_BC, -torch.inf)
        back_BB = logits_BC[:, :B].T.masked_fill(~asked_BC[:, :B], -torch.inf)
        return (there_BC.logsumexp(1) + back_BB.logsumexp(1)) / 2 - own_B

    @staticmethod
    def _sigmoid(logits_BC: Tensor, asked_BC: Tensor, right_BC: Tensor) -> Tensor:
        return -(logsigmoid(torch.where(right_BC, logits_BC, -logits_BC)) * asked_BC).sum(1)


def _spread(values: Array, known: Array) -> Array:
    wide = np.zeros((len(known), values.shape[1]))
    wide[known] = values
    return wide
