"""Attention (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), one for every Transformer of the library.

Shape letters: B rows, L tokens, S tokens that are attended to, D width, H heads, d width of a head.
"""

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from omnitune.nn import flat

Turn = tuple[Tensor, Tensor]
"""Cosines and sines of rotary positions, (L, d) or (B, L, d) each."""


class Cache(Protocol):
    """Keys and values of the tokens before, as `transformers.DynamicCache` holds them."""

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int) -> tuple[Tensor, Tensor]:
        """Adds new keys and values, (B, H, L, d); all of them, (B, H, S, d)."""


class Attention(nn.Module):
    """Multi-head self-attention: every token looks at the real tokens of its row, or at those before it.

    Args:
        width: D.
        heads: H, a divisor of D.
        dropout: share of attention weights that training drops.
        causal: a token sees itself and those before it (GPT).
        window: of those, only so many, itself included (the local bands of GPT-3; Child et al. 2019, https://arxiv.org/abs/1904.10509).
        kv_heads: heads of keys and values, a divisor of `heads`, each shared by several queries (Ainslie et al. 2023,
            https://arxiv.org/abs/2305.13245); as many as `heads` where left out.
        bias: of the linear layers.
        layer: number of the block, by which a cache knows it.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        dropout: float = 0.0,
        *,
        causal: bool = False,
        window: int | None = None,
        kv_heads: int | None = None,
        bias: bool = True,
        layer: int = 0,
    ) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide width {width}"
        self.heads, self.kv_heads, self.head_width = heads, kv_heads or heads, width // heads
        assert heads % self.kv_heads == 0, f"{self.kv_heads} heads of keys do not divide {heads} heads"
        assert causal or window is None, "a window looks back"
        self.dropout, self.causal, self.window, self.layer = dropout, causal, window, layer
        self.qkv = nn.Linear(width, width + 2 * self.kv_heads * self.head_width, bias=bias)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, x_BLD: Tensor, mask: Tensor | None = None, turn: Turn | None = None, cache: Cache | None = None) -> Tensor:
        """(B, L, D).

        Args:
            x_BLD: the tokens.
            mask: (B, S) bool, True where a token is real, every row needing one; or (1, 1, L, rows) int64, the lengths of flat rows (see
                `flat`), B being 1. What padding itself gives is not to be read.
            turn: rotates queries and keys by their positions.
            cache: of the tokens before these.
        """
        q, k, v = self.project(x_BLD)
        if turn is not None:
            q, k = rotate(q, turn), rotate(k, turn)
        if cache is not None:
            k, v = cache.update(k, v, self.layer)
        dropout = self.dropout if self.training else 0.0
        if mask is not None and mask.dtype == torch.int64:
            y_BLHd, _ = flat.attention(self, q, k, v, mask, dropout, is_causal=self.causal, sliding_window=self.window)
        else:
            seen = self._seen(q.shape[2], k.shape[2], mask, x_BLD.device)
            grouped = self.kv_heads != self.heads
            causal = self.causal and seen is None and q.shape[2] > 1
            y_BLHd = scaled_dot_product_attention(q, k, v, seen, dropout, causal, enable_gqa=grouped).transpose(1, 2)
        y_BLD: Tensor = self.out(y_BLHd.flatten(2))
        return y_BLD

    def project(self, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B, H, L, d), keys and values (B, kv_heads, L, d)."""
        sizes = [heads * self.head_width for heads in (self.heads, self.kv_heads, self.kv_heads)]
        q, k, v = (part.unflatten(-1, (-1, self.head_width)).transpose(1, 2) for part in self.qkv(x_BLD).split(sizes, -1))
        return q, k, v

    def _seen(self, L: int, S: int, mask_BS: Tensor | None, device: torch.device) -> Tensor | None:
        """Which of S tokens each of the last L sees, (B, 1, L, S) or (L, S) bool; None where that is all, or all before it from the first on."""
        seen = None
        if self.causal and (S != L or mask_BS is not None or (self.window and self.window < S)):
            back = torch.arange(S - L, S, device=device)[:, None] - torch.arange(S, device=device)
            seen = (back >= 0) & (back < (self.window or S)) if L > 1 or (self.window and self.window < S) else None
        if mask_BS is None:
            return seen
        real = mask_BS[:, None, None, -S:]  # a cache of a banded layer forgets the first tokens, whose mask goes on
        return real if seen is None else real & seen


def seen(attention_mask: Tensor | None) -> Tensor | None:
    """What `Attention` takes from the mask that transformers hands to a model: lengths of flat rows as they are; else (B, S) bool, and None where no
    token is padding, which keeps attention on its fastest path."""
    if attention_mask is None or attention_mask.ndim == 4:
        return attention_mask
    real_BS = attention_mask.bool()
    return None if real_BS.all() else real_BS


def turns(positions: Tensor, head_width: int, base: float = 10_000.0) -> Turn:
    """Rotary positions (Su et al. 2021, https://arxiv.org/abs/2104.09864), the halves of a head paired as Llama pairs them.

    Args:
        positions: (L,) or (B, L) whole numbers.
        head_width: d, even.
        base: of the wavelengths.
    """
    rates = base ** (-torch.arange(0, head_width, 2, dtype=torch.float32, device=positions.device) / head_width)
    angles = positions[..., None].float() * rates
    angles = torch.cat([angles, angles], -1)
    return angles.cos(), angles.sin()


def rotate(x_BHLd: Tensor, turn: Turn) -> Tensor:
    """Each pair of numbers turned by its angle."""
    cos, sin = (part.unsqueeze(-3).to(x_BHLd.dtype) for part in turn)
    first, second = x_BHLd.chunk(2, -1)
    return x_BHLd * cos + torch.cat([-second, first], -1) * sin
