"""What a cell of a series may be, and what is learned of them."""

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from omnitune.modalities.series import Series

NAN = float("nan")


@pytest.mark.parametrize("value", ["[1, 2.5, null, 4]", "1 2.5 NA 4", "1, 2.5, nan, 4", "1;2.5;NA;4", [1, 2.5, None, 4],
                                   (1, 2.5, NAN, Decimal(4)), np.array([1, 2.5, NAN, 4])], ids=str)  # fmt: skip
def test_lists_and_texts_of_lists_are_read_alike(value: Any) -> None:
    kind = Series()
    assert kind.check(value) is None
    encoded = kind.encode([value], {"centre": 0.0, "spread": 1.0, "longest": 4, "cut": 0.0})
    assert encoded["values"].tolist() == [[1, 2.5, 0, 4]] and encoded["known"].tolist() == [[True, True, False, True]]


@pytest.mark.parametrize("value", [None, NAN, "", "  ", [], [None, NAN], "[]", "NA"])
def test_nothing_is_missing(value: Any) -> None:
    kind = Series()
    assert kind.check(value) is None
    encoded = kind.encode([value, [1.0, 2.0]], {"centre": 0.0, "spread": 1.0, "longest": 4, "cut": 0.0})
    assert encoded["present"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ([1.0, float("inf")], "value 2 of 2 is 'inf'"), ([1.0, -math.inf, 2.0], "value 2 of 3 is '-inf'"), ([10**31, 1], "value 1 of 2"),
        ([1.0, "two"], "value 2 of 2 is 'two', no finite number"), ("1 2 three", "value 3 of 3"), ([True, False], "value 1 of 2 is 'True'"),
        ([[1.0], [2.0]], r"value 1 of 2"), ([3.0], "one number is no series"), ("7", "one number"), (5, "expected a list of numbers, got int"),
        ({"a": 1}, "expected a list"), (b"12", "expected a list"), ("[1, 2", "begins like a list in JSON, but is none"),
    ],
)  # fmt: skip
def test_what_is_no_series_is_said(value: Any, wrong: str) -> None:
    assert wrong in str(Series().check(value))


def test_wild_values_do_not_decide_the_scale() -> None:
    rng = np.random.default_rng(0)
    calm = [rng.normal(10, 2, 50).tolist() for _ in range(100)]
    wild = [[*row, 1e25] for row in calm[:5]] + calm[5:]
    facts = Series().learn(wild)
    assert facts["centre"] == pytest.approx(10, abs=0.1) and facts["spread"] == pytest.approx(2, abs=0.1)
    assert Series().encode(wild, facts)["values"].abs().max() == 1e4
    assert Series().learn([[3.0] * 4] * 5)["spread"] == 1.0
    mostly = Series().learn([[0.0, 0.0, 0.0, 0.0, 8.0]] * 20)
    assert mostly["spread"] == pytest.approx(3.2)


def test_of_long_series_the_last_numbers_are_read_and_the_share_is_told() -> None:
    kind = Series(length=4)
    rows = [[1.0, 2.0, 3.0], [float(i) for i in range(9)], None, [5.0] * 4]
    facts = kind.learn(rows)
    assert facts["cut"] == pytest.approx(1 / 3) and facts["longest"] == 4
    read = kind.encode(rows, facts)
    assert (read["values"][1] * facts["spread"] + facts["centre"]).tolist() == pytest.approx([5, 6, 7, 8])
    assert read["known"][0].tolist() == [False, True, True, True]


def test_gaps_before_the_first_number_are_no_part_of_a_series() -> None:
    encoded = Series().encode([[None, None, 3.0, None, 4.0]], {"centre": 0.0, "spread": 1.0, "longest": 4, "cut": 0.0})
    assert encoded["values"].tolist() == [[3, 0, 4]]
