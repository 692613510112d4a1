"""Measuring: intervals that cover the truth, paired differences, calibration, details."""

import numpy as np
import pytest
from sklearn.metrics import classification_report

from evaluation.reports import predictions, report
from omnitune.evaluation.calibration import apply_temperature, as_classes, calibration, reliability, temperature
from omnitune.evaluation.details import details
from omnitune.evaluation.measure import Predictions, measure, verdict
from omnitune.nn.metrics import class_metrics, of_form
from omnitune.nn.number_metrics import value_metrics


def test_intervals_cover_the_true_value_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    hits = 0
    for seed in range(100):
        right = rng.random(120) < 0.8
        p = np.where(right[:, None], [0.3, 0.7], [0.7, 0.3])
        found = measure({"accuracy": class_metrics(2)["accuracy"]}, {"after": Predictions(np.ones(120, int), p, np.arange(120))}, seed, 200)
        accuracy = found["models"]["after"]["accuracy"]
        hits += accuracy["low"] <= 0.8 <= accuracy["high"]
    assert 87 <= hits <= 100


def test_identical_models_differ_by_exactly_nothing():
    same = predictions("value")
    found = measure(value_metrics(), {"before": same, "after": same}, resamples=50)
    assert all(d == {"value": 0.0, "low": 0.0, "high": 0.0} for d in found["differences"]["before"].values())
    assert verdict(found["differences"]["before"]["mae"], False) == "same"


def test_differences_are_paired():
    """A model that is always a little nearer is clearly better although the models' own intervals overlap widely."""
    rng = np.random.default_rng(0)
    y, noise, rows = rng.normal(size=200), rng.normal(size=200), np.arange(200)
    found = measure(value_metrics(), {"before": Predictions(y, y + noise, rows), "after": Predictions(y, y + 0.95 * noise, rows)}, resamples=200)
    before, after = (found["models"][m]["mae"] for m in ("before", "after"))
    assert after["high"] > before["low"]
    assert found["differences"]["before"]["mae"]["high"] < 0
    assert verdict(found["differences"]["before"]["mae"], higher_is_better=False) == "better"
    assert verdict(found["differences"]["before"]["mae"], higher_is_better=True) == "worse"


def test_the_seed_decides_the_intervals():
    given = {"before": predictions("classes", skill=1.0), "after": predictions("classes", skill=2.0, seed=1)}
    one, two, other = (measure(class_metrics(3), given, seed, 50) for seed in (0, 0, 1))
    assert one == two != other
    assert one["subject"] == "after" and list(one["differences"]) == ["before"]


def test_undefined_figures_are_none():
    p = np.full((5, 2), 0.5)
    found = measure(class_metrics(2), {"after": Predictions(np.zeros(5, int), p, np.arange(5))}, resamples=20)
    assert found["models"]["after"]["auroc"] == {"value": None, "low": None, "high": None}
    empty = measure(class_metrics(2), {"after": Predictions(np.zeros(0, int), p[:0], np.arange(0))}, resamples=20)
    assert empty["rows"] == 0 and empty["models"]["after"]["accuracy"]["value"] is None


def test_models_on_other_rows_are_refused():
    one = predictions("value")
    with pytest.raises(AssertionError):
        measure(value_metrics(), {"before": one, "after": Predictions(one.y, one.p, one.rows + 1)})


# Calibration


def test_calibration_error_by_hand():
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = reliability(np.array([0, 1, 1, 1]), p)
    assert found["ece"] == pytest.approx(0.5 * abs(0.9 - 0.5) + 0.5 * abs(0.6 - 1))
    assert [(b["rows"], b["accuracy"]) for b in found["bins"]] == [(2, 1.0), (2, 0.5)]
    assert sum(b["rows"] for b in reliability(np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]]))["bins"]) == 2


@pytest.mark.parametrize("true", [0.5, 1.0, 3.0])
def test_a_known_temperature_is_found(true):
    rng = np.random.default_rng(0)
    p = np.exp(2 * rng.normal(size=(8000, 4)))
    p /= p.sum(1, keepdims=True)
    y = (p.cumsum(1) > rng.random((8000, 1))).argmax(1)
    distorted = apply_temperature(p, 1 / true)
    assert temperature(y, distorted) == pytest.approx(true, rel=0.06)
    assert np.allclose(apply_temperature(distorted, true), p, atol=1e-3)


def test_labels_are_calibrated_as_decisions():
    y, p = as_classes(np.array([[1, 0]]), np.array([[0.8, 0.3]]))
    assert y.tolist() == [1, 0] and np.allclose(p, [[0.2, 0.8], [0.7, 0.3]])


def test_temperature_needs_validation_rows():
    test = predictions("classes")
    assert calibration(test, None)["after"] is None
    sure = [Predictions(m.y, apply_temperature(m.p, 0.3), m.rows) for m in (predictions("classes", 2000, seed=s) for s in (0, 5))]
    found = calibration(*sure)
    assert found["after"]["ece"] < 0.3 * found["before"]["ece"]
    assert found["temperature"] > 1


# Details


def test_class_details_equal_scikit_learn():
    test = predictions("classes", skill=1.0)
    found = details("classes", ["a", "b", "c"], test, None)
    expected = classification_report(test.y, test.p.argmax(1), target_names=["a", "b", "c"], output_dict=True)
    for of in found["classes"]:
        assert [of["precision"], of["recall"], of["f1"], of["support"]] == pytest.approx(list(expected[of["name"]].values()))
    for name in ("macro", "weighted"):
        assert list(found["averages"][name].values()) == pytest.approx(list(expected[f"{name} avg"].values()))
    assert found["averages"]["micro"]["f1"] == pytest.approx(expected["accuracy"])
    assert np.trace(found["confusion"]) == (test.p.argmax(1) == test.y).sum()
    assert found["confused"][0]["rows"] == max(np.array(found["confusion"])[~np.eye(3, dtype=bool)])


def test_worst_rows_are_named_by_their_number():
    y = np.array([0, 1, 1])
    p = np.array([[0.9, 0.1], [0.99, 0.01], [0.4, 0.6]])
    worst = details("classes", ["no", "yes"], Predictions(y, p, np.array([7, 11, 13])), None)["worst"]
    assert [row["row"] for row in worst] == [11, 13, 7]
    assert worst[0]["true"] == "yes" and worst[0]["said"] == "no"
    values = details("value", [], Predictions(np.zeros(3), np.array([1.0, -5.0, 0.0]), np.array([7, 11, 13])), None)
    assert values["worst"][0]["row"] == 11 and values["residuals"]["mean"] == pytest.approx(-4 / 3)


def test_many_classes_keep_their_confusions_without_the_matrix():
    rng = np.random.default_rng(0)
    test = Predictions(rng.integers(40, size=500), rng.dirichlet(np.ones(40), 500), np.arange(500))
    found = details("classes", [str(i) for i in range(40)], test, None)
    assert found["confusion"] is None and len(found["confused"]) == 10


def test_no_test_rows_have_no_details():
    assert details("classes", ["a"], Predictions(np.zeros(0, int), np.zeros((0, 1)), np.arange(0)), None) == {}


def test_labels_have_details_too():
    found = report().tasks["tags"]["details"]
    assert [c["support"] for c in found["classes"]] == predictions("labels").y.sum(0).tolist()
    assert of_form("labels", "abc").keys() == report().tasks["tags"]["metrics"]["higher"].keys()
