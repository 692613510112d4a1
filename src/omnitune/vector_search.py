"""Vector search: the nearest of all rows, block by block.

Shape letters: n rows of a block, q queries, P width, k found.
"""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]
Blocks = Iterable[tuple[int, Array]]
"""Vectors, and the number of the row that the first of them belongs to."""
DIGITS = 5
"""Of a cosine: what is closer ties, and the row that stands first in the table comes first."""


def nearest(queries_qP: Array, blocks: Blocks, never: Collection[int], k: int, but_q: Array | None = None) -> tuple[Array, Array]:
    """All rows looked at.

    Args:
        queries_qP: vectors of length 1.
        blocks: vectors of length 1.
        never: rows that have no vector.
        k: how many.
        but_q: of each query a row that is not to be found.

    Returns:
        As `best`.
    """
    scores, rows = np.zeros((len(queries_qP), 0), np.float32), np.zeros((len(queries_qP), 0), np.int64)
    for start, block_nP in blocks:
        left = np.array([row - start for row in never if start <= row < start + len(block_nP)], np.int64)
        more = _of_block(queries_qP, block_nP, left, start, k + (but_q is not None))
        scores, rows = best(np.hstack([scores, more[0]]), np.hstack([rows, more[1]]), k, but_q)
    return scores, rows


def best(scores: Array, rows: Array, k: int, but_q: Array | None = None) -> tuple[Array, Array]:
    """The k best of some rows: cosines and row numbers, (q, k) each, best first, those of one cosine in the order of the table; -inf and -1 behind
    the last one."""
    scores = np.round(scores, DIGITS)
    if but_q is not None:
        scores = np.where(rows == but_q[:, None], -np.inf, scores)
    rows = np.where(np.isneginf(scores), -1, rows)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _of_block(queries_qP: Array, block_nP: Array, never: Array, start: int, k: int) -> tuple[Array, Array]:
    """(q, k) cosines and row numbers, in no order; of those that tie with the last one the first rows of the table."""
    cosines_qn = torch.from_numpy(queries_qP) @ torch.from_numpy(block_nP).T
    cosines_qn[:, torch.from_numpy(never)] = -torch.inf
    scores, places = cosines_qn.topk(min(k, len(block_nP)), sorted=False)
    if places.shape[1]:
        last_q1 = scores.min(1, keepdim=True).values.round(decimals=DIGITS) - 0.5 * 10**-DIGITS
        for query in ((cosines_qn >= last_q1).sum(1) > places.shape[1]).nonzero()[:, 0].tolist():
            places[query] = cosines_qn[query].round(decimals=DIGITS).sort(descending=True, stable=True).indices[: places.shape[1]]
            scores[query] = cosines_qn[query, places[query]]
    return scores.numpy(), places.numpy() + start
