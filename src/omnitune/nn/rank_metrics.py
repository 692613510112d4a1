"""Metrics of ranks: means of figures that were counted once, see `nn.ranking.figures`.

Shape letters: n rows, C candidates, K items of a list.
"""

from functools import partial
from typing import Any

import numpy as np

from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]
FIRST = 10
"""Items of a list that is shown to somebody (the k of figures)."""
WIDER = 50
FIGURES = 4
"""Columns of `figures` before the items."""


def rank_metrics(candidates: int) -> dict[str, Metric]:
    """For y (n,) and p (n, FIGURES + K), see `figures`. `coverage` is the share of all candidates that stands in some row's list."""
    names = ("ndcg@10", "hit_rate@10", "hit_rate@50", "mrr")
    made = {name: Metric(partial(_mean, column=i)) for i, name in enumerate(names)}
    return made | {"coverage@10": Metric(partial(_coverage, candidates=candidates), resampled=False)}


def _mean(y: Array, p: Array, column: int) -> float:
    return float(p[:, column].mean()) if len(p) else float("nan")


def _coverage(y: Array, p: Array, candidates: int) -> float:
    there = np.zeros(candidates + 1, dtype=bool)  # the last one stands for no item, -1
    there[p[:, FIGURES:].astype(np.int64)] = True
    return float(there[:-1].sum() / candidates) if len(p) else float("nan")
