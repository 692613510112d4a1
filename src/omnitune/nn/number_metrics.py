"""Metrics of numbers, and of numbers that an answer lies below with given probabilities.

Shape letters: n rows, Q levels. Where a figure is undefined on the given rows (a constant) it is nan.
"""

from collections.abc import Sequence

import numpy as np

from omnitune.nn.metrics import Array, Metric, defined


def value_metrics() -> dict[str, Metric]:
    """For y (n,) and p (n,) in the table's own units."""
    return {
        "mae": Metric(defined(lambda y, p: float(np.abs(p - y).mean())), higher_is_better=False),
        "rmse": Metric(defined(lambda y, p: float(np.sqrt(np.square(p - y).mean()))), higher_is_better=False),
        "r2": Metric(defined(r2)),
        "spearman": Metric(defined(spearman)),
    }


def quantile_metrics(levels: Sequence[float]) -> dict[str, Metric]:
    """For y (n,) and p (n, Q), rising, in the table's own units.

    `pinball`: the mean over levels; `mae` of the median; `width` between the outermost numbers, and `miss`, how far the share of rows between them
    is from what the levels promise; both only where there are two levels or more.
    """
    middle, promised = int(np.abs(np.subtract(levels, 0.5)).argmin()), levels[-1] - levels[0]
    found = {
        "pinball": Metric(defined(lambda y, p: pinball(y, p, levels)), higher_is_better=False),
        "mae": Metric(defined(lambda y, p: float(np.abs(p[:, middle] - y).mean())), higher_is_better=False),
    }
    interval = {
        "width": Metric(defined(lambda y, p: float((p[:, -1] - p[:, 0]).mean())), higher_is_better=False),
        "miss": Metric(defined(lambda y, p: abs(float(((p[:, 0] <= y) & (y <= p[:, -1])).mean()) - promised)), higher_is_better=False),
    }
    return found | (interval if len(levels) > 1 else {})


def r2(y: Array, p: Array) -> float:
    """Share of the variance explained; below 0 where the mean of these rows would do better."""
    spread = np.square(y - y.mean()).sum()
    return float(1 - np.square(y - p).sum() / spread) if spread > 0 else float("nan")


def pinball(y: Array, p: Array, levels: Sequence[float]) -> float:
    """Mean loss of quantiles (n, Q): what lies above counts by the level, what lies below by the rest (Koenker and Bassett 1978)."""
    over = y[:, None] - p
    return float(np.maximum(np.multiply(levels, over), np.subtract(levels, 1) * over).mean())


def spearman(y: Array, p: Array) -> float:
    """Rank correlation, ties sharing their mean rank."""
    a, b = _ranks(y), _ranks(p)
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / scale) if scale > 0 else float("nan")


def _ranks(values: Array) -> Array:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum() - (counts - 1) / 2)[place]
