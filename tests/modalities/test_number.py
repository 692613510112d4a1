"""Numbers: what is read as one, and how it becomes features."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from omnitune.modalities._bins import REACH, SAMPLE
from omnitune.modalities.number import LARGEST, Number
from omnitune.nn.tabular import NumberEncoder, piecewise_linear


def features(number: Number, values: list[Any], facts: dict[str, Any]) -> np.ndarray:
    return number.encode(values, facts)["features"].numpy()


def test_piecewise_linear_by_hand() -> None:
    edges = torch.tensor([0.0, 1.0, 3.0, 7.0], dtype=torch.float64)
    x = torch.tensor([-5.0, 0.0, 0.25, 1.0, 2.0, 6.0, 7.0, 99.0], dtype=torch.float64)
    by_hand = [[0, 0, 0], [0, 0, 0], [0.25, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 0.75], [1, 1, 1], [1, 1, 1]]
    assert piecewise_linear(x, edges).tolist() == by_hand


def test_facts_and_features_by_hand() -> None:
    number = Number(bins=2)
    facts = number.learn([1, 2, 3, 4, 10, None])
    assert facts == {"mean": 4.0, "std": pytest.approx(10**0.5), "edges": [1.0, 3.0, 10.0]}
    np.testing.assert_allclose(
        features(number, [2, 10, 6.5], facts), [[-2 / 10**0.5, 0.5, 0], [6 / 10**0.5, 1, 1], [2.5 / 10**0.5, 1, 0.5]], atol=1e-6
    )


@pytest.mark.parametrize("bins", [1, 4, 48])
def test_bins_hold_equally_many(bins: int) -> None:
    values = np.random.default_rng(0).lognormal(0, 2, 4800)
    edges = Number(bins=bins).learn(values.tolist())["edges"]
    assert len(edges) == bins + 1 and (edges[0], edges[-1]) == (values.min(), values.max())
    assert np.histogram(values, edges)[0].tolist() == pytest.approx([4800 / bins] * bins, abs=1.5)


def test_few_different_values_have_few_bins() -> None:
    assert Number().learn([1, 2, 5] * 50)["edges"] == [1.0, 2.0, 5.0]


@pytest.mark.parametrize("value", [3, 0.1, -7.5, 1e15, 1e-300])
def test_a_constant_column_says_only_whether_it_is_the_constant(value: float) -> None:
    number = Number()
    facts = number.learn([value] * 10)
    assert facts["std"] == 1.0 and len(facts["edges"]) == 1
    assert features(number, [value], facts).tolist() == [[pytest.approx(0, abs=1e-6)]]
    assert number.encoder(facts)(number.encode([value, value + 1], facts)).x_BLD.isfinite().all()


@pytest.mark.parametrize(
    ("value", "read"),
    [(7, 7), ("3.5", 3.5), (" 7 ", 7), ("-1e3", -1000), (True, 1), (False, 0), (Decimal("2.5"), 2.5), (Fraction(1, 4), 0.25), (np.float32(0.5), 0.5),
     (np.int64(3), 3), (10**400, LARGEST), (-(10**400), -LARGEST), (float("inf"), LARGEST), ("-inf", -LARGEST), (1e300, LARGEST)],
    ids=lambda v: repr(v)[:20],
)  # fmt: skip
def test_what_is_a_number(value: Any, read: float) -> None:
    number = Number()
    assert number.check(value) is None
    assert number.learn([value])["mean"] == pytest.approx(read)
    assert number.encode([value], {"mean": 0.0, "std": 1.0, "edges": []})["present"].tolist() == [True]


@pytest.mark.parametrize("value", ["seven", "1,5", "1.2.3", "nil", "12 kg", "7" + "x" * 1000], ids=lambda v: v[:10])
def test_other_texts_are_named(value: str) -> None:
    problem = Number().check(value)
    assert problem is not None and problem.endswith("is not a number") and value[:10] in problem and len(problem) < 100


@pytest.mark.parametrize("value", [b"3", [3], np.array([3]), 1j, {"a": 1}], ids=repr)
def test_other_types_are_named(value: Any) -> None:
    assert Number().check(value) == f"expected a number, got {type(value).__name__}"


@pytest.mark.parametrize("value", [None, float("nan"), Decimal("nan"), "", "  ", "NA", " null ", "nan"], ids=repr)
def test_empty_is_missing(value: Any) -> None:
    number = Number()
    assert number.check(value) is None
    assert number.learn([1, value, 3])["mean"] == 2
    assert number.encode([value], number.learn([1, 3]))["present"].tolist() == [False]


def test_an_outlier_leaves_the_others_apart() -> None:
    number = Number()
    facts = number.learn([*range(200), 1e300, float("inf")])
    made = features(number, [10, 11, 150], facts)
    assert np.abs(made[0] - made[1]).max() > 0.1 and np.abs(made[0] - made[2]).sum() > 10
    assert np.abs(features(number, [1e300, -1e300], facts)).max() <= REACH


def test_beyond_the_bins_more_is_still_more() -> None:
    number = Number()
    facts = number.learn(list(range(100)))
    made = features(number, [120, 150, 200], facts)
    assert (np.diff(made[:, 0]) > 0).all() and (made[:, 1:] == 1).all()


def test_close_values_far_from_zero_are_told_apart() -> None:
    number = Number()
    days = [1.7e12 + 1000 * i for i in range(50)]
    made = features(number, days, number.learn(days))
    assert (np.diff(made.sum(1)) > 0.1).all()


def test_a_long_column_is_sampled_and_always_alike() -> None:
    values = np.random.default_rng(0).normal(5, 2, 3 * SAMPLE).tolist()
    facts = Number().learn(values)
    assert facts["mean"] == pytest.approx(5, abs=0.05) and facts["std"] == pytest.approx(2, abs=0.05)
    assert Number().learn(values) == facts


wide = st.floats(allow_nan=False) | st.integers(-(10**400), 10**400)


@given(st.lists(st.none() | wide, max_size=30), st.lists(wide, min_size=1, max_size=5), st.integers(1, 60))
def test_features_stay_small_and_rise(column: list[Any], asked: list[Any], bins: int) -> None:
    number = Number(bins=bins)
    made = features(number, sorted(asked), number.learn(column))
    assert np.isfinite(made).all() and np.abs(made).max() <= REACH
    assert (np.diff(made, axis=0) >= 0).all()


def test_the_encoder_is_linear_then_relu() -> None:
    module = NumberEncoder(3, 5)
    features_BF = torch.randn(4, 3)
    made = module({"features": features_BF, "present": torch.tensor([True, True, False, True])})
    wanted = (features_BF @ module.linear.weight.T + module.linear.bias).clamp(min=0)
    torch.testing.assert_close(made.x_BLD[[0, 1, 3], 0], wanted[[0, 1, 3]])
    assert not made.x_BLD[2].any() and made.mask_BL[:, 0].tolist() == [True, True, False, True]
