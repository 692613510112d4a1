"""Quoted: which part of a text answers a question, if any.

Shape letters: B rows, N tokens of all windows of a row side by side, L of one window, A tokens of an answer at most, P places of an answer.
"""

import torch
from torch import Tensor, nn

from omnitune.nn.heads import RowHead
from omnitune.nn.tokens import Loss, View

FAR = -1e30
"""The score of what cannot be an answer; infinite ones make NaN."""


class SpanHead(RowHead):
    """A first and a last token of the text, or nothing: one softmax over all parts of all windows that are short enough, and over there being no
    answer, which is read at the first tokens of windows, of a causal model at the last ones (Devlin et al. 2019, https://arxiv.org/abs/1810.04805,
    sections 4.2 and 4.3; one softmax for all windows as in Clark and Gardner 2018, https://arxiv.org/abs/1710.10723). Where a part stands in several
    windows, or several parts are right, probabilities add up.

    Target: `weight` (B,), 1 or 0. All else is among the inputs, see `Text.windowed`.

    Args:
        of: the input.
        width: D of its tokens.
        longest: A.
    """

    def __init__(self, of: str, width: int, longest: int) -> None:
        super().__init__()
        self.of, self.longest, self.ends = of, longest, nn.Linear(width, 2)
        nn.init.normal_(self.ends.weight, std=0.02)
        nn.init.zeros_(self.ends.bias)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Cross-entropy."""
        return self._loss(view, target, *self._scores(view))

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """As `predict`; and the loss."""
        scores = self._scores(view)
        return self._best(view, *scores), self._loss(view, target, *scores)

    def predict(self, view: View) -> Tensor:
        """(B, 4): where the likeliest part starts and stops, how likely it is, and how likely that there is no answer."""
        return self._best(view, *self._scores(view))

    def _scores(self, view: View) -> tuple[Tensor, Tensor, Tensor]:
        """Of starting, (B, N), of stopping, (B, N), and of no answer, (B,)."""
        tokens, inputs = view.streams[self.of], view.inputs[self.of]
        with torch.autocast(tokens.x_BLD.device.type, enabled=False):
            ends_BN2 = self.ends(tokens.x_BLD.float())
        windows = inputs["input_ids"].shape[1]
        said_BWL, mask_BWL = (of.view(len(of), windows, -1) for of in (ends_BN2.sum(2), tokens.mask_BL))
        real_BW = mask_BWL.any(2).float()
        at_BW = (mask_BWL.sum(2) - 1).clamp(min=0) if tokens.pool == "last" else torch.zeros_like(real_BW, dtype=torch.int64)
        nothing_BW = said_BWL.gather(2, at_BW[..., None])[..., 0]
        nothing_B = (nothing_BW * real_BW).sum(1) / real_BW.sum(1).clamp(min=1)
        there_BN = inputs["stop"] > inputs["start"]
        first_BN, last_BN = (ends_BN2[..., i].where(there_BN, FAR) for i in (0, 1))
        return first_BN, last_BN, nothing_B

    def _parts(self, first_BN: Tensor, last_BN: Tensor, windows: int) -> Tensor:
        """The scores of all parts by their first token and their length less one, (B, N, A); those that leave a window are far away."""
        first_RL, last_RL = (of.view(len(of) * windows, -1) for of in (first_BN, last_BN))
        longest = min(self.longest, first_RL.shape[1])
        behind_RLA = nn.functional.pad(last_RL, (0, longest - 1), value=FAR).unfold(1, longest, 1)
        return (first_RL[..., None] + behind_RLA).clamp(min=FAR).view(*first_BN.shape, longest)

    def _loss(self, view: View, target: dict[str, Tensor], first_BN: Tensor, last_BN: Tensor, nothing_B: Tensor) -> Loss:
        inputs = view.inputs[self.of]
        parts_BNA = self._parts(first_BN, last_BN, inputs["input_ids"].shape[1])
        total_B = torch.cat([parts_BNA.flatten(1), nothing_B[:, None]], 1).logsumexp(1)
        pairs_BP2 = inputs["pairs"]
        at_BP2 = pairs_BP2.clamp(min=0)
        right_BP = (first_BN.gather(1, at_BP2[..., 0]) + last_BN.gather(1, at_BP2[..., 1])).where(pairs_BP2[..., 0] >= 0, FAR)
        right_B = torch.where(inputs["answered"] == 1, right_BP.logsumexp(1), nothing_B)
        return Loss(((total_B - right_B).where(target["weight"] > 0, 0.0) * target["weight"]).sum(), target["weight"].sum())

    @torch.no_grad()
    def _best(self, view: View, first_BN: Tensor, last_BN: Tensor, nothing_B: Tensor) -> Tensor:
        inputs = view.inputs[self.of]
        windows = inputs["input_ids"].shape[1]
        parts_BNA = self._parts(first_BN, last_BN, windows)
        longest = parts_BNA.shape[2]
        total_B = torch.cat([parts_BNA.flatten(1), nothing_B[:, None]], 1).logsumexp(1)
        best_B = parts_BNA.flatten(1).argmax(1)
        at_B = best_B // longest
        start_B, stop_B = (inputs[name].gather(1, at[:, None])[:, 0] for name, at in (("start", at_B), ("stop", at_B + best_B % longest)))
        same_first = first_BN.where(inputs["start"] == start_B[:, None], FAR)
        same_last = last_BN.where(inputs["stop"] == stop_B[:, None], FAR)
        p_B = (self._parts(same_first, same_last, windows).flatten(1).logsumexp(1) - total_B).exp()
        return torch.stack([start_B.float(), stop_B.float(), p_B, (nothing_B - total_B).exp()], 1)
