"""Details: what lies behind the figures of one task: classes, confusions, calibration, residuals, the worst rows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnitune.evaluation.calibration import apply_temperature, calibration
from omnitune.evaluation.measure import Predictions
from omnitune.nn.metrics import Form, confusion, like, said

Array = np.ndarray[Any, Any]
LARGEST_MATRIX = 30
"""Classes up to which the whole confusion matrix is kept."""
POINTS = 500


def details(form: Form, names: Sequence[str], test: Predictions, validation: Predictions | None) -> dict[str, Any]:
    """What the report shows of one task's answers after training.

    Args:
        form: of the task.
        names: of classes, labels or levels; empty for values.
        test: answers on the test rows.
        validation: answers on the validation rows, for the temperature; None or without rows where there are none.

    Returns:
        For classes and labels: `classes` [{name, precision, recall, f1, support}], `averages` {micro, macro, weighted}, `calibration` (see
        `calibration.calibration`). For classes also `confusion` (rows are true classes; None above 30 classes) and `confused`
        [{true, said, rows}], the ten most frequent mistakes. For values `residuals` {mean, std, quantiles} (predicted minus true) and
        `points` [[true, predicted]], at most 500; for quantiles those of the median, and `levels` [{level, below}], the share of rows that
        lie below each number. For tags `classes` and `averages` of their parts. Else always `worst` [{row, loss, true, said}], the ten rows of
        highest loss; nothing at all for what an input was asked about itself.
    """
    if not len(test.rows) or form in ("ranks", "tokens", "pixels", "pairs", "neighbours", "series", "rebuilt", "preferences", "spans"):
        return {}
    if form == "tags":
        right, said_K, true = np.split(np.concatenate([test.p[:, : 2 * len(names)], test.y[:, : len(names)]], 1).sum(0), 3)
        return scores(names, right, said_K, true)
    if like(form) == "classes":
        calibrated = calibration(test, validation)
        as_saved = Predictions(test.y, apply_temperature(test.p, calibrated["temperature"]), test.rows) if calibrated["after"] else test
        found = _classes(names, test, said(form, test.p)) if names else {}
        known = names or [str(number) for number in range(test.p.shape[1])]  # of options that each row has of its own
        return found | {"calibration": calibrated, "worst": _worst_class(known, as_saved, said(form, as_saved.p))}
    if form == "labels":
        return _labels(names, test) | {"calibration": calibration(test, None), "worst": _worst_labels(names, test)}
    if form == "quantiles":
        middle = [float(name) for name in names].index(0.5)
        return _value(Predictions(test.y, test.p[:, middle], test.rows)) | {"levels": _levels(names, test)}
    return _value(test)


def _classes(names: Sequence[str], test: Predictions, given: Array) -> dict[str, Any]:
    counts = confusion(test.y, given, len(names))
    table = scores(names, np.diag(counts), counts.sum(0), counts.sum(1))
    wrong = counts - np.diag(np.diag(counts))
    worst = [(int(i // len(names)), int(i % len(names))) for i in np.argsort(-wrong, axis=None, kind="stable")[:10]]
    confused = [{"true": names[t], "said": names[s], "rows": int(wrong[t, s])} for t, s in worst if wrong[t, s]]
    return table | {"confusion": counts.tolist() if len(names) <= LARGEST_MATRIX else None, "confused": confused}


def _labels(names: Sequence[str], test: Predictions) -> dict[str, Any]:
    said, true = test.p >= 0.5, test.y > 0.5
    return scores(names, (said & true).sum(0), said.sum(0), true.sum(0))


def scores(names: Sequence[str], right: Array, said: Array, support: Array) -> dict[str, Any]:
    """Precision, recall, F1 and support of each class from counts (C,), and their averages.

    A ratio over nothing is 0, as in scikit-learn; the macro average leaves out classes that no row has and none was given.
    """
    precision, recall, f1 = _ratio(right, said), _ratio(right, support), _ratio(2 * right, said + support)
    each = np.stack([precision, recall, f1])
    total = {"support": int(support.sum())}
    keys = ("precision", "recall", "f1")
    micro = [_ratio(a.sum(), b.sum()) for a, b in ((right, said), (right, support), (2 * right, said + support))]
    weighted = each @ _ratio(support, support.sum())
    averages = {"micro": micro, "macro": each[:, said + support > 0].mean(1), "weighted": weighted}
    return {
        "classes": [
            dict(zip(keys, map(float, each[:, i]), strict=True)) | {"name": name, "support": int(support[i])} for i, name in enumerate(names)
        ],
        "averages": {name: dict(zip(keys, map(float, row), strict=True)) | total for name, row in averages.items()},
    }


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros(np.shape(above)), where=np.asarray(below) > 0)


def _value(test: Predictions) -> dict[str, Any]:
    residual = test.p.astype(np.float64) - test.y
    shares = (5, 25, 50, 75, 95)
    shown = np.unique(np.linspace(0, len(residual) - 1, POINTS).astype(int))
    order = np.argsort(-np.abs(residual), kind="stable")[:10]
    return {
        "residuals": {
            "mean": float(residual.mean()),
            "std": float(residual.std()),
            "quantiles": {str(share): float(q) for share, q in zip(shares, np.percentile(residual, shares), strict=True)},
        },
        "points": [[float(test.y[i]), float(test.p[i])] for i in shown],
        "worst": [{"row": int(test.rows[i]), "loss": float(residual[i] ** 2), "true": float(test.y[i]), "said": float(test.p[i])} for i in order],
    }


def _levels(names: Sequence[str], test: Predictions) -> list[dict[str, float]]:
    return [{"level": float(name), "below": float((test.y <= test.p[:, i]).mean())} for i, name in enumerate(names)]


def _worst_class(names: Sequence[str], test: Predictions, answers: Array) -> list[dict[str, Any]]:
    given = test.p[np.arange(len(test.y)), test.y.astype(np.int64)]
    order = np.argsort(given, kind="stable")[:10]
    return [{"row": int(test.rows[i]), "loss": _surprise(given[i]), "true": names[int(test.y[i])], "said": names[answers[i]]} for i in order]


def _worst_labels(names: Sequence[str], test: Predictions) -> list[dict[str, Any]]:
    true = test.y > 0.5
    loss = -np.log(np.clip(np.where(true, test.p, 1 - test.p), np.finfo(test.p.dtype).eps, 1)).mean(1)
    order = np.argsort(-loss, kind="stable")[:10]
    return [
        {"row": int(test.rows[i]), "loss": float(loss[i]), "true": _given(names, true[i]), "said": _given(names, test.p[i] >= 0.5)} for i in order
    ]


def _surprise(probability: float) -> float:
    return float(-np.log(max(probability, 1e-12)))


def _given(names: Sequence[str], there: Array) -> str:
    return ", ".join(name for name, given in zip(names, there, strict=True) if given)
