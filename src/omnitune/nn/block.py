"""Block: one Transformer layer, for every model of the library."""

from torch import Tensor, nn

from omnitune.nn.attention import Attention


class Block(nn.Module):
    """Attention, then a two-layer perceptron, each normalised before and added to its input (pre-norm: Xiong et al. 2020,
    https://arxiv.org/abs/2002.04745).

    Args:
        width: D.
        heads: of the attention, a divisor of D.
        dropout: share of attention weights, and of what each half adds, that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads, dropout)
        self.norm2, self.mlp = nn.LayerNorm(width), nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """(B, L, D); `mask_BL` as in `Attention`."""
        x_BLD = x_BLD + self.dropout(self.attention(self.norm1(x_BLD), mask_BL))
        x_BLD = x_BLD + self.dropout(self.mlp(self.norm2(x_BLD)))
        return x_BLD
