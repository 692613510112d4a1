"""Baselines learn what is learnable, and stand missing and unseen values."""

import numpy as np
import pytest

from omnitune.evaluation.baselines import constant, probe, simple
from omnitune.evaluation.columns import unspaced, usable


def table(n, seed):
    """Text decides one half of the answer, a number and a category the other; some values are missing."""
    rng = np.random.default_rng(seed)
    good, age, shop = rng.random(n) < 0.5, rng.normal(40, 10, n), rng.choice(["a", "b", "c"], n)
    score = 2.0 * good + (age > 40) + (shop == "a") + 0.2 * rng.normal(size=n)
    text = [f"{'great lovely fit' if g else 'poor sad fit'} number{rng.integers(50)}" for g in good]
    columns = {
        "review": [None if i % 11 == 0 else t for i, t in enumerate(text)],
        "age": [None if i % 13 == 0 else float(a) for i, a in enumerate(age)],
        "shop": [None if i % 17 == 0 else str(s) for i, s in enumerate(shop)],
        "photo": [b"" for _ in text],
    }
    return columns, score


KINDS = {"review": "text", "age": "number", "shop": "category", "photo": "image"}


def answers(form, score):
    if form == "value":
        return score
    return (score > 2).astype(int) if form == "classes" else np.stack([score > 1, score > 3], 1).astype(int)


def error(form, y, p):
    """Squared error, or cross-entropy."""
    if form == "value":
        return float(np.square(y - p).mean())
    given = p[np.arange(len(y)), y] if form == "classes" else np.where(y, p, 1 - p)
    return float(-np.log(np.clip(given, 1e-6, 1)).mean())


@pytest.mark.parametrize("form", ["classes", "labels", "value"])
@pytest.mark.parametrize("kinds", [KINDS, {"review": "text"}, {"age": "number", "shop": "category"}])
def test_simple_models_beat_a_constant(form, kinds):
    (train, s), (val, t), (test, u) = table(400, 0), table(100, 1), table(200, 2)
    test = test | {"shop": ["never seen", *test["shop"][1:]], "review": ["日本", *test["review"][1:]]}
    y, y_test = answers(form, s), answers(form, u)
    found = simple(form, train, val, test, kinds, y, answers(form, t))
    assert found is not None
    p, words = found
    dull = constant(form, y, 200)
    assert p.shape == dull.shape and np.isfinite(p).all()
    assert error(form, y_test, p) < 0.93 * error(form, y_test, dull)
    assert "400 training rows" in words and "photo" not in words


def test_all_columns_together_win_where_all_matter():
    (train, s), (val, t), (test, _) = table(400, 0), table(100, 1), table(10, 2)
    _, words = simple("value", train, val, test, KINDS, s, t)
    assert "TF-IDF of review and age, shop" in words


def test_no_simple_model_of_pictures_or_empty_columns():
    y = np.array([0, 1])
    assert simple("classes", {"photo": [b"", b""]}, {"photo": []}, {"photo": []}, {"photo": "image"}, y, y[:0]) is None
    empty = {"review": [None, "!!"], "age": [None, "x"], "shop": [None, None]}
    assert usable(empty, KINDS) == {}


def test_without_validation_rows_and_with_odd_values():
    columns = {"age": [1.0, "2", None, float("inf"), 1e300, -3, True, "x"] * 5, "text": ["a b", "", None, "c"] * 10}
    y = np.array([0, 1] * 20)
    some = {name: values[:4] for name, values in columns.items()}
    p, _ = simple("classes", columns, {"age": [], "text": []}, some, {"age": "number", "text": "text"}, y, y[:0], classes=3)
    assert p.shape == (4, 3) and np.allclose(p.sum(1), 1) and (p[:, 2] == 0).all()


def test_one_class_only_is_answered():
    columns = {"age": [1.0, 2.0, 3.0, 4.0]}
    p, _ = simple("classes", columns, columns, columns, {"age": "number"}, np.ones(4, int), np.ones(4, int))
    assert p.tolist() == [[0, 1]] * 4


def test_scripts_without_spaces_are_read_by_characters():
    assert unspaced(["とても良い", None, "สวัสดี"]) and not unspaced(["good", "хорошо", None]) and not unspaced([None])
    good, bad = ["これは良い本です", "とても良い本"], ["これは悪い本です", "とても悪い本"]
    columns = {"review": (good + bad) * 5}
    y = np.array([1, 1, 0, 0] * 5)
    p, _ = simple("classes", columns, columns, {"review": ["良い", "悪い"]}, {"review": "text"}, y, y)
    assert p.argmax(1).tolist() == [1, 0]


def test_constants():
    assert constant("classes", np.array([0, 0, 1, 0]), 2, classes=3).tolist() == [[0.75, 0.25, 0]] * 2
    assert constant("labels", np.array([[1, 0], [1, 1]]), 1).tolist() == [[1, 0.5]]
    assert constant("value", np.array([1.0, 3.0]), 3).tolist() == [2, 2, 2]


@pytest.mark.parametrize("form", ["classes", "labels", "value"])
def test_a_probe_reads_linear_features(form):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 20)) * 50 + 7
    score = 2 + (x - 7) @ rng.normal(size=20) / 100
    y = answers(form, score)
    p = probe(form, x[:300], y[:300], x[300:350], y[300:350], x[350:])
    assert error(form, y[350:], p) < 0.5 * error(form, y[350:], constant(form, y[:300], 150))
    none = probe(form, x[:300], y[:300], x[:0], y[:0], x[350:], classes=4)
    assert len(none) == 150 and (form != "classes" or none.shape == (150, 4))
