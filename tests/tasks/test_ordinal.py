import pytest

from omnitune.errors import Mistake
from omnitune.tasks.ordinal import Ordinal


def test_numbers_rise_by_themselves() -> None:
    assert Ordinal("stars").learn({"stars": [10, 2, None, 1, 2, 10]})["classes"] == [1, 2, 10]


def test_words_rise_as_they_are_told() -> None:
    facts = Ordinal("mood", order=("poor", "fair", "good", "best")).learn({"mood": ["good", "poor", "good", "fair"]})
    assert facts["classes"] == ["poor", "fair", "good"] and facts["counts"] == [1, 1, 2]


def test_words_without_an_order_are_refused() -> None:
    with pytest.raises(Mistake, match=r"'poor' is no number, so it is not known which class is higher. Write order:"):
        Ordinal("mood").learn({"mood": ["poor", "good"] * 3})


def test_a_class_that_the_order_lacks_is_told() -> None:
    with pytest.raises(Mistake, match=r"the order lacks 'god', which training rows have. Did you mean 'good'"):
        Ordinal("mood", order=("poor", "good")).learn({"mood": ["poor", "good", "god"] * 3})


def test_an_order_names_a_class_once() -> None:
    with pytest.raises(Mistake, match="order: names 1 twice"):
        Ordinal("mood", order=("1", "2", "1"))
