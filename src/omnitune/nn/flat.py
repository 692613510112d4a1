"""Flat rows: the real tokens of a batch laid end to end as one long row, so that no padding is multiplied.

Linear layers, norms and activations see tokens alone; attention stays within rows, which `attention` does for every transformers model that
takes its attention from their `AttentionInterface`. The lengths travel in the place of the attention mask, whose four dimensions keep models
from changing it, and whose third tells how long the longest may be without waiting for a GPU to say it. So a row's result does not depend on the
rows beside it.

Several texts may follow one prompt (branches): the row is the prompt and then every text, none of which sees another, so that the prompt is computed
once. What each is told of then, is three numbers a token (Cai et al. 2024, https://arxiv.org/abs/2401.10774, section 3.1.2, call it tree attention).

Shape letters: B rows, L tokens of the longest, T real tokens of all rows, D width, H heads, d width of a head.
"""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from omnitune.nn import varlen
from omnitune.nn.tokens import Pool

NAME = "omnitune_flat"
REFUSED = (NotImplementedError, IndexError, RuntimeError, ValueError, TypeError)
"""What models raise that cannot read flat rows."""
MOST_TOKENS = 256
"""Of a row that proves a model fit for flat rows; wider windows are taken for what transformers means by them."""


@dataclass(frozen=True)
class Layout:
    """Where the tokens of padded rows lie when they are laid end to end, shorter rows first.

    Args:
        places: of each token in the padded batch of B * L places, (T,).
        positions: of each token in its own row, (T,).
        lengths: of the rows in their new order, (B,) int64.
        order: the number of each row in the padded batch, (B,).
        shape: B and L.
    """

    places: Tensor
    positions: Tensor
    lengths: Tensor
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, mask_BL: Tensor) -> "Layout":
        """From a mask that is True where a token is real; each row is padded on the right and has a token."""
        B, L = mask_BL.shape
        lengths_B = mask_BL.sum(1)
        order_B = lengths_B.argsort(stable=True)
        grid_BL = torch.arange(B * L, device=mask_BL.device).view(B, L)
        places = grid_BL[order_B][mask_BL[order_B]]
        return cls(places, places % L, lengths_B[order_B], order_B, (B, L))

    @property
    def mask(self) -> Tensor:
        """The lengths as models are told them, (1, 1, L, B) int64, each L times the same; see `lengths`."""
        return self.lengths.expand(1, 1, self.shape[1], -1)

    def flatten(self, x: Tensor) -> Tensor:
        """(B, L, ...) to (1, T, ...)."""
        return x.flatten(0, 1)[self.places][None]

    def pad(self, x_1TD: Tensor) -> Tensor:
        """(1, T, D) to (B, L, D), zeros where there is no token."""
        (B, L), D = self.shape, x_1TD.shape[-1]
        return x_1TD.new_zeros(B * L, D).index_copy(0, self.places, x_1TD[0]).view(B, L, D)

    def read(self, pool: Pool) -> Tensor:
        """Where the token lies that `pool` reads of each row, (1, B) in the order of the flat row."""
        ends_B = self.lengths.cumsum(0)
        return (ends_B - self.lengths if pool == "first" else ends_B - 1)[None]

    def unsorted(self, x_1BD: Tensor) -> Tensor:
        """One token a row, (1, B, D) in the order of the flat row, to (B, 1, D) in that of the batch."""
        return torch.zeros_like(x_1BD[0]).index_copy(0, self.order, x_1BD[0])[:, None]


