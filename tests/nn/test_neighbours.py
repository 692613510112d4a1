import itertools

import numpy as np
import pytest

from omnitune.nn import neighbours
from omnitune.nn.neighbours import chance, found, neighbour_metrics


def angles(*degrees: float) -> np.ndarray:
    turned = np.radians(degrees)
    return np.stack([np.cos(turned), np.sin(turned)], 1)


def test_the_figures_by_hand() -> None:
    """On a circle, in the order a b a a, and one of no label beside."""
    x, y = angles(0, 10, 25, 45, 1), np.array([0, 1, 0, 0, -1])
    right, places = found(y, x, np.array([True, True, True, True, False]))
    assert right[:, 0].tolist() == [2, 0, 2, 2, 0]
    assert places[0].tolist() == [0, 0.5, pytest.approx(1 / 2 / 2)]  # b a | a: right is the second
    assert places[2].tolist() == [0, 0.5, pytest.approx(1 / 2 / 2)]  # b (15) a (20) | a (25)
    assert places[3].tolist() == [1, 0.5, pytest.approx(1 / 2)]  # a (20) b (35) | a
    assert places[4].tolist() == [0, 0, 0]
    figures = {name: metric.compute(right, places) for name, metric in neighbour_metrics().items()}
    assert figures == {"map@r": pytest.approx(1 / 3), "r_precision": pytest.approx(0.5), "nearest": pytest.approx(1 / 3)}


def test_chance_is_the_mean_over_all_orders() -> None:
    for r, others in ((1, 4), (2, 5), (4, 5)):
        said = []
        for order in set(itertools.permutations([1] * r + [0] * (others - r))):
            hits = np.array(order[:r])
            said.append([order[0], hits.mean(), (hits * np.cumsum(hits) / np.arange(1, r + 1)).sum() / r])
        assert chance(np.array([[r]]), others)[0] == pytest.approx(np.mean(said, 0))


def test_many_rows_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MOST", 10)
    rng = np.random.default_rng(0)
    y, x = rng.integers(0, 2, 35), angles(*rng.uniform(0, 360, 35))
    right, places = found(y, x, np.ones(35, bool))
    for start in range(4):
        alone = found(y[start::4], x[start::4], np.ones(len(y[start::4]), bool))
        assert np.array_equal(right[start::4], alone[0]) and np.array_equal(places[start::4], alone[1])
