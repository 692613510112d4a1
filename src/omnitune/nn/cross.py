"""Cross: one input asks the others, by attention from its tokens to theirs.

Shape letters beside those of `attention`: M inputs, A the tokens of the input that asks, S those of all others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from omnitune.nn import missing
from omnitune.nn.block import Perceptron
from omnitune.nn.dropout import Dropout
from omnitune.nn.tokens import Tokens


class CrossAttention(nn.Module):
    """Multi-head attention of some tokens to others (the encoder-decoder attention of Vaswani et al. 2017, section 3.2.3).

    Args:
        width: D of both.
        heads: H, a divisor of D.
        dropout: share of attention weights that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide width {width}"
        self.heads, self.dropout = heads, dropout
        self.q, self.kv, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)

    def forward(self, x_BAD: Tensor, others_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """(B, A, D): what each token finds among the others that are real; every row needs one."""
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.q(x_BAD), *self.kv(others_BSD).chunk(2, -1)))
        y_BHAd = scaled_dot_product_attention(q, k, v, mask_BS[:, None, None], self.dropout if self.training else 0.0)
        y_BAD: Tensor = self.out(y_BHAd.transpose(1, 2).flatten(2))
        return y_BAD


class CrossBlock(nn.Module):
    """Attention to the others, then a perceptron, each added to its input, with norms before each half.

    Args:
        width, heads: see `CrossAttention`.
        dropout: share of attention weights, and of what each half adds, that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention, self.mlp = CrossAttention(width, heads, dropout), Perceptron(width, 4 * width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout = Dropout(dropout)

    def forward(self, x_BAD: Tensor, others_BSD: Tensor, mask_BS: Tensor) -> Tensor:
        """(B, A, D)."""
        x_BAD = x_BAD + self.dropout(self.attention(self.norm1(x_BAD), others_BSD, mask_BS))
        x_BAD = x_BAD + self.dropout(self.mlp(self.norm2(x_BAD)))
        return x_BAD


class Cross(nn.Module):
    """The tokens of one input ask those of all others (co-attention in one direction, ViLBERT, Lu et al. 2019, https://arxiv.org/abs/1908.02265;
    Perceiver asks so with a learned array, Jaegle et al. 2021, https://arxiv.org/abs/2103.03206).

    Its cost grows with A times S, where `Attend` costs the square of their sum. Tokens of one input do not see each other here, so where that
    input is pooled at one token, only that one asks. A single input has nobody to ask: its tokens are projected and normed.

    Args:
        widths: D of every input.
        of: the input that asks.
        width: D of the result.
        layers: blocks.
        heads: of each block, a divisor of `width`.
        dropout: of the blocks.
        hide: share of present inputs that training hides.
    """

    pools = False

    def __init__(self, widths: Mapping[str, int], of: str, width: int, layers: int, heads: int, dropout: float = 0.0, hide: float = 0.0) -> None:
        super().__init__()
        assert of in widths, f"no input {of!r}"
        self.inputs, self.at, self.width, self.hide = list(widths), list(widths).index(of), width, hide
        self.projections = nn.ModuleList(nn.Linear(w, width) for w in widths.values())
        self.stand_ins = nn.ParameterList(missing.embedding(width) for _ in widths)
        self.marks = nn.ParameterList(missing.embedding(width) for _ in self.inputs[1:])
        self.blocks = nn.ModuleList(CrossBlock(width, heads, dropout) for _ in range(layers if self.marks else 0))
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2 if self.marks else 1))

    def forward(self, streams: Mapping[str, Tokens]) -> Tokens:
        """(B, A, width), pooled as the input that asks; A is 1 where that is pooled at one token."""
        tokens = [streams[name] for name in self.inputs]
        shown_BM = missing.shown(tokens, self.hide if self.training else 0.0)
        each = [t.only(shown_B) for t, shown_B in zip(tokens, shown_BM.T, strict=True)]
        asks = each[self.at]
        if asks.pool != "mean":
            asks = Tokens(asks.pooled()[:, None], asks.present[:, None], "first")
        x_BAD, mask_BA = missing.sequence(asks, self.projections[self.at], self.stand_ins[self.at])
        if self.marks:
            others_BSD, mask_BS = self._others(each)
            for block in self.blocks:
                x_BAD = block(x_BAD, others_BSD, mask_BS)
        return Tokens(self.norms[0](x_BAD), mask_BA, asks.pool)

    def _others(self, each: list[Tokens]) -> tuple[Tensor, Tensor]:
        """Marked and normed tokens of the inputs that are asked, and their mask."""
        asked = [i for i in range(len(each)) if i != self.at]
        parts = [missing.sequence(each[i], self.projections[i], self.stand_ins[i]) for i in asked]
        x_BSD = torch.cat([x + mark for (x, _), mark in zip(parts, self.marks, strict=True)], 1)
        return self.norms[1](x_BSD), torch.cat([mask for _, mask in parts], 1)
