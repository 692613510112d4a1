import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import torch

from omnitune.errors import Mistake
from omnitune.nn.tokens import Batch, Tokens, View
from omnitune.tasks.regress import Regress


def test_mean_and_spread_are_exact_even_far_from_zero() -> None:
    answers = [1e9 + x for x in np.random.default_rng(0).normal(size=2000).tolist()]
    facts = Regress("y").learn({"y": [*answers, None, float("nan")]})
    assert facts["mean"] == pytest.approx(np.mean(answers), rel=1e-14)
    assert facts["std"] == pytest.approx(np.std(np.array(answers) - 1e9), rel=1e-6)


def test_targets_far_from_zero_keep_their_differences() -> None:
    task, answers = Regress("y"), [1.7e9, 1.7e9 + 1, 1.7e9 + 2, None]
    facts = task.learn({"y": answers})
    target = task.prepare(Batch({}, np.arange(4)), {"y": answers}, facts, None)[1]
    torch.testing.assert_close(target["z"], torch.tensor([-1.0, 0.0, 1.0, 0.0]) * math.sqrt(1.5))
    assert target["weight"].tolist() == [1, 1, 1, 0]
    assert target["y"][:3].tolist() == pytest.approx(answers[:3]) and target["y"][3].isnan()


def test_predictions_are_in_the_units_of_the_table() -> None:
    task = Regress("y")
    facts = task.learn({"y": [90.0, 110.0]})
    head = task.head(3, facts, {}).eval()
    seen = View({}, Tokens(torch.zeros(2, 1, 3), torch.ones(2, 1, dtype=torch.bool), "first"))
    with torch.no_grad():
        assert task.decode(head.predict(seen).numpy(), facts) == [{"value": 100.0}, {"value": 100.0}]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("dear", "expected a number, got str 'dear'"),
        (True, "kind: classify"),
        (float("inf"), "too large"),
        (10**400, "too large"),
        (Decimal("1e31"), "too large"),
    ],
)
def test_what_is_no_number_is_said(value: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(Regress("y").check(value))


def test_numbers_of_all_types_are_taken() -> None:
    assert [Regress("y").check(v) for v in (1, -1.5, Decimal("2.5"), np.float32(3), np.int64(4), None, float("nan"), "", "12", "NA")] == [None] * 10


def test_texts_are_the_numbers_they_write() -> None:
    task = Regress("y")
    facts = task.learn({"y": [" 1.0", "3.0", "NA", ""]})
    _, target = task.prepare(Batch({}, np.arange(3)), {"y": ["2.50", "null", "4"]}, facts, None)
    assert facts["mean"] == 2.0 and target["y"].tolist()[::2] == [2.5, 4.0] and target["weight"].tolist() == [1, 0, 1]


def test_nothing_below_zero_is_counted() -> None:
    task = Regress("y", loss="poisson")
    assert task.check(0) is None and task.check("3") is None and task.check(None) is None and task.check("many") is not None
    assert task.check(-1) == "-1 is below 0, which loss: poisson cannot be; choose huber or mse"


def test_one_number_only_is_a_mistake() -> None:
    for answers in ([3, 3, 3], [0.1 + 0.2, 0.3], [5]):
        with pytest.raises(Mistake, match="training rows are"):
            Regress("y").learn({"y": answers})
