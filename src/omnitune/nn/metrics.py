"""Metrics as plain functions of answers and predictions, quick enough to be computed on a thousand resamples.

Shape letters: n rows, C classes, K labels. Where a figure is undefined on the given rows (one class only, a constant) it is nan.
Definitions follow scikit-learn and scipy; averages skip classes and labels that the given rows neither hold nor predict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]
Form = Literal[
    "classes", "ordinal", "labels", "value", "quantiles", "ranks", "tokens", "pixels", "pairs", "neighbours", "series", "rebuilt", "choices",
    "preferences", "spans", "tags",
]  # fmt: skip
LIKE: dict[str, Form] = {"ordinal": "classes", "quantiles": "value", "choices": "classes"}
"""Forms whose answers, though not their predictions or metrics, are those of another."""
LEAST = float(np.finfo(np.float32).eps)
"""Probability below which a log loss grows no more: what float32 leaves of a certain model's other answers."""


@dataclass(frozen=True)
class Metric:
    """A figure of `n` rows.

    Args:
        compute: from answers `y` (n, ...) and predictions (n, ...) to a float; nan where it is undefined on these rows.
        higher_is_better: its direction.
        resampled: whether drawing rows anew tells how sure it is; not where a figure grows with the different rows that there are.
    """

    compute: Callable[[Array, Array], float]
    higher_is_better: bool = True
    resampled: bool = True


def like(form: Form) -> Form:
    """The form that the answers have, see `LIKE`."""
    return LIKE.get(form, form)


def said(form: Form, p: Array) -> Array:
    """The classes that probabilities (n, C) say, (n,): the likeliest, or of those that rise the median."""
    found: Array = np.minimum((p.cumsum(1) < 0.5).sum(1), p.shape[1] - 1) if form == "ordinal" else p.argmax(1)
    return found


def of_form(form: Form, names: Sequence[str]) -> dict[str, Metric]:
    """The metrics of a form of prediction; `names` of the classes, labels, items or levels that predictions are of."""
    outputs = len(names)
    if form == "classes":
        return class_metrics(outputs)
    if form == "ordinal":
        return ordinal_metrics(outputs)
    if form == "preferences":
        return preference_metrics()
    if form == "spans":
        from omnitune.nn.span_metrics import span_metrics

        return span_metrics()
    if form == "tags":
        from omnitune.nn.tag_metrics import tag_metrics

        return tag_metrics(outputs)
    if form == "choices":
        return choice_metrics()
    if form == "quantiles":
        from omnitune.nn.number_metrics import quantile_metrics

        return quantile_metrics([float(name) for name in names])
    if form == "value":
        from omnitune.nn.number_metrics import value_metrics

        return value_metrics()
    if form == "tokens":
        return token_metrics()
    if form == "pixels":
        return pixel_metrics()
    if form == "series":
        return series_metrics()
    if form == "rebuilt":
        return rebuilt_metrics()
    if form == "ranks":
        from omnitune.nn.rank_metrics import rank_metrics

        return rank_metrics(outputs)
    if form == "neighbours":
        from omnitune.nn.neighbours import neighbour_metrics

        return neighbour_metrics()
    if form == "pairs":
        from omnitune.nn.retrieval import pair_metrics

        return pair_metrics()
    assert form == "labels", form
    return label_metrics(outputs)


def class_metrics(classes: int) -> dict[str, Metric]:
    """For y (n,) int in [0, C) and p (n, C) probabilities."""
    return {
        "accuracy": Metric(defined(accuracy)),
        "macro_f1": Metric(defined(lambda y, p: macro_f1(confusion(y, p.argmax(1), classes)))),
        "balanced_accuracy": Metric(defined(lambda y, p: balanced_accuracy(confusion(y, p.argmax(1), classes)))),
        "auroc": Metric(defined(class_auroc)),
        "log_loss": Metric(defined(log_loss), higher_is_better=False),
        "brier": Metric(defined(brier), higher_is_better=False),
    }


