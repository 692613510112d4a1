"""Rank: a vector of a row and one of every candidate, whose product says how likely it is taken next.

Shape letters: B rows, L items of a history, C candidates, N places that are asked what came next, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from omnitune.nn.behaviour import BehaviourEncoder, ItemVectors
from omnitune.nn.heads import RowHead
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
    """

    def __init__(
        self, width: int, counts: Sequence[int], of: str | None, encoder: BehaviourEncoder | None, exclude: bool = True, top: int = 10
    ) -> None:
        super().__init__()
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
        """Cross-entropy over all candidates, the mean over the places of a row that are asked, times `weight`."""
        with torch.autocast(view.fused.x_BLD.device.type, enabled=False):
            x_ND, y_N, row_N = self._asked(view, target)
            count_B = torch.zeros_like(target["weight"]).index_add(0, row_N, torch.ones_like(row_N, dtype=torch.float32))
            scale_N = (target["weight"] / count_B.clamp(min=1))[row_N]
            every_CD = self.items.vectors(torch.arange(1, self.candidates + 1, device=x_ND.device))
            total, _, _ = linear_cross_entropy(x_ND, every_CD, self.usual, y_N, scale_N)
            return Loss(total, target["weight"].sum())

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """What `figures` gives of the scores, and the loss."""
        return figures(self._scores(view), target["y"], target.get("drawn")), self.loss(view, target)

    def predict(self, view: View) -> Tensor:
        """The best candidates, then how likely each of them is, (B, 2 top); -1 and 0 where there are fewer."""
        places_BK, best_BK = first(self._scores(view).softmax(1).clamp(min=0), self.top)
        return torch.cat([places_BK.float(), best_BK], 1)

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
            every_CD = self.items.vectors(torch.arange(1, self.candidates + 1, device=self.usual.device))
            score_BC = torch.addmm(self.usual, self.user(view), every_CD.T)
            return self._without_seen(score_BC, view) if self.exclude and self.of is not None else score_BC

    def _without_seen(self, score_BC: Tensor, view: View) -> Tensor:
        assert self.of is not None
        seen_BS = view.inputs[self.of]["seen"].clamp(min=0)  # place 0 is no candidate
        seen_BC = torch.zeros(len(score_BC), 1 + self.candidates, dtype=torch.bool, device=score_BC.device).scatter_(1, seen_BS, True)
        return score_BC.masked_fill(seen_BC[:, 1:], -torch.inf)
