"""Calibration: whether a probability of 0.8 is right eight times in ten, and the one number that mends it."""

from typing import Any

import numpy as np

from omnitune.evaluation.measure import Predictions

Array = np.ndarray[Any, Any]
BINS = 15
TINY = 1e-12
SPREAD = 0.5
"""Standard deviation of log T as it is expected before any row is seen."""


def calibration(test: Predictions, validation: Predictions | None) -> dict[str, Any]:
    """`before` {ece, bins} on the test rows; with validation rows also the `temperature` fitted on them and `after` {ece, bins} with it."""
    y, p = as_classes(test.y, test.p)
    found: dict[str, Any] = {"before": reliability(y, p), "temperature": None, "after": None}
    if validation is not None and len(validation.rows):
        found["temperature"] = t = temperature(*as_classes(validation.y, validation.p))
        found["after"] = reliability(y, apply_temperature(p, t))
    return found


def as_classes(y: Array, p: Array) -> tuple[Array, Array]:
    """Labels (n, K) as n x K decisions between two classes; classes (n,) stay as they are."""
    if y.ndim == 1:
        return y.astype(np.int64), p.astype(np.float64)
    yes = p.reshape(-1).astype(np.float64)
    return (y.reshape(-1) > 0.5).astype(np.int64), np.stack([1 - yes, yes], 1)


def reliability(y: Array, p: Array) -> dict[str, Any]:
    """Expected calibration error (Guo et al. 2017) over 15 equal bins of the highest probability, and the bins that hold rows.

    Args:
        y: true classes, (n,) int.
        p: probabilities, (n, C).

    Returns:
        `ece`, and `bins` [{low, high, rows, confidence, accuracy}]; a bin holds low < confidence <= high.
    """
    confidence, right = p.max(1), p.argmax(1) == y
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    rows = np.bincount(place, minlength=BINS)
    sums = np.bincount(place, confidence, BINS), np.bincount(place, right.astype(float), BINS)
    error = np.abs(sums[0] - sums[1]).sum() / len(y)
    bins = [
        {
            "low": b / BINS,
            "high": (b + 1) / BINS,
            "rows": int(rows[b]),
            "confidence": float(sums[0][b] / rows[b]),
            "accuracy": float(sums[1][b] / rows[b]),
        }
        for b in np.flatnonzero(rows).tolist()
    ]
    return {"ece": float(error), "bins": bins}


def temperature(y: Array, p: Array) -> float:
    """The temperature in [0.05, 20] that p (n, C) and y (n,) make most likely: above 1 the model was too sure.

    Beforehand log T is taken to be normal around 0 with standard deviation 0.5. A few hundred rows outweigh that; without it, a few rows
    that all happen to be right would make the model certain (the likelihood alone then grows without end as T falls).
    """
    from scipy.optimize import minimize_scalar

    logits = np.log(np.clip(p, TINY, 1)).astype(np.float64)
    y = y.astype(np.int64)

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        return float((_log_sum(scaled) - scaled[np.arange(len(y)), y]).sum() + (log_t / SPREAD) ** 2 / 2)

    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def apply_temperature(p: Array, t: float) -> Array:
    """Probabilities p (n, C) at temperature `t`."""
    scaled = np.log(np.clip(p, TINY, 1)).astype(np.float64) / t
    return np.asarray(np.exp(scaled - _log_sum(scaled)[:, None]))


def _log_sum(x: Array) -> Array:
    top = x.max(1)
    return np.asarray(top + np.log(np.exp(x - top[:, None]).sum(1)))