def choice_metrics() -> dict[str, Metric]:
    """For y (n,) int, the right one of the options of a row, and p (n, K) probabilities, 0 where a row has fewer."""
    return {
        "accuracy": Metric(defined(accuracy)),
        "log_loss": Metric(defined(log_loss), higher_is_better=False),
        "brier": Metric(defined(brier), higher_is_better=False),
        "calibration_error": Metric(defined(calibration_error), higher_is_better=False, resampled=False),
    }


def preference_metrics() -> dict[str, Metric]:
    """For y (n, 2), tokens of the chosen and of the rejected answer, and p (n, 3), their log-likelihoods in nats (NaN where a rival knows none), and
    by how much the reward of the chosen one is higher. Ties count half."""
    return {
        "accuracy": Metric(defined(lambda y, p: _leads(p[:, 0] - p[:, 1]))),
        "accuracy_per_token": Metric(defined(lambda y, p: _leads(p[:, 0] / y[:, 0] - p[:, 1] / y[:, 1]))),
        "margin": Metric(defined(lambda y, p: float((p[:, 0] - p[:, 1]).mean()))),
        "reward_accuracy": Metric(defined(lambda y, p: _leads(p[:, 2]))),
        "reward_margin": Metric(defined(lambda y, p: float((p[:, 2] + 0 * p[:, 0]).mean()))),
        "chosen_perplexity": Metric(defined(lambda y, p: float(np.exp(-p[:, 0].sum() / y[:, 0].sum()))), higher_is_better=False),
    }


def _leads(led_n: Array) -> float:
    """Share of rows above 0; undefined where one is."""
    return float(((led_n > 0) + (led_n == 0) / 2).mean()) if not np.isnan(led_n).any() else float("nan")


def ordinal_metrics(classes: int) -> dict[str, Metric]:
    """For y (n,) int in [0, C), rising, and p (n, C) probabilities; distances are steps between the median class and the right one."""
    median = partial(said, "ordinal")
    return {
        "quadratic_kappa": Metric(defined(lambda y, p: quadratic_kappa(y, median(p)))),
        "mae": Metric(defined(lambda y, p: float(np.abs(median(p) - y).mean())), higher_is_better=False),
        "accuracy": Metric(defined(lambda y, p: float((median(p) == y).mean()))),
        "macro_f1": Metric(defined(lambda y, p: macro_f1(confusion(y, median(p), classes)))),
        "log_loss": Metric(defined(log_loss), higher_is_better=False),
    }


def label_metrics(labels: int) -> dict[str, Metric]:
    """For y (n, K) of 0 and 1 and p (n, K) probabilities; a label is given from 0.5 on."""
    assert labels > 0, "at least one label"
    return {
        "micro_f1": Metric(defined(partial(label_f1, average="micro"))),
        "macro_f1": Metric(defined(partial(label_f1, average="macro"))),
        "exact_match": Metric(defined(lambda y, p: float(((p >= 0.5) == (y > 0.5)).all(1).mean()))),
        "mean_average_precision": Metric(defined(mean_average_precision)),
        "log_loss": Metric(defined(label_log_loss), higher_is_better=False),
    }


def token_metrics() -> dict[str, Metric]:
    """For y (n, 2), tokens and UTF-8 bytes of a row, and p (n, 2), the nats its tokens cost and how many of them were right."""
    return {
        "bits_per_byte": Metric(defined(lambda y, p: _ratio(p[:, 0].sum() / np.log(2), y[:, 1].sum())), higher_is_better=False),
        "perplexity": Metric(defined(lambda y, p: float(np.exp(_ratio(p[:, 0].sum(), y[:, 0].sum())))), higher_is_better=False),
        "accuracy": Metric(defined(lambda y, p: _ratio(p[:, 1].sum(), y[:, 0].sum()))),
    }


