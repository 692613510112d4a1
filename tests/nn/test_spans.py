"""Holes in texts: as many tokens as were asked for, in as many spans, anywhere, and nothing lost between a text and its target."""

from typing import Any

import numpy as np
import pytest

from omnitune.nn import spans

MARKS = list(range(1000, 1600))
MASK = 999


def draws(how: Any, length: int, rate: float, mean: float, times: int = 200) -> list[tuple[Any, Any]]:
    return [how(length, rate, mean, np.random.default_rng(seed)) for seed in range(times)]


@pytest.mark.parametrize("mean", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.5, 0.9])
@pytest.mark.parametrize("length", [2, 3, 7, 100])
def test_what_is_hidden_comes_back_in_order(length: int, rate: float, mean: float) -> None:
    text, hidden = np.arange(length), spans.hidden(length, rate)
    assert 1 <= hidden < length
    for places in draws(spans.corrupted, length, rate, mean):
        starts, stops = places
        assert (stops - starts).sum() == hidden and (stops > starts).all() and len(starts) == spans.spans(length, rate, mean)
        assert (starts[1:] > stops[:-1]).all(), "a token at least stands between two spans"
        shown, target = spans.filled(text, places, MARKS), spans.spelled(text, places, MARKS)
        assert len(shown) == length - hidden + len(starts) and len(target) == hidden + len(starts) + 1
        assert target[-1] == MARKS[len(starts)] and shown[shown >= MARKS[0]].tolist() == MARKS[: len(starts)]
        parts = np.split(target, np.flatnonzero(target >= MARKS[0]))[1:]
        again = [part for token in shown for part in (parts[token - MARKS[0]][1:] if token >= MARKS[0] else [token])]
        assert again == text.tolist()


def test_the_example_of_the_paper() -> None:
    text, places = np.array([*range(1, 12)]), (np.array([2, 8]), np.array([4, 9]))  # thank you [for inviting] me to your party [last] week
    assert spans.filled(text, places, [101, 102, 103]).tolist() == [1, 2, 101, 5, 6, 7, 8, 102, 10, 11]
    assert spans.spelled(text, places, [101, 102, 103]).tolist() == [101, 3, 4, 102, 9, 103]


def test_spans_are_as_long_as_asked_for_and_lie_anywhere() -> None:
    found = draws(spans.corrupted, 100, 0.15, 3.0, 4000)
    lengths = np.concatenate([stops - starts for starts, stops in found])
    assert lengths.mean() == 3.0 and set(lengths.tolist()) == set(range(1, 12))
    covered = np.zeros(100)
    for starts, stops in found:
        for start, stop in zip(starts, stops, strict=True):
            covered[start:stop] += 1
    assert covered[4:-4].min() > 0.13 * 4000 and covered.max() < 0.17 * 4000, "as often wherever it may stand"
    assert covered[[0, -1]].min() > 0.04 * 4000, "at both ends too"


@pytest.mark.parametrize("mean", [1.0, 3.0])
@pytest.mark.parametrize("length", [2, 5, 100])
def test_masks_stand_for_spans_of_any_length(length: int, mean: float) -> None:
    text, empty = np.arange(length), 0
    for places in draws(spans.infilled, length, 0.3, mean):
        starts, stops = places
        shown = spans.filled(text, places, [MASK] * len(starts))
        assert (stops - starts).sum() == spans.hidden(length, 0.3) and (shown == MASK).sum() == len(starts)
        assert len(shown) <= length, "a text never grows"
        assert (starts[1:] >= stops[:-1]).all() and shown[shown != MASK].tolist() == [t for t in text if not ((starts <= t) & (t < stops)).any()]
        empty += int((starts == stops).sum())
    assert empty > 0 or length < 5


def test_lengths_are_those_of_poisson() -> None:
    lengths = np.concatenate([stops - starts for starts, stops in draws(spans.infilled, 3000, 0.3, 3.0, 100)])
    assert lengths.mean() == pytest.approx(3.0, abs=0.05) and (lengths == 0).mean() == pytest.approx(np.exp(-3), abs=0.01)
