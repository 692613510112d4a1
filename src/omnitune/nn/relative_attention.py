"""Attention with relative positions over a memory (Dai et al. 2019, Transformer-XL, section 3.3, https://arxiv.org/abs/1901.02860).

A token i scores a token j by what it holds and by how far back it lies, with learned vectors u and v in the place of the query's own position:

    (q_i + u) . k_j  +  (q_i + v) . r_(i - j)

Shape letters: B rows, L tokens, M tokens of the memory, S = M + L tokens that are attended to, D width, H heads, d width of a head.
"""

from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from omnitune.nn import flat


class RelativeAttention(nn.Module):
    """Multi-head attention of L tokens to themselves and a memory.

    Args:
        width: D.
        heads: H, a divisor of D.
        dropout: share of attention weights that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        assert width % heads == 0, f"{heads} heads do not divide width {width}"
        self.heads, self.dropout = heads, dropout
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.r_proj, self.out = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.u, self.v = nn.Parameter(torch.zeros(heads, 1, width // heads)), nn.Parameter(torch.zeros(heads, 1, width // heads))

    def forward(self, x_BLD: Tensor, r_SD: Tensor, unseen: Tensor, memory_BMD: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """(B, L, D).

        Args:
            x_BLD: the tokens.
            r_SD: the vector of each distance, from S - 1 down to 0.
            unseen: (L, S) or (B, 1, L, S) bool, True where a token is not seen; of flat rows (S, S).
            memory_BMD: the tokens before these, without gradient; none where left out.
            rows: (1, 1, L, rows) int64, the lengths of flat rows (see `flat`), of which the longest has S tokens; then B is 1 and M is 0.
        """
        z_BSD = x_BLD if memory_BMD is None else torch.cat([memory_BMD, x_BLD], 1)
        q, k, v = (self._split(x) for x in (self.q_proj(x_BLD), self.k_proj(z_BSD), self.v_proj(z_BSD)))
        r_HSd = self._split(self.r_proj(r_SD)[None])[0]
        y_BHLd = self._attend(q, k, v, r_HSd, unseen) if rows is None else self._attend_flat(q, k, v, r_HSd, unseen, rows)
        y_BLD: Tensor = self.out(y_BHLd.transpose(1, 2).flatten(2))
        return y_BLD

    def _split(self, x_BLD: Tensor) -> Tensor:
        """(B, H, L, d)."""
        return x_BLD.view(*x_BLD.shape[:2], self.heads, -1).transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, r_HSd: Tensor, unseen: Tensor) -> Tensor:
        """(B, H, L, d)."""
        scale = q.shape[-1] ** -0.5
        by_distance_BHLS = ((q + self.v) * scale) @ r_HSd.transpose(-1, -2)
        bias_BHLS = shift(by_distance_BHLS).masked_fill(unseen, -torch.inf)
        return scaled_dot_product_attention(q + self.u, k, v, bias_BHLS, self.dropout if self.training else 0.0, scale=scale)

    def _attend_flat(self, q: Tensor, k: Tensor, v: Tensor, r_HSd: Tensor, unseen_SS: Tensor, rows: Tensor) -> Tensor:
        """(1, H, L, d), within rows. Rows of equal length are one call."""
        groups = [(length, len(list(same))) for length, same in groupby(flat.lengths(rows).tolist())]
        sizes, made = [length * count for length, count in groups], []
        for (length, count), *parts in zip(groups, *(torch.split(x[0], sizes, 1) for x in (q, k, v)), strict=True):
            own_q, own_k, own_v = (part.unflatten(1, (count, length)).transpose(0, 1) for part in parts)  # (count, H, length, d)
            y = self._attend(own_q, own_k, own_v, r_HSd[:, -length:], unseen_SS[-length:, -length:])
            made.append(y.transpose(0, 1).flatten(1, 2))
        return torch.cat(made, 1)[None]


def shift(by_distance: Tensor) -> Tensor:
    """Scores by distance, (..., L, S) for S - 1 down to 0, to scores by place (appendix B of the paper).

    Query i of the last L of S tokens finds the token j at distance S - L + i - j, which lies L - 1 - i columns further right. What this puts
    at tokens behind i is of no meaning.
    """
    L, S = by_distance.shape[-2:]
    return pad(by_distance, (1, 0)).view(*by_distance.shape[:-2], S + 1, L)[..., 1:, :].reshape(by_distance.shape)


def distances(tokens: int, width: int, clamp: int | None, like: Tensor) -> Tensor:
    """A sinusoid for each distance from S - 1 down to 0, (S, D); those beyond `clamp` are one (Vaswani et al. 2017, section 3.5).

    Args:
        tokens: S.
        width: D, even.
        clamp: None for none.
        like: gives type and device.
    """
    back = torch.arange(tokens - 1, -1, -1, device=like.device).clamp(0, clamp).float()
    rates = 10_000.0 ** (-torch.arange(0, width, 2, device=like.device).float() / width)
    angles = back[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).to(like.dtype)
