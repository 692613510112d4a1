"""Cautions are raised where they must be, and not elsewhere."""

import numpy as np
import pytest

from evaluation.reports import predictions
from omnitune.evaluation.cautions import few_rows, leaks, missing_classes, simple_wins
from omnitune.evaluation.measure import measure
from omnitune.nn.metrics import class_metrics


def test_few_rows():
    assert few_rows({"train": 800, "validation": 100, "test": 100}) == []
    assert [c["where"] for c in few_rows({"train": 80, "validation": 0, "test": 99})] == ["data.validation", "data.test"]
    assert few_rows({"train": 80, "validation": 10, "test": 0})[0]["text"] == "There are no test rows."


def test_missing_classes():
    found = missing_classes("mood", {"train": {"a": 3, "b": 1}, "validation": {}, "test": {"a": 2, "b": 0}})
    assert [c["text"] for c in found] == ["No test row has: b."]


def test_simple_wins_and_no_progress():
    def cautions(simple, after):
        given = {
            "constant": predictions("classes", skill=0.0),
            "simple": predictions("classes", skill=simple, seed=1),
            "before": predictions("classes", skill=0.5, seed=2),
            "after": predictions("classes", skill=after, seed=3),
        }
        return {c["name"]: c["text"] for c in simple_wins("mood", measure(class_metrics(3), given, resamples=50))}

    assert cautions(1.0, 3.0) == {}
    assert "clearly better" in cautions(3.0, 1.0)["simple_wins"]
    assert set(cautions(0.2, 0.0)) == {"simple_wins", "no_progress"}


def columns(n=600):
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=n)
    return y, {
        "code": [f"c{v}" for v in y],
        "fine": [f"{v}-{rng.integers(20)}" for v in y],
        "near": [float(v) + 0.1 * rng.normal() for v in y],
        "id": list(range(n)),
        "some": [f"c{v if rng.random() < 0.7 else rng.integers(3)}" for v in y],
        "weak": [float(v) + rng.normal() for v in y],
        "name": [f"unique {i}" for i in range(n)],
        "gaps": [None] * n,
        "review": [f"a long text that says {v} and goes on for more than forty characters" for v in y],
    }


KINDS = {"code": "category", "fine": "text", "near": "number", "id": "number", "some": "category", "weak": "number", "name": "text"}
KINDS |= {"gaps": "category", "review": "text"}


def test_only_columns_that_give_the_answer_away_are_leaks():
    y, given = columns()
    found = leaks("mood", "classes", given, KINDS, y)
    assert [c["where"] for c in found] == ["inputs.code", "inputs.fine", "inputs.near"]
    assert "'code' alone predicts 'mood' almost perfectly" in found[0]["text"]


@pytest.mark.parametrize("form", ["value", "labels"])
def test_leaks_of_other_forms(form):
    y, given = columns()
    answers = 2.5 * y if form == "value" else np.eye(3, dtype=int)[y]
    assert [c["where"] for c in leaks("t", form, given, KINDS, answers)] == ["inputs.code", "inputs.fine", "inputs.near"]


def test_a_frequent_class_is_no_leak():
    y = np.zeros(1000, int)
    y[:20] = 1
    rng = np.random.default_rng(0)
    given = {"color": rng.choice(["red", "blue"], 1000).tolist(), "size": rng.normal(size=1000).tolist()}
    assert leaks("t", "classes", given, {"color": "category", "size": "number"}, y) == []
    assert leaks("t", "classes", given, {"color": "category", "size": "number"}, np.zeros(1000, int)) == []


def test_missing_values_can_be_the_leak():
    y = np.arange(400) % 2
    given = {"paid": [None if v else 1.0 for v in y], "date": [None if v else f"day {i % 9}" for i, v in enumerate(y)]}
    assert len(leaks("t", "classes", given, {"paid": "number", "date": "category"}, y)) == 2
