"""pass@k, held against all ways to draw k texts."""

from itertools import combinations

import numpy as np
import pytest

from omnitune.nn.passing import pass_at, passing_metrics


@pytest.mark.parametrize("k", [1, 2, 5])
def test_it_is_the_share_of_draws_that_hold_one_that_passes(k: int) -> None:
    for passed in range(6):
        texts = [i < passed for i in range(5)]
        wanted = np.mean([any(draw) for draw in combinations(texts, k)])
        assert pass_at(k, np.array([passed]), np.array([5]))[0] == pytest.approx(wanted)


def test_rows_count_alike() -> None:
    p = np.array([[0, 4], [4, 4], [2, 4]])
    found = {name: metric.compute(p[:, 0], p) for name, metric in passing_metrics([1, 3]).items()}
    assert found == pytest.approx({"pass@1": 0.5, "pass@3": 2 / 3})
    assert np.isnan(passing_metrics([1])["pass@1"].compute(np.zeros(0), np.zeros((0, 2))))
