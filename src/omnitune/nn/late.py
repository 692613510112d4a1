"""Late: each input is answered by itself, and the answers are averaged.

M is the number of inputs.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from omnitune.nn import missing
from omnitune.nn.gated import shares, weighted
from omnitune.nn.heads import Head, LinearHead
from omnitune.nn.tokens import Loss, Mixture, Tokens, View


class Late(nn.Module):
    """Each input has a layer of its own below the linear layer of every head, so each has logits (or a number) of its own, and what is answered is
    their mean over the inputs that are there (Kittler et al. 1998, On Combining Classifiers, IEEE TPAMI 20(3), for such rules).

    The vectors are averaged instead of the logits: with weights that add up to 1 a linear layer gives the same. Nothing that one input
    says depends on another. A missing input has no say, so there are no stand-ins; a row that lacks all is a learned vector.

    Args:
        widths: D of every input.
        width: D of the result; None: that of the widest input, and a single input passes as it is.
        learn: whether weights of the inputs are learned, the same for all rows; else all count the same.
        own: how much the mean loss of the inputs by themselves counts beside the loss of their mean.
        dropout: share of each normed vector that training drops.
        hide: share of present inputs that training hides.
    """

    pools = True

    def __init__(
        self, widths: Mapping[str, int], width: int | None = None, learn: bool = False, own: float = 1.0, dropout: float = 0.0, hide: float = 0.0
    ) -> None:
        super().__init__()
        self.inputs, self.hide, self.width = list(widths), hide, width or max(widths.values())
        self.own = own if len(widths) > 1 else 0.0
        as_it_is = width is None and len(widths) == 1
        self.norms = nn.ModuleList(nn.Identity() if as_it_is else nn.RMSNorm(w, eps=1 / w) for w in widths.values())
        layers = (nn.Sequential(nn.Dropout(dropout), nn.Linear(w, self.width), nn.GELU()) for w in widths.values())
        self.says = nn.ModuleList(nn.Identity() if as_it_is else layer for layer in layers)
        self.scores = nn.Parameter(torch.zeros(len(widths))) if learn and len(widths) > 1 else None
        self.nothing = nn.Parameter(torch.zeros(self.width))

    def forward(self, streams: Mapping[str, Tokens]) -> Mixture:
        """(B, 1, width), all real."""
        tokens = [streams[name] for name in self.inputs]
        shown_BM = missing.shown(tokens, self.hide if self.training else 0.0)
        says_BMD = torch.stack([says(norm(t.pooled())) for says, norm, t in zip(self.says, self.norms, tokens, strict=True)], 1)
        scores_M = torch.zeros(len(tokens), device=says_BMD.device) if self.scores is None else self.scores
        weights_BM = shares(scores_M.expand(shown_BM.shape), shown_BM)
        x_BD = weighted(says_BMD, weights_BM, self.nothing)
        weights = dict(zip(self.inputs, weights_BM.T, strict=True))
        alone = {name: Tokens(says_BMD[:, [i]], shown_BM[:, [i]], "first") for i, name in enumerate(self.inputs)} if self.own else {}
        return Mixture(x_BD[:, None], torch.ones_like(shown_BM[:, :1]), "first", weights, alone, self.own)


def with_own(head: Head, view: View, target: dict[str, Tensor]) -> Loss:
    """The loss of `head`, and where the fusion gives what inputs say alone, `own` times the mean of its losses on that. A row does not count for an
    input that it lacks. The count stays that of the target, so sums over rows stay exact."""
    loss, fused = head.loss(view, target), view.fused
    if not isinstance(fused, Mixture) or not fused.alone or not isinstance(head, LinearHead):
        return loss
    each = [head.loss(replace(view, fused=tokens), target | {"weight": target["weight"] * tokens.present}).sum for tokens in fused.alone.values()]
    return Loss(loss.sum + fused.own * torch.stack(each).mean(), loss.count)
