import numpy as np
import pytest

from omnitune.errors import Mistake
from omnitune.tasks.quantile import Quantile


def test_it_starts_with_the_quantiles_of_training() -> None:
    answers = np.random.default_rng(0).normal(50, 3, size=500).tolist()
    task = Quantile("y", levels=(0.1, 0.5, 0.9))
    facts = task.learn({"y": [*answers, None]})
    assert facts["start"] == pytest.approx(np.quantile(answers, [0.1, 0.5, 0.9]))


def test_the_value_is_the_median() -> None:
    task = Quantile("y", levels=(0.25, 0.5))
    facts = task.learn({"y": [1.0, 2.0, 3.0]})
    assert task.decode(np.array([[1.0, 2.0]]), facts) == [{"value": 2.0, "quantiles": {"0.25": 1.0, "0.5": 2.0}}]


@pytest.mark.parametrize("levels", [(0.9, 0.5), (0.1, 0.9), (0.5, 0.5)])
def test_levels_rise_and_hold_the_median(levels: tuple[float, ...]) -> None:
    with pytest.raises(Mistake, match=r"levels: must rise and hold 0\.5"):
        Quantile("y", levels=levels)
