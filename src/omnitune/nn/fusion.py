"""Fusions: from the tokens of several inputs to one sequence. A missing input is a learned stand-in, see `missing`.

M is the number of inputs.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnitune.nn import missing
from omnitune.nn.block import Block
from omnitune.nn.tokens import Tokens


class Concat(nn.Module):
    """One vector a row: the pooled vectors of all inputs side by side, mixed by one layer.

    Each is scaled to unit mean square first (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467), so that a backbone with large
    activations does not drown the others; the 1/D beside the mean square keeps an input of one feature from becoming its sign. A single
    input passes as it is (its head then reads what the checkpoint was pre-trained to give), unless a width is asked for.

    Args:
        widths: D of every input.
        width: D of the result; None: that of the widest input.
        dropout: share of the normalised values that training drops.
        hide: share of present inputs that training hides.
    """

    pools = True  # it reads the pooled vector of every input, no single token

    def __init__(self, widths: Mapping[str, int], width: int | None = None, dropout: float = 0.0, hide: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.hide = list(widths), hide
        self.width = width or max(widths.values())
        self.as_it_is = width is None and len(widths) == 1
        self.norms = nn.ModuleList(nn.Identity() if self.as_it_is else nn.RMSNorm(w, eps=1 / w) for w in widths.values())
        self.stand_ins = nn.ParameterList(torch.zeros(w) for w in widths.values())
        mixed = nn.Sequential(nn.Dropout(dropout), nn.Linear(sum(widths.values()), self.width), nn.GELU())
        self.mix = nn.Identity() if self.as_it_is else mixed

    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        """(B, 1, width), all real."""
        tokens = [streams[name] for name in self.inputs]
        shown_BM = missing.shown(tokens, self.hide if self.training else 0.0)
        x_BD = self.mix(torch.cat(missing.vectors(tokens, shown_BM, self.norms, self.stand_ins), 1))
        return Tokens(x_BD[:, None], torch.ones_like(shown_BM[:, :1]), "first")


class Attend(nn.Module):
    """A Transformer over the tokens of all inputs, read at a class token of its own (the fusion of FT-Transformer, Gorishniy et al. 2021,
    https://arxiv.org/abs/2106.11959, over the tokens of Transformers).

    Every input is projected to `width` and marked by an embedding of its own.

    Args:
        widths: D of every input.
        width: D of the result.
        layers: blocks.
        heads: of each block, a divisor of `width`.
        dropout: of the blocks.
        hide: share of present inputs that training hides.
    """

    pools = False

    def __init__(self, widths: Mapping[str, int], width: int, layers: int, heads: int, dropout: float = 0.0, hide: float = 0.0) -> None:
        super().__init__()
        self.inputs, self.width, self.hide = list(widths), width, hide
        self.projections = nn.ModuleList(nn.Linear(w, width) for w in widths.values())
        self.marks, self.stand_ins = (nn.ParameterList(missing.embedding(width) for _ in widths) for _ in range(2))
        self.class_token = missing.embedding(width)
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        """(B, 1 + tokens of all inputs, width), read at the first."""
        tokens = [streams[name] for name in self.inputs]
        shown_BM = missing.shown(tokens, self.hide if self.training else 0.0)
        parts = [self._tokens(i, t.only(shown_B)) for i, (t, shown_B) in enumerate(zip(tokens, shown_BM.T, strict=True))]
        x_BLD = torch.cat([self.class_token.expand(len(shown_BM), 1, -1), *(x for x, _ in parts)], 1)
        mask_BL = torch.cat([torch.ones_like(shown_BM[:, :1]), *(mask for _, mask in parts)], 1)
        for block in self.blocks:
            x_BLD = block(x_BLD, mask_BL)
        return Tokens(self.norm(x_BLD), mask_BL, "first")

    def _tokens(self, i: int, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """Tokens of input `i`, marked, and their mask."""
        x_BLD, mask_BL = missing.sequence(tokens, self.projections[i], self.stand_ins[i])
        return x_BLD + self.marks[i], mask_BL
