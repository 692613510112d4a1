"""Attention of rows of any lengths in one call on a GPU: FlashAttention (Dao 2023, https://arxiv.org/abs/2307.08691), through torch.

Shape letters: B rows, T tokens of all rows, H heads, d width of a head.
"""

import inspect
from functools import cache

import torch
from torch import Tensor

HALVES = (torch.bfloat16, torch.float16)
AMPERE = (8, 0)
"""The first GPUs that FlashAttention 2 runs on."""


def lacking(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why `attention` cannot be had; None where it can."""
    if device.type != "cuda":
        return f"as rows are on {device.type}"
    if _kernel() is None:
        return f"torch {torch.__version__} has no varlen_attn with windows, which came with 2.11"
    if torch.cuda.get_device_capability(device) < AMPERE:
        return f"{torch.cuda.get_device_name(device)} is older than FlashAttention needs"
    return None if computed_in(device, dtype) in HALVES else "FlashAttention knows no float32; with train.precision bfloat16 they are read flat"


def computed_in(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """What products are computed in there: that of the weights, or that of autocast."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else dtype


def attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    lengths_B: Tensor,
    longest: int,
    dropout: float = 0.0,
    scaling: float | None = None,
    causal: bool = False,
    window: int | None = None,
) -> Tensor:
    """(T, H, d), each token attending within its row, or to what is less than `window` places away.

    Args:
        q: queries, (T, H, d).
        k, v: keys and values, (T, H, d), or with fewer heads, each for several of the queries.
        lengths_B: of the rows, which lie one after the other.
        longest: no row is longer.
        dropout: of attention weights; the kernel has none.
        scaling: of the scores; one over the root of d where left out.
        causal: a token sees itself and those before it.
        window: None for the whole row.

    Raises:
        NotImplementedError: dropout is asked for.
    """
    if dropout:
        raise NotImplementedError("dropout of attention weights within flat rows on a GPU")
    kernel = _kernel()
    assert kernel is not None, "lacking is asked before"
    dtype = computed_in(q.device, q.dtype)
    q, k, v = (x.to(dtype) for x in (q, k, v))
    grouped = {}
    if k.shape[1] != q.shape[1]:
        if "enable_gqa" in inspect.signature(kernel).parameters:
            grouped = {"enable_gqa": True}
        else:
            k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], 1) for x in (k, v))
    ends = torch.nn.functional.pad(lengths_B.cumsum(0), (1, 0)).to(torch.int32)
    near = -1 if window is None else window - 1
    made: Tensor = kernel(q, k, v, ends, ends, longest, longest, scale=scaling, window_size=(near, 0 if causal else near), **grouped)
    return made


@cache
def _kernel():  # type: ignore[no-untyped-def]
    """torch's function; None where it has none that knows a window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None
