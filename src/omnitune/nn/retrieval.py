"""Retrieval: how far up the right one stands among candidates, in numbers that are counted once and then only averaged.

Shape letters: n rows, m of them that are candidates of each other, P width of the vectors.
"""

from typing import Any

import numpy as np

from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]
MOST = 1000
"""Candidates of a row at most: more rows are parted by their content into equal groups, and each is sought in its own."""
WITHIN = 10
DIGITS = 5
"""Of a cosine, so that vectors that are the same tie, whatever order a product was summed in."""


def pair_metrics() -> dict[str, Metric]:
    """For y (n, 1), the number of candidates, and p (n, 8), see `found`. All without a way are means of both ways."""
    mean = {"mrr": (2, 6), "recall@1": (0, 4), "recall@10": (1, 5), "a_to_b_recall@1": (0,), "a_to_b_recall@10": (1,), "b_to_a_recall@1": (4,)}
    made = {name: Metric(_column_mean(columns)) for name, columns in (mean | {"b_to_a_recall@10": (5,)}).items()}
    return made | {"median_rank": Metric(lambda y, p: float(np.median(p[:, [3, 7]])) if len(p) else float("nan"), higher_is_better=False)}


def _column_mean(columns: tuple[int, ...]) -> Any:
    return lambda y, p: float(p[:, list(columns)].mean()) if len(p) else float("nan")


def found(a_nP: Array, b_nP: Array, same_n2: Array) -> tuple[Array, Array]:
    """Where the right one stands by the product of vectors.

    Candidates that equal the row in one of the two values are right as well and do not count. Those that tie with the right one stand before it or
    behind it with equal chance, so that a model that says nothing is told to.

    Args:
        a_nP, b_nP: the vectors.
        same_n2: a number for each of the two values, equal where they are.

    Returns:
        (n, 1), the number of candidates of each row, the right one included; and (n, 8): the chance that it stands first, that it is among the first
        ten, one over its rank, and its rank, of b given a, then of a given b.
    """
    candidates, places = np.ones((len(a_nP), 1)), np.zeros((len(a_nP), 8))
    for group in _groups(same_n2):
        same_mm = (same_n2[group, None] == same_n2[None, group]).any(2)
        score_mm = np.round(a_nP[group] @ b_nP[group].T, DIGITS)
        candidates[group, 0] = 1 + (~same_mm).sum(1)
        places[group] = np.hstack([_ranked(score_mm, same_mm), _ranked(score_mm.T, same_mm)])
    return candidates, places


def chance(candidates_n1: Array) -> Array:
    """What `found` gives of a model that says nothing, (n, 8)."""
    one_way = expected(np.zeros(len(candidates_n1)), candidates_n1[:, 0] - 1)
    return np.hstack([one_way, one_way])


def expected(above_n: Array, beside_n: Array) -> Array:
    """(n, 4) of a right one with so many candidates above it and so many beside it: first, among the first ten, one over the rank, the rank."""
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, max(2, int((above_n + beside_n).max(initial=0)) + 2)))])
    first = above_n.astype(np.int64)
    last, ties = first + beside_n.astype(np.int64) + 1, beside_n + 1
    hits = [np.clip((k - above_n) / ties, 0, 1) for k in (1, WITHIN)]
    return np.stack([*hits, (harmonic[last] - harmonic[first]) / ties, above_n + 1 + beside_n / 2], 1)


def _ranked(score_mm: Array, same_mm: Array) -> Array:
    own_m1 = np.diag(score_mm)[:, None]
    return expected(((score_mm > own_m1) & ~same_mm).sum(1), ((score_mm == own_m1) & ~same_mm).sum(1))


def _groups(same_n2: Array) -> list[Array]:
    """Rows by what their values are, not by where they stand, in groups of at most `MOST`."""
    order = np.lexsort((same_n2[:, 1], same_n2[:, 0]))
    return np.array_split(order, max(1, -(-len(order) // MOST)))
