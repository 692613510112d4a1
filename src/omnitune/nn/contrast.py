"""Contrast: the vectors of an input, near each other where rows have one label.

Shape letters: B rows, P width of the vectors.
"""

import torch
from torch import Tensor
from torch.nn.functional import normalize

from omnitune.nn.heads import EmbeddingHead
from omnitune.nn.neighbours import Array, found
from omnitune.nn.tokens import Loss, Tokens, View


class ContrastHead(EmbeddingHead):
    """The pooled tokens of an input, of length 1; it has no weights.

    Target: `y` (B,) int64, the label; `weight` (B,), 0 where there is none.

    Args:
        of: the input.
        width: P, that of its tokens.
        temperature: divides the cosines.
    """

    def __init__(self, of: str, width: int, temperature: float) -> None:
        super().__init__()
        self.of, self.width, self.temperature = (of,), width, temperature

    def embed(self, name: str, tokens: Tokens) -> Tensor:
        """See `EmbeddingHead.embed`."""
        return normalize(tokens.pooled().float(), dim=1)

    def steepened(self, cosines: Tensor) -> Tensor:
        """See `EmbeddingHead.steepened`."""
        return cosines / self.temperature

    def gather(self, view: View) -> Tensor:
        """The vectors, (B, P)."""
        return self.embed(self.of[0], view.streams[self.of[0]])

    def loss_of(self, x_BN: Tensor, target: dict[str, Tensor]) -> Loss:
        """L_out of Khosla et al. 2020, equation 2; a row whose label no other row of the batch has costs nothing."""
        y_B, weight_B = target["y"], target["weight"]
        with torch.autocast(x_BN.device.type, enabled=False):
            others_BB = ~torch.eye(len(y_B), dtype=torch.bool, device=y_B.device) & (weight_B > 0)
            right_BB = (y_B[:, None] == y_B) & others_BB
            logits_BB = self.steepened(x_BN @ x_BN.T).masked_fill(~others_BB, torch.finfo(x_BN.dtype).min)
            costs_BB = (logits_BB.logsumexp(1, keepdim=True) - logits_BB).masked_fill(~right_BB, 0.0)
            each_B = costs_BB.sum(1) / right_BB.sum(1).clamp(min=1)
            return Loss((each_B * weight_B).sum(), weight_B.sum())

    def together(self, y: Array, p: Array, known: Array) -> tuple[Array, Array]:
        """From the vectors of all rows to what `neighbours.found` gives of those that are `known`; zeros of others."""
        return found(y, p, known)