def lengths(mask: Tensor) -> Tensor:
    """The lengths of flat rows, (B,), from what stands in the place of an attention mask, see `Layout.mask`."""
    return mask[0, 0, 0]


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of transformers' interface, (1, H, T, d) to (1, T, H, d), within rows where `attention_mask` holds their lengths; as SDPA else.

    Rows of equal length are one call, and on a GPU all rows are. Raises `NotImplementedError` where a model wants more of attention than that.
    """
    if attention_mask is None or attention_mask.dtype != torch.int64:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found: tuple[Tensor, Tensor | None] = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, is_causal, **kwargs)
        return found
    if any(kwargs.get(name) is not None for name in ("softcap", "position_bias", "s_aux")):
        raise NotImplementedError("attention with a bias or a cap")
    causal = bool(getattr(module, "is_causal", False)) if is_causal is None else is_causal
    window = kwargs.get("sliding_window")
    if attention_mask.shape[1] > 1:
        return _branches(query, key, value, attention_mask, dropout, scaling, window), None
    if query.device.type == "cuda":
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        return varlen.attention(q, k, v, lengths(attention_mask), attention_mask.shape[2], dropout, scaling, causal, window)[None], None
    return _by_length(query, key, value, lengths(attention_mask), dropout, scaling, causal, window), None


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it goes by the lengths themselves
def _by_length(q: Tensor, k: Tensor, v: Tensor, lengths_B: Tensor, dropout: float, scaling: float | None, causal: bool, window: int | None) -> Tensor:
    """(1, H, T, d) to (1, T, H, d), rows of equal length at a time."""
    groups = [(length, len(list(rows))) for length, rows in groupby(lengths_B.tolist())]
    sizes = [length * rows for length, rows in groups]
    made = []
    for (length, rows), *parts in zip(groups, *(torch.split(x[0], sizes, dim=1) for x in (q, k, v)), strict=True):
        own_q, own_k, own_v = (part.unflatten(1, (rows, length)).transpose(0, 1) for part in parts)  # (rows, H, length, d)
        near = _near(length, window, causal, q.device)
        grouped = q.shape[1] != k.shape[1]
        out = scaled_dot_product_attention(own_q, own_k, own_v, near, dropout, causal and near is None, scale=scaling, enable_gqa=grouped)
        made.append(out.transpose(1, 2).flatten(0, 1))  # (rows * length, H, d)
    return torch.cat(made)[None]


@torch.compiler.disable  # type: ignore[untyped-decorator]  # it goes by the lengths themselves
def _branches(query: Tensor, key: Tensor, value: Tensor, told: Tensor, dropout: float, scale: float | None, window: int | None) -> Tensor:
    """Attention where several texts follow one prompt: each token sees those before it of the prompt and of its own text. `told` (1, 3, 1, T):
    of each token the number of its row, rising, its branch and its position."""
    row_T, branch_T, place_T = told[0, :, 0]
    sizes = row_T.unique_consecutive(return_counts=True)[1].tolist()
    made = []
    for q, k, v, branch_L, place_L in zip(
        *(torch.split(x, sizes, 2) for x in (query, key, value)), *(torch.split(x, sizes) for x in (branch_T, place_T)), strict=True
    ):
        back_LL = place_L[:, None] - place_L
        seen_LL = (back_LL >= 0) & ((branch_L == 0) | (branch_L == branch_L[:, None]))
        seen_LL &= back_LL < (window or len(place_L))
        out = scaled_dot_product_attention(q, k, v, seen_LL, dropout, scale=scale, enable_gqa=q.shape[1] != k.shape[1])
        made.append(out.transpose(1, 2))
    return torch.cat(made, 1)


def _near(length: int, window: int | None, causal: bool, device: torch.device) -> Tensor | None:
    """Which tokens see which where a window narrows it, (length, length): those less than `window` places away."""
    if window is None or length <= window:
        return None
    place = torch.arange(length, device=device)
    back = place[:, None] - place[None]
    return (back < window) & (back >= 0) if causal else back.abs() < window


def prepare(model: Any) -> int | None:
    """Lets a text model read flat rows: the number that its positions start with, or None where it cannot.

    Nothing is taken on trust: two short rows must give the same tokens flat and padded. Models of this library say that they read flat rows
    (`reads_flat`); others take their attention from transformers' interface, where it can be replaced. Models with positions of their own
    making (T5, MPNet), with recurrence or convolutions over tokens fail the proof.
    """
    if getattr(model, "reads_flat", False):
        return _proved(model, _tokens(model, None))
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation not in ("sdpa", NAME) or not model._can_set_attn_implementation():
        return None
    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    wanted = _tokens(model, None)
    model.set_attn_implementation(NAME)
    start = _proved(model, wanted)
    if start is None:
        model.set_attn_implementation("sdpa")
    return start


def _proved(model: Any, wanted: Tensor) -> int | None:
    """What positions start with so that flat rows give the tokens `wanted`; None where nothing does."""
    for start in sorted({0, 1 + (getattr(model.config, "pad_token_id", None) or 0)}):
        try:
            if _near_enough(_tokens(model, start), wanted, 1e-4):
                return start
        except torch.OutOfMemoryError:  # says nothing of the model
            raise
        except REFUSED:
            continue
    return None


def wrong(model: Any, start: int) -> str | None:
    """Why a model that reads flat rows elsewhere cannot where it is now, in the precision that it computes in now; None where it can.

    As `prepare`, by two short rows, in evaluation.
    """
    training = model.training
    model.eval()
    try:
        wanted = _tokens(model, None)
        same = _near_enough(_tokens(model, start), wanted, 0.05)
    except torch.OutOfMemoryError:  # says nothing of the model
        raise
    except REFUSED as error:
        return f"its attention refused them there ({type(error).__name__}: {str(error).splitlines()[0][:100]})"
    finally:
        model.train(training)
    return None if same else "they would give other tokens there"


def _near_enough(found: Tensor, wanted: Tensor, share: float) -> bool:
    """Whether tokens are equal but for rounding: up to a share of the largest of their numbers."""
    return torch.allclose(found, wanted, rtol=1e-3, atol=share * float(wanted.abs().max()))


@torch.no_grad()
def _tokens(model: Any, start: int | None) -> Tensor:
    """Tokens of two rows, of 3 and of 7 tokens, or beyond a window of the model: flat with positions from `start`, or padded."""
    window = getattr(model.config, "sliding_window", None) or 0
    L = max(7, window + 4) if window <= MOST_TOKENS else 7
    L = min(L, getattr(model.config, "max_position_embeddings", None) or L)
    mask_BL = torch.arange(L, device=model.device) < torch.tensor([[3], [L]], device=model.device)
    ids_BL = torch.arange(2 * L, device=model.device).view(2, L) * 5 % (model.config.vocab_size - 10) + 10
    if start is None:
        x_BLD: Tensor = model(input_ids=ids_BL, attention_mask=mask_BL.long()).last_hidden_state
        return x_BLD * mask_BL[..., None]
    layout = Layout.of(mask_BL)
    x_1TD = model(input_ids=layout.flatten(ids_BL), position_ids=layout.positions[None] + start, attention_mask=layout.mask).last_hidden_state
    return layout.pad(x_1TD)
