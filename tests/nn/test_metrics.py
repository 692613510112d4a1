"""Metrics against scikit-learn and scipy, and on rows where they are undefined."""

import warnings

import numpy as np
import pytest
import scipy.stats
from sklearn import metrics as reference

from omnitune.nn.metrics import class_metrics, label_metrics, of_form, ordinal_metrics, quadratic_kappa
from omnitune.nn.number_metrics import quantile_metrics, value_metrics


def probabilities(rng, n, classes, decimals=None):
    p = rng.dirichlet(np.ones(classes), n)
    return p if decimals is None else np.round(p, decimals)


@pytest.mark.parametrize("classes", [2, 3, 7])
@pytest.mark.parametrize("seed", range(3))
def test_class_metrics_equal_scikit_learn(classes, seed):
    rng = np.random.default_rng(seed)
    y, p = rng.integers(classes, size=300), probabilities(rng, 300, classes)
    y[:classes] = np.arange(classes)
    said, ours = p.argmax(1), {name: m.compute(y, p) for name, m in class_metrics(classes).items()}
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(y, said))
    assert ours["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, said))
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(y, said, average="macro"))
    assert ours["log_loss"] == pytest.approx(reference.log_loss(y, p, labels=range(classes)))
    assert ours["brier"] == pytest.approx(np.square(p - np.eye(classes)[y]).sum(1).mean())
    area = reference.roc_auc_score(y, p[:, 1]) if classes == 2 else reference.roc_auc_score(y, p, multi_class="ovr")
    assert ours["auroc"] == pytest.approx(area)


def test_equal_scores_count_half():
    rng = np.random.default_rng(0)
    y, p = rng.integers(2, size=200), probabilities(rng, 200, 2, decimals=1)
    assert class_metrics(2)["auroc"].compute(y, p) == pytest.approx(reference.roc_auc_score(y, p[:, 1]))
    labels, scores = rng.integers(2, size=(200, 3)), np.round(rng.random((200, 3)), 1)
    ours = label_metrics(3)["mean_average_precision"].compute(labels, scores)
    assert ours == pytest.approx(reference.average_precision_score(labels, scores, average="macro"))


@pytest.mark.parametrize("seed", range(3))
def test_label_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y, p = (rng.random((200, 5)) < [0.5, 0.3, 0.1, 0.7, 0.02]).astype(int), rng.random((200, 5))
    said, ours = (p >= 0.5).astype(int), {name: m.compute(y, p) for name, m in label_metrics(5).items()}
    assert ours["micro_f1"] == pytest.approx(reference.f1_score(y, said, average="micro"))
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(y, said, average="macro", zero_division=np.nan))
    assert ours["exact_match"] == pytest.approx(reference.accuracy_score(y, said))
    there = y.any(0)
    assert ours["mean_average_precision"] == pytest.approx(reference.average_precision_score(y[:, there], p[:, there], average="macro"))
    assert ours["log_loss"] == pytest.approx(np.mean([reference.log_loss(y[:, k], p[:, k], labels=[0, 1]) for k in range(5)]))


@pytest.mark.parametrize("seed", range(3))
def test_value_metrics_equal_scikit_learn_and_scipy(seed):
    rng = np.random.default_rng(seed)
    y = np.round(rng.normal(size=200), 1)
    p = np.round(y + rng.normal(size=200), 1)
    ours = {name: m.compute(y, p) for name, m in value_metrics().items()}
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(y, p))
    assert ours["rmse"] == pytest.approx(reference.root_mean_squared_error(y, p))
    assert ours["r2"] == pytest.approx(reference.r2_score(y, p))
    assert ours["spearman"] == pytest.approx(scipy.stats.spearmanr(y, p).statistic)


