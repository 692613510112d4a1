import datetime
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.nn import values

SAME = [
    ("1", [1, 1.0, "1", Decimal("1"), Decimal("1.00"), np.int64(1), np.float32(1)]),
    ("0", [0, 0.0, -0.0, "0"]),
    ("true", [True, "true"]),
    ("0.5", [0.5, Decimal("0.5"), "0.5"]),
    ("2026-11-23", [datetime.date(2026, 11, 23), "2026-11-23"]),
    ("100000000000000000000", [10**20, 1e20, "100000000000000000000"]),
]


@pytest.mark.parametrize(("name", "spellings"), SAME)
def test_one_value_has_one_name(name: str, spellings: list[Any]) -> None:
    assert {values.name(value) for value in spellings} == {name}


def test_different_values_have_different_names() -> None:
    different = [1, True, "True", "1.0", "01", " 1", 1.5, "Größe", "GRÖßE", "", 0, False]
    assert len({values.name(value) for value in different}) == len(different)


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()))
def test_a_value_goes_through_json_and_keeps_its_name(value: Any) -> None:
    plain = values.scalar(value)
    assert plain == value
    back = json.loads(json.dumps(plain))
    assert type(back) is type(plain) and values.name(back) == values.name(value)


@pytest.mark.parametrize("value", [None, b"x", [1], {"a": 1}, float("inf"), float("nan"), object()])
def test_what_is_no_single_value_is_said(value: Any) -> None:
    assert values.problem(value)
    with pytest.raises(TypeError):
        values.name(value)


def test_missing() -> None:
    assert all(values.missing(v) for v in (None, float("nan"), np.float32("nan"), Decimal("nan"), "", " \t\n"))
    assert not any(values.missing(v) for v in (0, False, "0", "nan", [], 0.0))


def test_numbers_stand_by_size_and_before_texts() -> None:
    assert values.ordered(["b", 10, 9, "a", 2.5, True]) == [True, 2.5, 9, 10, "a", "b"]


@given(st.permutations([3, "3a", 1.5, "x", False, "ä", "z", -1]))
def test_order_does_not_depend_on_where_it_starts(shuffled: list[Any]) -> None:
    assert values.ordered(shuffled) == [-1, False, 1.5, 3, "3a", "x", "z", "ä"]


def test_mostly_different() -> None:
    assert values.mostly_different(60, 100) and not values.mostly_different(50, 100)
    assert not values.mostly_different(8, 8)


def test_places_are_those_of_the_list_that_is_asked_about() -> None:
    lists: list[list[values.Scalar]] = [[f"{i}", i + 0.5, True] for i in range(20)]
    for _ in range(2):
        for i, one in enumerate(lists):
            assert values.places(one) == {f"{i}": 0, f"{i + 0.5}": 1, "true": 2}
