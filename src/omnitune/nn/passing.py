"""Passing: how likely one of k texts passes its tests, told from more of them."""

from collections.abc import Sequence

import numpy as np

from omnitune.nn.metrics import Array, Metric


def pass_at(k: int, passed: Array, tries: Array) -> Array:
    """Of every row how likely one of `k` texts passes, (n,): without bias, from `passed` of `tries` texts, k at least (Chen et al. 2021,
    https://arxiv.org/abs/2107.03374, equation 1)."""
    failing = np.ones(len(passed))
    for drawn in range(k):  # the chance that the next one drawn fails too
        failing *= np.maximum(tries - passed - drawn, 0) / (tries - drawn)
    return np.asarray(1 - failing)


def passing_metrics(ks: Sequence[int]) -> dict[str, Metric]:
    """`pass@k` by name, means over rows, for y (n,), of which only the rows count, and p (n, 2): how many texts passed, and how many there are."""

    def mean(k: int) -> Metric:
        return Metric(lambda y, p: float(pass_at(k, p[:, 0], p[:, 1]).mean()) if len(p) else float("nan"))

    return {f"pass@{k}": mean(k) for k in ks}
