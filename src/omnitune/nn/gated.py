"""Gated: a weighted mean of what the inputs say, the weights read off the row itself.

M is the number of inputs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnitune.nn import missing
from omnitune.nn.tokens import Mixture, Tokens


class Gated(nn.Module):
    """A gate looks at all inputs of a row and says how much each one counts (the gated multimodal unit, Arevalo et al. 2017,
    https://arxiv.org/abs/1702.01992, with one weight an input and a softmax over inputs, where the paper has a sigmoid for each number, so that
    weights can be read). The weighted mean goes through one more layer.

    At the start all inputs that are there count the same. A missing one weighs nothing; its stand-in only tells the gate that it is missing. A
    row that lacks all is a learned vector. A single input needs no gate, and passes as it is unless a width is asked for.

    Args:
        widths: D of every input.
        width: D of the result; None: that of the widest input.
        dropout: share of the weighted mean that training drops.
        hide: share of present inputs that training hides.
    """

    pools = True

    def __init__(self, widths: Mapping[str, int], width: int | None = None, dropout: float = 0.0, hide: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.hide, self.width = list(widths), hide, width or max(widths.values())
        as_it_is, several = width is None and len(widths) == 1, len(widths) > 1
        self.norms = nn.ModuleList(nn.Identity() if as_it_is else nn.RMSNorm(w, eps=1 / w) for w in widths.values())
        self.says = nn.ModuleList(nn.Identity() if as_it_is else nn.Sequential(nn.Linear(w, self.width), nn.Tanh()) for w in widths.values())
        self.stand_ins = nn.ParameterList(torch.zeros(w) for w in widths.values() if several)
        self.gate = nn.Linear(sum(widths.values()), len(widths)) if several else None
        self.mix = nn.Identity() if as_it_is else nn.Sequential(nn.Dropout(dropout), nn.Linear(self.width, self.width), nn.GELU())
        self.nothing = nn.Parameter(torch.zeros(self.width))
        if self.gate:
            nn.init.zeros_(self.gate.weight)
            nn.init.zeros_(self.gate.bias)

    def forward(self, streams: Mapping[str, Tokens]) -> Mixture:
        """(B, 1, width), all real."""
        tokens = [streams[name] for name in self.inputs]
        shown_BM = missing.shown(tokens, self.hide if self.training else 0.0)
        stand_ins = list(self.stand_ins) or [torch.zeros_like(tokens[0].x_BLD[0, 0])]
        parts = missing.vectors(tokens, shown_BM, self.norms, stand_ins)
        weights_BM = shares(self.gate(torch.cat(parts, 1)), shown_BM) if self.gate else shown_BM.to(parts[0].dtype)
        says_BMD = torch.stack([says(part) for says, part in zip(self.says, parts, strict=True)], 1)
        x_BD = self.mix(weighted(says_BMD, weights_BM, self.nothing))
        weights = dict(zip(self.inputs, weights_BM.T, strict=True))
        return Mixture(x_BD[:, None], torch.ones_like(shown_BM[:, :1]), "first", weights)


def shares(scores_BM: Tensor, shown_BM: Tensor) -> Tensor:
    """Softmax over the inputs that are shown, (B, M); 0 for the others, also where none is."""
    scores_BM = scores_BM.float()
    return scores_BM.masked_fill(~shown_BM, torch.finfo(scores_BM.dtype).min).softmax(1) * shown_BM


def weighted(says_BMD: Tensor, weights_BM: Tensor, nothing_D: Tensor) -> Tensor:
    """The weighted sum over inputs, (B, D); `nothing_D` where no input weighs anything."""
    none_B = ~(weights_BM > 0).any(1)
    return torch.einsum("bm,bmd->bd", weights_BM.to(says_BMD.dtype), says_BMD) + none_B[:, None] * nothing_D
