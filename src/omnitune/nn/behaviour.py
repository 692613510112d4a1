"""Behaviour: what somebody took, one item after the other, read by a small Transformer.

Shape letters: B rows, L items of a history, D width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnitune.nn.block import Block
from omnitune.nn.items import ItemVectors
from omnitune.nn.tokens import Tokens


class BehaviourEncoder(nn.Module):
    """Items as tokens, the oldest first, with how far each is from the newest, how long after the one before it came, and what was done with it
    (SASRec, Kang and McAuley 2018, https://arxiv.org/abs/1808.09781; both ways as BERT4Rec, Sun et al. 2019, https://arxiv.org/abs/1904.06690).

    Args:
        items: their vectors.
        longest: items of the longest history.
        actions: kinds of action, that of unknown ones included; 0 where histories tell none.
        timed: whether histories tell times.
        layers, heads, dropout: of the blocks.
        causal: an item sees itself and those before it, and the last one stands for the row; else their mean.
    """

    def __init__(self, items: ItemVectors, longest: int, actions: int, timed: bool, layers: int, heads: int, dropout: float, causal: bool) -> None:
        super().__init__()
        self.items, self.width, self.causal = items, items.width, causal
        self.positions = nn.Parameter(0.02 * torch.randn(longest, self.width))
        self.actions = nn.Embedding(actions, self.width) if actions else None
        self.gap = nn.Linear(2, self.width, bias=False) if timed else None
        self.norm_first, self.norm = nn.LayerNorm(self.width), nn.LayerNorm(self.width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(self.width, heads, dropout, causal=causal) for _ in range(layers))

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `items` (B, L) int64, places, `known` (B, L) bool, real ones, first in each row, `gaps` (B, L, 2), `actions` (B, L) int64, and
        `present` (B,)."""
        known_BL = inputs["known"]
        length = known_BL.shape[1]
        back_BL = (known_BL.sum(1, keepdim=True) - 1 - torch.arange(length, device=known_BL.device)).clamp(min=0)
        x_BLD = self.items(inputs["items"]) + self.positions[back_BL]
        if self.actions is not None:
            x_BLD = x_BLD + self.actions(inputs["actions"])
        if self.gap is not None:
            x_BLD = x_BLD + self.gap(inputs["gaps"])
        x_BLD = self.dropout(self.norm_first(x_BLD))
        real_BL = known_BL | (torch.arange(length, device=known_BL.device) == 0)  # attention wants a token in every row
        for block in self.blocks:
            x_BLD = block(x_BLD, real_BL)
        return Tokens(self.norm(x_BLD), known_BL, "last" if self.causal else "mean").only(inputs["present"])
