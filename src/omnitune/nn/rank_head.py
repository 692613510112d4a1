"""Rank: a vector of a row and one of every candidate, whose product says how likely it is taken next.

Shape letters: B rows, L items of a history, C candidates, N places that are asked what came next, D width.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from omnitune.nn.behaviour import BehaviourEncoder
from omnitune.nn.heads import RowHead
from omnitune.nn.items import ItemVectors
from omnitune.nn.linear_cross_entropy import linear_cross_entropy
from omnitune.nn.ranking import figures, first
from omnitune.nn.tokens import Loss, View


class RankHead(RowHead):
    """Candidates are the items of a history, by the vectors it is read by, and a row is its newest token plus a linear map of the fused ones, which
    starts at zero; or they have vectors of their own, and a row is the fused token. A learned number a candidate starts at how popular it is.

    Target: `y` (B,) int64, the candidate that was taken, -1 where there is none; `weight` (B,), how many places of the row are asked; `next` (B, L)
    int64, where more than the last is asked: the candidate that came behind each item, -1 for none. `drawn` (B, S): see `figures`.

    Args:
        width: of the fused tokens.
        counts: how often each candidate was taken in the training rows, (C,).
        of: the input whose items are the candidates.
        encoder: its encoder.
        exclude: whether what stands in the history is no candidate.
        top: candidates that a prediction names.
        kind: of the loss, see `Rank`.
        samples: candidates that training compares the right one with, drawn anew for each batch; all where left out, and when measured.
    """

    def __init__(
        self, width: int, counts: Sequence[int], of: str | None, encoder: BehaviourEncoder | None, exclude: bool = True, top: int = 10,
        kind: Literal["softmax", "bpr", "pointwise"] = "softmax", samples: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.kind, self.samples = kind, samples
        self.of, self.exclude, self.top, self.candidates = of, exclude, top, len(counts)
        self._encoder = (encoder,)  # in a tuple, so that its weights are not this module's too
        self.own = None if encoder else ItemVectors(self.candidates, self.candidates, width)
        self.map = nn.Linear(width, encoder.width, bias=False) if encoder else None
        if self.map is not None:
            nn.init.zeros_(self.map.weight)
        shares_C = torch.tensor(counts, dtype=torch.float32) + 1
        self.usual = nn.Parameter((shares_C / shares_C.sum()).log() - (1 / torch.tensor(self.candidates)).log())

    @property
    def items(self) -> ItemVectors:
        """The vectors of candidates, at places 1 to C."""
        encoder = self._encoder[0]
        found = self.own if encoder is None else encoder.items
        assert found is not None
        return found

    def user(self, view: View) -> Tensor:
        """(B, D) float32."""
        fused_BD = view.fused.pooled().float()
        if self.of is None or self.map is None:
            return fused_BD
        user_BD: Tensor = view.streams[self.of].pooled().float() + self.map(fused_BD)
        return user_BD

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """The mean over the places of a row that are asked, times `weight`."""
        with torch.autocast(view.fused.x_BLD.device.type, enabled=False):
            x_ND, y_N, row_N = self._asked(view, target)
            count_B = torch.zeros_like(target["weight"]).index_add(0, row_N, torch.ones_like(row_N, dtype=torch.float32))
            scale_N = (target["weight"] / count_B.clamp(min=1))[row_N]
            samples = self.samples if self.training else None
            if samples is None and self.kind == "softmax":
                total, _, _ = linear_cross_entropy(x_ND, self.items.every(), self.usual, y_N, scale_N)
            else:
                total = (self._compared(x_ND, y_N, samples) * scale_N).sum()
            return Loss(total, target["weight"].sum())

    def _compared(self, x_ND: Tensor, y_N: Tensor, samples: int | None) -> Tensor:
        """The loss of each place that is asked, (N,), against some candidates or all."""
        every_C = torch.arange(self.candidates, device=x_ND.device)
        some_S = every_C if samples is None else torch.randint(self.candidates, (samples,), device=x_ND.device)
        vectors_ND, vectors_SD = self.items(torch.cat([y_N, some_S]) + 1).split([len(y_N), len(some_S)])
        own_N1: Tensor = ((x_ND * vectors_ND).sum(1) + self.usual[y_N])[:, None]
        other_NS, wrong_NS = torch.addmm(self.usual[some_S], x_ND, vectors_SD.T), some_S != y_N[:, None]
        if self.kind == "softmax":  # those drawn stand for all others (Bengio and Senecal 2003)
            stands_for = math.log(self.candidates / len(some_S))
            all_N: Tensor = torch.cat([own_N1, (other_NS + stands_for).masked_fill(~wrong_NS, -torch.inf)], 1).logsumexp(1)
            return all_N - own_N1[:, 0]
        each_NS = softplus(other_NS - own_N1 if self.kind == "bpr" else other_NS) * wrong_NS
        others_N = each_NS.sum(1) / wrong_NS.sum(1).clamp(min=1)
        losses_N: Tensor = others_N if self.kind == "bpr" else others_N + softplus(-own_N1[:, 0])
        return losses_N

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """What `figures` gives of the scores, and the loss."""
        return figures(self._scores(view), target["y"], target.get("drawn")), self.loss(view, target)

    def predict(self, view: View) -> Tensor:
        """The best candidates, then their scores, (B, 2 top); -1 and 0 where there are fewer. A score is a probability among candidates (softmax) or
        of its own (pointwise), or says no more than the order (bpr)."""
        score_BC = self._scores(view)
        places_BK, best_BK = first(score_BC, self.top)
        if self.kind == "softmax":
            best_BK = (best_BK - score_BC.logsumexp(1, keepdim=True)).exp()
        elif self.kind == "pointwise":
            best_BK = best_BK.sigmoid()
        return torch.cat([places_BK.float(), best_BK.masked_fill(places_BK < 0, 0.0)], 1)

    def _asked(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors, right candidates and rows of all places that are asked, (N, D), (N,), (N,): the ends of rows, then what came before."""
        there_N = (target["y"] >= 0).nonzero()[:, 0]
        x_ND, y_N = self.user(view)[there_N], target["y"][there_N]
        if self.of is None or "next" not in target:
            return x_ND, y_N, there_N
        rows, places = ((target["next"] >= 0) & (target["y"] >= 0)[:, None]).nonzero(as_tuple=True)
        before_ND = view.streams[self.of].x_BLD[rows, places].float()
        return torch.cat([x_ND, before_ND]), torch.cat([y_N, target["next"][rows, places]]), torch.cat([there_N, rows])

    def _scores(self, view: View) -> Tensor:
        """(B, C) float32, minus infinity for what stands in the history already."""
        with torch.autocast(view.fused.x_BLD.device.type, enabled=False):
            score_BC = torch.addmm(self.usual, self.user(view), self.items.every().T)
            return self._without_seen(score_BC, view) if self.exclude and self.of is not None else score_BC

    def _without_seen(self, score_BC: Tensor, view: View) -> Tensor:
        assert self.of is not None
        seen_BS = view.inputs[self.of]["seen"].clamp(min=0)  # place 0 is no candidate
        seen_BC = torch.zeros(len(score_BC), 1 + self.candidates, dtype=torch.bool, device=score_BC.device).scatter_(1, seen_BS, True)
        return score_BC.masked_fill(seen_BC[:, 1:], -torch.inf)
