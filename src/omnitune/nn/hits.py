"""Hits: how good ranked answers are of which some are right, and of which any number may be.

Shape letters: n queries, k answers, best first.
"""

from typing import Any

import numpy as np

from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]


def hit_metrics(k: int) -> dict[str, Metric]:
    """For y (n, 1), how many right answers there are, at least one; and p (n, k), 1 where an answer is right.

    `recall@k`: the share of the right answers that is found. `success@1`: whether the first is right. `mrr@k`: one over the rank of the first
    right one, 0 where none is found. `ndcg@k`: with gain 1 for a right answer (Järvelin and Kekäläinen 2002, ACM TOIS 20(4)).
    """
    made = {f"recall@{k}": _recall, "success@1": lambda y, p: p[:, 0], f"mrr@{k}": lambda y, p: _reciprocal(p), f"ndcg@{k}": _ndcg}
    return {name: Metric(_mean(each)) for name, each in made.items()}


def _mean(each: Any) -> Any:
    return lambda y, p: float(each(y, p).mean()) if len(p) else float("nan")


def _recall(y_n1: Array, p_nk: Array) -> Array:
    return np.asarray(p_nk.sum(1) / y_n1[:, 0])


def _reciprocal(p_nk: Array) -> Array:
    return np.where(p_nk.any(1), 1 / (p_nk.argmax(1) + 1), 0.0)


def _ndcg(y_n1: Array, p_nk: Array) -> Array:
    gains = 1 / np.log2(np.arange(p_nk.shape[1]) + 2)
    best = np.cumsum(gains)[np.minimum(y_n1[:, 0], p_nk.shape[1]) - 1]
    return np.asarray((p_nk * gains).sum(1) / best)