@pytest.mark.parametrize("seed", range(3))
def test_ordinal_metrics_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    y = rng.integers(5, size=200)
    p = rng.dirichlet(np.ones(5), size=200) + 0.3 * np.eye(5)[np.clip(y + rng.integers(-1, 2, size=200), 0, 4)]
    p /= p.sum(1, keepdims=True)
    ours = {name: m.compute(y, p) for name, m in ordinal_metrics(5).items()}
    assert next(iter(ours)) == "quadratic_kappa"
    median = np.array([next(c for c in range(5) if row[: c + 1].sum() >= 0.5) for row in p])
    assert (median != p.argmax(1)).any()
    assert ours["quadratic_kappa"] == pytest.approx(reference.cohen_kappa_score(y, median, weights="quadratic"))
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(y, median))
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(y, median))
    assert ours["macro_f1"] == pytest.approx(reference.f1_score(y, median, average="macro"))
    assert ours["log_loss"] == pytest.approx(reference.log_loss(y, p))


def test_one_answer_for_all_agrees_no_better_than_chance_exactly() -> None:
    """Not 1e-16, which would be told as better or worse than another 0."""
    rng = np.random.default_rng(0)
    for n in range(3, 60):
        y = rng.integers(0, 5, n)
        assert y.min() == y.max() or quadratic_kappa(y, np.full(n, int(np.median(y)))) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_quantile_metrics_equal_scikit_learn(seed):
    rng, levels = np.random.default_rng(seed), (0.1, 0.5, 0.8)
    y = rng.normal(size=300)
    p = np.sort(rng.normal(size=(300, 3)), 1)
    ours = {name: m.compute(y, p) for name, m in quantile_metrics(levels).items()}
    assert ours["pinball"] == pytest.approx(np.mean([reference.mean_pinball_loss(y, p[:, i], alpha=level) for i, level in enumerate(levels)]))
    assert ours["mae"] == pytest.approx(reference.mean_absolute_error(y, p[:, 1]))
    assert ours["width"] == pytest.approx((p[:, 2] - p[:, 0]).mean())
    inside = sum(low <= true <= high for true, (low, _, high) in zip(y, p, strict=True)) / 300
    assert ours["miss"] == pytest.approx(abs(inside - 0.7))


@pytest.mark.parametrize(("form", "shape"), [("classes", (0, 3)), ("ordinal", (0, 3)), ("labels", (0, 3)), ("value", (0,))])
def test_no_rows_is_nan(form, shape):
    y = np.zeros(0) if form != "labels" else np.zeros((0, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(np.isnan(m.compute(y, np.zeros(shape))) for m in of_form(form, "abc").values())


def test_one_class_only_is_defined_where_it_can_be():
    p = np.array([[0.9, 0.1], [0.4, 0.6]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = {name: m.compute(np.array([0, 0]), p) for name, m in class_metrics(2).items()}
    assert np.isnan(found["auroc"])
    assert found["accuracy"] == found["balanced_accuracy"] == 0.5
    assert found["macro_f1"] == pytest.approx(1 / 3)


def test_absent_labels_and_constants_are_nan_not_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labels = {name: m.compute(np.zeros((4, 2)), np.zeros((4, 2))) for name, m in label_metrics(2).items()}
        values = {name: m.compute(np.ones(4), np.full(4, 2.0)) for name, m in value_metrics().items()}
    assert np.isnan(labels["micro_f1"]) and np.isnan(labels["mean_average_precision"]) and labels["exact_match"] == 1
    assert np.isnan(values["r2"]) and np.isnan(values["spearman"]) and values["mae"] == 1


def test_certain_and_wrong_is_finite():
    p = np.array([[1.0, 0.0]], dtype=np.float32)
    assert 15 < class_metrics(2)["log_loss"].compute(np.array([1]), p) < 17
    assert np.isfinite(label_metrics(1)["log_loss"].compute(np.array([[0]]), np.array([[1.0]])))


def test_one_level_has_no_width_and_nothing_to_miss() -> None:
    assert list(quantile_metrics([0.5])) == ["pinball", "mae"] and list(quantile_metrics([0.5, 0.9])) == ["pinball", "mae", "width", "miss"]
