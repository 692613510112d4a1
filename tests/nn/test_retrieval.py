"""Where the right one stands among candidates, against plain loops and against chance."""

import numpy as np
import pytest

from omnitune.nn.retrieval import MOST, chance, expected, found, pair_metrics


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def case(n: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    a = unit(rng.normal(size=(n, 8)))
    return a, unit(a + 0.8 * rng.normal(size=(n, 8))), np.stack([np.arange(n), np.arange(n) + 1000], 1)


def test_ranks_are_those_of_plain_loops() -> None:
    a, b, same = case()
    same[5, 0] = same[9, 0]
    same[7, 1] = same[11, 1]
    candidates, places = found(a, b, same)
    for i in range(len(a)):
        fit = [j for j in range(len(a)) if j == i or not (same[i] == same[j]).any()]
        assert candidates[i, 0] == len(fit)
        for way, score in ((0, b[fit] @ a[i]), (4, a[fit] @ b[i])):
            rank = 1 + sum(score > score[fit.index(i)] + 1e-6)
            assert places[i, way : way + 4] == pytest.approx([float(rank == 1), float(rank <= 10), 1 / rank, rank])
    assert candidates[5, 0] == len(a) - 1 and candidates[0, 0] == len(a)


def test_a_model_that_says_nothing_is_worth_chance() -> None:
    _, _, same = case(40)
    candidates, places = found(np.ones((40, 3)) / 3**0.5, np.ones((40, 3)) / 3**0.5, same)
    np.testing.assert_allclose(places, chance(candidates))
    figures = {name: metric.compute(candidates, places) for name, metric in pair_metrics().items()}
    assert figures["recall@1"] == pytest.approx(1 / 40) and figures["recall@10"] == pytest.approx(10 / 40)
    assert figures["mrr"] == pytest.approx(np.mean(1 / np.arange(1, 41))) and figures["median_rank"] == 20.5


def test_ties_count_by_their_chance() -> None:
    (row,) = expected(np.array([2]), np.array([3]))
    assert row == pytest.approx([0, 1, np.mean([1 / 3, 1 / 4, 1 / 5, 1 / 6]), 4.5])


def test_many_rows_are_sought_in_groups_that_their_order_does_not_change() -> None:
    n = MOST + 300
    a, b, same = case(n)
    rng = np.random.default_rng(1)
    same = rng.integers(0, 2**60, (n, 2))
    candidates, places = found(a, b, same)
    assert candidates.max() == candidates.min() == n / 2
    order = rng.permutation(n)
    np.testing.assert_allclose(found(a[order], b[order], same[order])[1], places[order])


def test_no_rows_have_no_figures() -> None:
    candidates, places = found(np.zeros((0, 4)), np.zeros((0, 4)), np.zeros((0, 2), dtype=np.int64))
    assert places.shape == (0, 8) and all(np.isnan(metric.compute(candidates, places)) for metric in pair_metrics().values())