def pixel_metrics() -> dict[str, Metric]:
    """For y (n, 1), hidden numbers of a picture, and p (n, 2), their squared error and their squared distance from their own mean."""
    return {
        "mse": Metric(defined(lambda y, p: _ratio(p[:, 0].sum(), y[:, 0].sum())), higher_is_better=False),
        "r2": Metric(defined(lambda y, p: 1 - _ratio(p[:, 0].sum(), p[:, 1].sum()))),
    }


def series_metrics() -> dict[str, Metric]:
    """For y (n, 2), hidden numbers of a row and the mean step between those before them, and p (n, 2), their absolute errors and squares, summed.

    `mase`: the mean absolute error of each row in units of its own mean step, which compares series of any scale (Hyndman and Koehler 2006); rows
    whose numbers are all equal have none.
    """
    return {
        "mase": Metric(defined(mase), higher_is_better=False),
        "mae": Metric(defined(lambda y, p: _ratio(p[:, 0].sum(), y[:, 0].sum())), higher_is_better=False),
        "rmse": Metric(defined(lambda y, p: float(np.sqrt(_ratio(p[:, 1].sum(), y[:, 0].sum())))), higher_is_better=False),
    }


def rebuilt_metrics() -> dict[str, Metric]:
    """For y (n, 2), numbers of a row and the square of how far they can lie apart, and p (n, 2), their squared errors, summed, also with 8 bits."""
    return {
        "mse": Metric(defined(lambda y, p: _ratio(p[:, 0].sum(), y[:, 0].sum())), higher_is_better=False),
        "psnr": Metric(defined(lambda y, p: psnr(y, p[:, 0]))),
        "mse_8bit": Metric(defined(lambda y, p: _ratio(p[:, 1].sum(), y[:, 0].sum())), higher_is_better=False),
        "psnr_8bit": Metric(defined(lambda y, p: psnr(y, p[:, 1]))),
    }


def psnr(y: Array, wrong_n: Array) -> float:
    """Mean over rows of the peak signal-to-noise ratio, in dB; constant rows have none, and an error below a billionth of the peak counts as that."""
    there = (y[:, 0] > 0) & (y[:, 1] > 0)
    shares = wrong_n[there] / y[there, 0] / y[there, 1]
    return float(-10 * np.log10(np.maximum(shares, 1e-18)).mean()) if there.any() else float("nan")


def mase(y: Array, p: Array) -> float:
    """See `series_metrics`."""
    moves = (y[:, 0] > 0) & (y[:, 1] > 0)
    return float((p[moves, 0] / y[moves, 0] / y[moves, 1]).mean()) if moves.any() else float("nan")


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")


