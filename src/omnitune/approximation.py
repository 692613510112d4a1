"""Approximation: what an approximate search is told to do, and what is lost by it, measured against exact search.

Shape letters: q queries, k found.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LOOKED = (32, 64, 128, 256, 512, 1024)
"""Vectors that a search keeps in view, from few and quick to many and sure."""
WANTED = 0.98
"""Share of the nearest rows that is to be found."""
NEAREST = 10
ASKED = 1000
"""Rows that are asked at most: one half to choose `LOOKED`, the other to measure what is found."""
ROUNDED = 2e-5
"""Cosines that differ by no more are the same one, summed in another order and rounded."""


@dataclass(frozen=True)
class Approximation:
    """How a graph was made, and what it finds.

    Args:
        library: that made it, with its version.
        links: of a vector.
        building: vectors weighed for each one that was added.
        looked: vectors that a search keeps in view, or as many as it is asked for where these are more.
        recall: the share of the nearest rows of exact search that is found, in the mean.
        nearest: how many these are.
        queries: how many rows of the index were asked, before they were a part of the graph.
    """

    library: str
    links: int
    building: int
    looked: int
    recall: float
    nearest: int
    queries: int

    def __str__(self) -> str:
        return f"approximate: {self.recall:.1%} of the {self.nearest} nearest rows are found, in the mean of {self.queries:,} of them that were asked"


def chosen(search: Callable[[int], Array], exact_qk: Array) -> tuple[int, float, int]:
    """The least of `LOOKED` that finds enough for every other query, or the last one; what it finds for the rest; and how many these are.

    Args:
        search: cosines (q, k) of what is found with so many in view.
        exact_qk: those of exact search.
    """
    for looked in LOOKED:
        share_q = kept(exact_qk, search(looked))
        if share_q[::2].mean() >= WANTED:
            break
    return looked, float(share_q[1::2].mean()), len(share_q[1::2])


def kept(exact_qk: Array, found_qk: Array) -> Array:
    """The share of the nearest rows that is found, (q,), by cosines: rows as near as the last of the nearest are as good. NaN where there is none.

    Args:
        exact_qk: cosines of exact search; -inf where there is no row.
        found_qk: those of what was found.
    """
    there_q = np.isfinite(exact_qk).sum(1)
    last_q1 = np.where(np.isfinite(exact_qk), exact_qk, np.inf).min(1, initial=np.inf, keepdims=True)
    good_q = (found_qk >= last_q1 - ROUNDED).sum(1)
    share_q: Array = np.divide(np.minimum(good_q, there_q), there_q, out=np.full(len(there_q), np.nan), where=there_q > 0)
    return share_q
