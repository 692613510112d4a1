"""Measure: metrics of several models on the same rows, with bootstrap intervals and paired differences."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]
Figure = dict[str, float | None]
BUDGET = 20_000_000
"""Rows drawn in all; above 20,000 test rows there are fewer resamples, never fewer than 200."""


@dataclass(frozen=True)
class Predictions:
    """Of one task on the labelled rows of one part.

    Args:
        y: true answers, first dimension n.
        p: predictions, first dimension n.
        rows: row numbers in the table, (n,).
    """

    y: Array
    p: Array
    rows: Array


def measure(metrics: Mapping[str, Metric], predictions: Mapping[str, Predictions], seed: int = 0, resamples: int = 1000) -> dict[str, Any]:
    """Every metric of every model, and how the last model differs from each other one.

    The intervals are 95 % percentile intervals of the bootstrap over rows (Efron 1979). All models see the same resamples, so
    that differences are paired. Where a metric is undefined the value is None;
    a metric that resamples say nothing of has no interval.

    Args:
        metrics: by name.
        predictions: by model, on the same rows; the last is the one compared with the others.
        seed: of the resamples.
        resamples: how many; fewer for very many rows, see `BUDGET`.

    Returns:
        `rows` n; `resamples`; `higher` {metric: whether more is better}; `models` {model: {metric: {value, low, high}}};
        `subject` the last model; `differences` {other model: {metric: {value, low, high}}}, subject minus other.
    """
    first, *others = predictions.values()
    assert all(np.array_equal(first.rows, other.rows) for other in others), "models must be measured on the same rows"
    n = len(first.rows)
    resamples = min(resamples, max(200, BUDGET // max(n, 1)))
    drawn = _draws(metrics, predictions, n, seed, resamples)
    values = {model: {name: m.compute(given.y, given.p) for name, m in metrics.items()} for model, given in predictions.items()}
    *rest, subject = predictions
    return {
        "rows": n,
        "resamples": resamples,
        "higher": {name: m.higher_is_better for name, m in metrics.items()},
        "models": {model: {name: figure(values[model][name], drawn[model][name]) for name in metrics} for model in predictions},
        "subject": subject,
        "differences": {
            model: {name: figure(values[subject][name] - values[model][name], drawn[subject][name] - drawn[model][name]) for name in metrics}
            for model in rest
        },
    }


def _draws(metrics: Mapping[str, Metric], predictions: Mapping[str, Predictions], n: int, seed: int, resamples: int) -> dict[str, dict[str, Array]]:
    rng = np.random.default_rng(seed)
    drawn = {model: {name: np.full(resamples, np.nan) for name in metrics} for model in predictions}
    for i in range(resamples if n else 0):
        rows = rng.integers(n, size=n)
        for model, given in predictions.items():
            y, p = given.y[rows], given.p[rows]
            for name, metric in ((name, metric) for name, metric in metrics.items() if metric.resampled):
                drawn[model][name][i] = metric.compute(y, p)
    return drawn


def figure(value: float, drawn: Array) -> Figure:
    """The value and the interval that 95 % of the draws fall in; None where undefined, the interval also if it is so in half of the draws."""
    if not math.isfinite(value):
        return {"value": None, "low": None, "high": None}
    good = drawn[np.isfinite(drawn)]
    if 2 * len(good) <= len(drawn):
        return {"value": float(value), "low": None, "high": None}
    low, high = np.percentile(good, [2.5, 97.5])
    return {"value": float(value), "low": float(low), "high": float(high)}


def shown(figure: Figure) -> str:
    """A value with its interval, for people."""
    value, low, high = (figure[name] for name in ("value", "low", "high"))
    return "undefined" if value is None else f"{value:.3f}" + ("" if low is None or high is None else f"  [{low:.3f}, {high:.3f}]")


def verdict(difference: Figure, higher_is_better: bool) -> str:
    """What a difference says: `better`, `worse`, `unclear` where the interval holds 0, `same` where it is nothing but 0; empty if undefined."""
    low, high = difference["low"], difference["high"]
    if low is None or high is None:
        return ""
    if low == high == 0:
        return "same"
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == higher_is_better else "worse"
