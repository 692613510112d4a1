"""Attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), one for every Transformer of the library."""

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Multi-head self-attention: every token looks at the real tokens of its row.

    Shapes: H heads of width D / H.

    Args:
        width: D.
        heads: H, a divisor of D.
        dropout: share of attention weights that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide width {width}"
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """(B, L, D). `mask_BL` is True where a token is real; every row needs one. What padding itself gives is not to be read."""
        q, k, v = self.qkv(x_BLD).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, L, D / H) each
        mask = None if mask_BL is None else mask_BL[:, None, None, :]
        y_BHLd = scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=self.dropout if self.training else 0.0)
        y_BLD: Tensor = self.out(y_BHLd.transpose(1, 2).flatten(2))
        return y_BLD