def defined(compute: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    """`compute`, and nan for no rows."""
    return lambda y, p: compute(y, p) if len(y) else float("nan")


# Classes


def accuracy(y: Array, p: Array) -> float:
    """Share of rows whose most probable class is right."""
    return float((p.argmax(1) == y).mean())


def confusion(y: Array, said: Array, classes: int) -> Array:
    """Rows by true class (first axis) and said class (second), (C, C) int."""
    return np.bincount(y.astype(np.int64) * classes + said, minlength=classes * classes).reshape(classes, classes)


def macro_f1(counts_CC: Array) -> float:
    """Unweighted mean of the classes' F1."""
    return _mean_f1(np.diag(counts_CC), counts_CC.sum(0), counts_CC.sum(1))


def balanced_accuracy(counts_CC: Array) -> float:
    """Mean recall of the classes that occur."""
    support = counts_CC.sum(1)
    there = support > 0
    return float((np.diag(counts_CC)[there] / support[there]).mean())


def class_auroc(y: Array, p: Array) -> float:
    """Area under the ROC curve: of the second class where there are two, else the mean of one class against the rest."""
    classes = [1] if p.shape[1] == 2 else range(p.shape[1])
    score_Cn = np.ascontiguousarray(p.T)
    areas = [area for c in classes if not np.isnan(area := auroc(y == c, score_Cn[c]))]
    return float(np.mean(areas)) if areas else float("nan")


def auroc(positive: Array, score: Array) -> float:
    """Chance that a positive row scores above a negative one, ties counting half (Mann-Whitney U)."""
    above, below = np.sort(score[positive]), np.sort(score[~positive])
    if not len(above) or not len(below):
        return float("nan")
    wins = np.searchsorted(below, above, "left").sum() + np.searchsorted(below, above, "right").sum()
    return float(wins / (2 * len(above) * len(below)))


def log_loss(y: Array, p: Array) -> float:
    """Mean negative log probability of the true class, probabilities clipped at the precision of float32."""
    return float(-np.log(np.clip(p[np.arange(len(y)), y.astype(np.int64)].astype(np.float64), LEAST, 1)).mean())


def brier(y: Array, p: Array) -> float:
    """Mean squared distance of the probabilities from the truth, summed over classes (Brier 1950): from 0 to 2."""
    given = p[np.arange(len(y)), y.astype(np.int64)]
    return float((np.square(p).sum(1) - 2 * given + 1).mean())


def calibration_error(y: Array, p: Array, bins: int = 15) -> float:
    """Mean distance of the highest probability from the share of rows where it is right, over equal bins of it (Guo et al. 2017,
    https://arxiv.org/abs/1706.04599). Resamples only add to it, so it has no interval."""
    confidence, right = p.max(1), p.argmax(1) == y
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    return float(np.abs(np.bincount(place, confidence - right, bins)).sum() / len(y))


def quadratic_kappa(y: Array, said: Array) -> float:
    """Agreement beyond chance, errors counted by the square of their steps (Cohen 1968): 1 is perfect, 0 no better than the same answers shuffled."""
    counts = len(y) * (np.square(y).sum() + np.square(said).sum())
    by_chance = counts - 2 * y.sum() * said.sum()  # whole numbers, so that a constant answer has exactly 0
    return float((by_chance - len(y) * np.square(said - y).sum()) / by_chance) if by_chance > 0 else float("nan")


# Labels


def label_f1(y: Array, p: Array, average: Literal["micro", "macro"]) -> float:
    """F1 of all decisions together (micro), or the mean of the labels' F1 (macro)."""
    said, true = p >= 0.5, y > 0.5
    right, given, support = (said & true).sum(0), said.sum(0), true.sum(0)
    if average == "micro":
        right, given, support = right.sum(keepdims=True), given.sum(keepdims=True), support.sum(keepdims=True)
    return _mean_f1(right, given, support)


def mean_average_precision(y: Array, p: Array) -> float:
    """Mean over the labels that occur of their average precision."""
    positive_Kn, score_Kn = np.ascontiguousarray(y.T > 0.5), np.ascontiguousarray(p.T)
    found = [average_precision(positive, score) for positive, score in zip(positive_Kn, score_Kn, strict=True) if positive.any()]
    return float(np.mean(found)) if found else float("nan")


def average_precision(positive: Array, score: Array) -> float:
    """Mean over the positive rows of the precision at their score; by values, since sorting those is far quicker than their order."""
    every, hits = np.sort(score), np.sort(score[positive])
    given = len(every) - np.searchsorted(every, hits)  # rows that score at least as much as each positive one
    right = len(hits) - np.searchsorted(hits, hits)
    return float((right / given).mean())


def label_log_loss(y: Array, p: Array) -> float:
    """Mean binary cross-entropy over all rows and labels."""
    given = np.where(y > 0.5, p, 1 - p).astype(np.float64)
    return float(-np.log(np.clip(given, LEAST, 1)).mean())


def _mean_f1(right: Array, given: Array, support: Array) -> float:
    """Mean of 2 right / (given + support) over the columns where either is there."""
    total = given + support
    there = total > 0
    return float((2 * right[there] / total[there]).mean()) if there.any() else float("nan")
