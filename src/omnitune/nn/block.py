"""Block: one Transformer layer, for every model of the library. What tells the generations apart is an argument."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import gelu, silu

from omnitune.nn.attention import Attention, Cache, Turn
from omnitune.nn.dropout import Dropout

Activation = Literal["gelu", "gelu_tanh", "swiglu"]
Norm = Literal["layer", "rms"]


class Perceptron(nn.Module):
    """Two layers, token by token; with `swiglu`, the wide values are gated by a third (Shazeer 2020, https://arxiv.org/abs/2002.05202).

    Args:
        width: D.
        inner: width between the layers.
        activation: between them; `gelu_tanh` is the approximation that GPT was trained with (Hendrycks and Gimpel 2016).
        bias: of the layers.
    """

    def __init__(self, width: int, inner: int, activation: Activation = "gelu", bias: bool = True) -> None:
        super().__init__()
        self.activation = activation
        self.up, self.down = nn.Linear(width, inner, bias=bias), nn.Linear(inner, width, bias=bias)
        self.gate = nn.Linear(width, inner, bias=bias) if activation == "swiglu" else None

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D)."""
        wide = self.up(x_BLD)
        active = silu(self.gate(x_BLD)) * wide if self.gate else gelu(wide, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        y_BLD: Tensor = self.down(active)
        return y_BLD


class Block(nn.Module):
    """Attention, then a perceptron, each added to its input.

    Args:
        width: D.
        heads: of the attention, a divisor of D.
        dropout: share of what each half adds that training drops.
        attention_dropout: share of attention weights; `dropout` where left out.
        inner: width of the perceptron; 4 D where left out.
        norm_first: each half norms what it reads (GPT-2, ViT; Xiong et al. 2020, https://arxiv.org/abs/2002.04745), else the sum behind it
            (GPT-1, BERT, the first Transformer).
        norm: LayerNorm, or RMSNorm (Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467).
        eps: of the norms.
        activation, bias: see `Perceptron`; `bias` is that of the attention too.
        causal, window, kv_heads, layer: see `Attention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        *,
        attention_dropout: float | None = None,
        inner: int | None = None,
        norm_first: bool = True,
        norm: Norm = "layer",
        eps: float = 1e-5,
        activation: Activation = "gelu",
        bias: bool = True,
        causal: bool = False,
        window: int | None = None,
        kv_heads: int | None = None,
        layer: int = 0,
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        share = dropout if attention_dropout is None else attention_dropout
        self.attention = Attention(width, heads, share, causal=causal, window=window, kv_heads=kv_heads, bias=bias, layer=layer)
        self.mlp = Perceptron(width, inner or 4 * width, activation, bias)
        self.norm1, self.norm2 = make_norm(norm, width, eps), make_norm(norm, width, eps)
        self.dropout = Dropout(dropout)

    def forward(self, x_BLD: Tensor, mask: Tensor | None = None, turn: Turn | None = None, cache: Cache | None = None) -> Tensor:
        """(B, L, D); arguments as in `Attention`."""
        if self.norm_first:
            x_BLD = x_BLD + self.dropout(self.attention(self.norm1(x_BLD), mask, turn, cache))
            x_BLD = x_BLD + self.dropout(self.mlp(self.norm2(x_BLD)))
        else:
            x_BLD = self.norm1(x_BLD + self.dropout(self.attention(x_BLD, mask, turn, cache)))
            x_BLD = self.norm2(x_BLD + self.dropout(self.mlp(x_BLD)))
        return x_BLD


def make_norm(norm: Norm, width: int, eps: float) -> nn.Module:
    """A norm over the last dimension."""
    return nn.LayerNorm(width, eps=eps) if norm == "layer" else nn.RMSNorm(width, eps=eps)
