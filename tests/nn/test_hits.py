import math

import numpy as np
import pytest

from omnitune.nn.hits import hit_metrics


def test_the_figures_by_hand() -> None:
    right = np.array([[2], [1], [5]])
    hits = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]], float)
    found = {name: metric.compute(right, hits) for name, metric in hit_metrics(3).items()}
    assert found["recall@3"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert found["success@1"] == pytest.approx(1 / 3)
    assert found["mrr@3"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    best = 1 + 1 / math.log2(3)
    assert found["ndcg@3"] == pytest.approx((1 / math.log2(3) / best + 1) / 3)


def test_all_that_can_be_found_is_found() -> None:
    assert all(metric.compute(np.array([[9]]), np.ones((1, 3))) == (1 if name != "recall@3" else 3 / 9) for name, metric in hit_metrics(3).items())
