"""Categories: one name whatever the file, rare and new ones together."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from omnitune.modalities.category import Category


def places(category: Category, values: list[Any], facts: dict[str, Any], rng: np.random.Generator | None = None) -> list[int]:
    made: list[int] = category.encode(values, facts, rng)["place"].tolist()
    return made


def test_the_most_frequent_come_first() -> None:
    facts = Category().learn(["b", "c", "a", "a", "b", "a", "c", None])
    assert facts == {"categories": ["a", "b", "c"]}
    assert places(Category(), ["c", "a", "b"], facts) == [3, 1, 2]


def test_rare_and_new_ones_share_a_place() -> None:
    values = ["a"] * 5 + ["b"] * 3 + ["c"] * 2 + ["d"]
    facts = Category().learn(values)
    assert places(Category(), ["a", "b", "c", "d", "never seen"], facts) == [1, 2, 3, 0, 0]
    assert Category(min_count=3).learn(values)["categories"] == ["a", "b"]
    assert Category(max_categories=1).learn(values)["categories"] == ["a"]
    assert Category(min_count=1).learn(values)["categories"] == ["a", "b", "c", "d"]


def test_one_name_whatever_the_file() -> None:
    csv, parquet, text = [1, 2, 2, 1], [1.0, 2.0, 2.0, 1.0], ["1", "2", "2", "1"]
    facts = Category().learn(csv)
    assert facts == Category().learn(parquet) == Category().learn(text)
    assert places(Category(), [1, 1.0, "1", Decimal(1), np.int64(1)], facts) == [1] * 5
    facts = Category().learn([True, False] * 2)
    assert facts["categories"] == ["false", "true"]
    assert places(Category(), [True, "true", 1, "1"], facts) == [2, 2, 0, 0]
    day = datetime.date(2024, 2, 29)
    assert Category().learn([day, day])["categories"] == ["2024-02-29"]


def test_letters_count() -> None:
    assert len(Category(min_count=1).learn(["Red", "red", "red ", "réd"])["categories"]) == 4


@pytest.mark.parametrize("value", [None, float("nan"), "", " \n"], ids=repr)
def test_empty_is_missing(value: Any) -> None:
    facts = Category().learn(["a", "a", value, value, value])
    assert facts["categories"] == ["a"] and Category().check(value) is None
    assert Category().encode([value, "a", "new"], facts)["present"].tolist() == [False, True, True]


def test_training_reads_some_as_unknown_so_that_it_is_learned() -> None:
    category = Category(hide=0.25)
    facts = category.learn(["a", "b"] * 2)
    made = np.array(places(category, ["a", "b"] * 2000, facts, np.random.default_rng(0)))
    assert (made == 0).mean() == pytest.approx(0.25, abs=0.03)
    assert set(made[::2]) == {0, 1} and set(made[1::2]) == {0, 2}
    assert 0 not in places(category.replace(hide=0.0), ["a", "b"] * 2000, facts, np.random.default_rng(0))
    assert 0 not in places(category, ["a", "b"] * 100, facts)


def test_every_category_has_a_vector_of_its_own() -> None:
    category = Category(width=8)
    facts = category.learn(["a", "b"] * 2)
    module = category.encoder(facts)
    made = module(category.encode(["a", "b", "new", "newer", None], facts))
    x = made.x_BLD[:, 0]
    assert torch.equal(x[2], x[3]) and not x[4].any()
    assert not torch.equal(x[0], x[1]) and not torch.equal(x[0], x[2])
    made.pooled().square().sum().backward()
    assert (module.embedding.weight.grad.abs().sum(1) > 0).all()
