"""Several: values of one kind in one row, read flat (each as a row of its own), and then that row's tokens.

Shape letters: B rows, N values of all rows, M values of the row that has most, L tokens of a value, D width.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from omnitune.nn.tokens import Tokens

ITEMS = "several"
"""Of an input that may hold several values a row: where there is one, (B, M) bool; all its other tensors but `OF_ROWS` are (B, M, ...)."""
PRESENT, VIEW = OF_ROWS = ("present", "view")
"""Of rows, not of their values."""


def laid(flat: Mapping[str, Tensor], counts: Sequence[int]) -> dict[str, Tensor]:
    """Tensors of values, (N, ...), row by row, with `ITEMS`; zeros where a row has fewer. A row is `present` where one of its values is.

    Args:
        flat: with `present` (N,).
        counts: values of each row, one at least.
    """
    count_B = torch.tensor(counts, dtype=torch.int64)
    items_BM = torch.arange(max(counts, default=1)) < count_B[:, None]
    made = {name: _laid(tensor, items_BM) for name, tensor in flat.items()}
    return made | {PRESENT: made[PRESENT].any(1), ITEMS: items_BM}


def _laid(tensor: Tensor, items_BM: Tensor) -> Tensor:
    rows = tensor.new_zeros(*items_BM.shape, *tensor.shape[1:])
    rows[items_BM] = tensor
    return rows


def flat(inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The reverse of `laid`; what holds one value a row stays as it is."""
    if ITEMS not in inputs:
        return inputs
    items_BM = inputs[ITEMS]
    of_rows = {name: inputs[name][:, None].expand(items_BM.shape)[items_BM] for name in OF_ROWS if name in inputs}
    return {name: tensor[items_BM] for name, tensor in inputs.items() if name not in (ITEMS, *OF_ROWS)} | of_rows


def rowwise(tokens: Tokens, inputs: Mapping[str, Tensor]) -> Tokens:
    """The tokens of rows from those of their values: one a value, as its own are pooled, (B, M, D); the mean stands for the row."""
    if ITEMS not in inputs:
        return tokens
    items_BM, x_ND = inputs[ITEMS], tokens.pooled()
    x_BMD = x_ND.new_zeros(*items_BM.shape, x_ND.shape[-1]).index_put((items_BM,), x_ND)
    return Tokens(x_BMD, items_BM & inputs[PRESENT][:, None])
