"""Span metrics: how near the parts of texts that were quoted lie to those that answer. No torch here: recipes are checked without it."""

import numpy as np

from omnitune.nn.metrics import Array, Metric, calibration_error, defined


def span_metrics() -> dict[str, Metric]:
    """For y (n, 2 G), where the right parts of a text start and stop, 0 where nothing answers, and p (n, 4), see `SpanHead.predict`. `overlap`: F1 of
    characters; `exact_span`: the same first and last one; `answerable`: whether it is right that there is an answer."""
    return {
        "overlap": Metric(defined(lambda y, p: float(_overlap(y, p).mean()))),
        "exact_span": Metric(defined(lambda y, p: float(_exact(y, p).mean()))),
        "answerable": Metric(defined(lambda y, p: float((_said(p).any(1) == y.any(1)).mean()))),
        "calibration_error": Metric(defined(_calibration), higher_is_better=False, resampled=False),
    }


def _said(p: Array) -> Array:
    """The part that is said, (n, 2), 0 where it is likelier that there is no answer."""
    return np.asarray(p[:, :2] * (p[:, 2] >= p[:, 3])[:, None])


def _exact(y: Array, p: Array) -> Array:
    right: Array = (y.reshape(len(y), -1, 2) == _said(p)[:, None]).all(2).any(1)
    return right


def _overlap(y: Array, p: Array) -> Array:
    true, said = y.reshape(len(y), -1, 2), _said(p)[:, None]
    both = np.minimum(true[..., 1], said[..., 1]) - np.maximum(true[..., 0], said[..., 0])
    sizes = (true[..., 1] - true[..., 0]) + (said[..., 1] - said[..., 0])
    f1: Array = np.where(sizes > 0, 2 * np.maximum(both, 0) / np.maximum(sizes, 1), 1.0).max(1)
    return f1


def _calibration(y: Array, p: Array) -> float:
    """Of the answer that is said."""
    sure, right = p[:, 2:].max(1), _exact(y, p)
    return calibration_error(np.zeros(len(y)), np.stack([np.where(right, sure, 0), np.where(right, 0, sure)], 1))
