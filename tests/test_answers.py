"""Grades, counts and quantiles through whole runs: what the report holds, what is predicted, what rivals are, and what is compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitune import compare
from omnitune.artifact import Artifact, load
from omnitune.commands.fit import fit
from omnitune.commands.predict import flat
from omnitune.evaluation import baselines
from omnitune.recipe import read
from omnitune.training.trials import refusal

ROWS = 2500


@pytest.fixture(scope="module")
def table() -> list[dict[str, Any]]:
    """A number `x`; `grade` and `visits` rise with it; the spread of `price` does, too."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, ROWS)
    grade = np.clip(np.round(x + rng.normal(scale=0.7, size=ROWS)), -2, 2) + 3
    price = 10 + np.exp(x / 2) * rng.normal(size=ROWS)
    visits = rng.poisson(np.exp(x))
    return [{"x": a, "grade": int(g), "price": p, "visits": int(v)} for a, g, p, v in zip(x.tolist(), grade, price.tolist(), visits, strict=True)]


def run(table: list[dict[str, Any]], out: Path, tasks: dict[str, Any]) -> Artifact:
    train = {"epochs": 12, "batch": 64, "head_lr": 0.01}
    return fit(read({"data": {"from": table, "split": [0.6, 0.2, 0.2]}, "inputs": {"x": "number"}, "tasks": tasks, "train": train}), out)


@pytest.fixture(scope="module")
def made(table: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    tasks = {
        "grade": {"kind": "ordinal", "target": "grade"},
        "price": {"kind": "quantile", "target": "price", "levels": [0.1, 0.5, 0.9]},
        "visits": {"kind": "regress", "target": "visits", "loss": "poisson"},
    }
    return run(table, tmp_path_factory.mktemp("answers") / "run", tasks)


def test_grades_are_learned_in_their_order(made: Artifact) -> None:
    models = made.report.tasks["grade"]["metrics"]["models"]
    assert models["after"]["quadratic_kappa"]["value"] > 0.65 and models["constant"]["mae"]["value"] > 1.5 * models["after"]["mae"]["value"]
    assert set(models) == {"constant", "simple", "after"}, "rivals are those of classes"
    assert float(made.model.head("grade").temperature) != 1.0, "probabilities are calibrated"
    counted = made.report.data["classes"]["grade"]
    assert list(counted["train"]) == ["1", "2", "3", "4", "5"]


def test_an_interval_is_wider_where_the_spread_is(made: Artifact) -> None:
    low, high = (answer["price"] for answer in made.predict([{"x": -1.8}, {"x": 1.8}]))
    widths = [said["quantiles"]["0.9"] - said["quantiles"]["0.1"] for said in (low, high)]
    assert widths[1] > 2 * widths[0] and low["value"] == low["quantiles"]["0.5"]
    below = {of["level"]: of["below"] for of in made.report.tasks["price"]["details"]["levels"]}
    assert below == pytest.approx({0.1: 0.1, 0.5: 0.5, 0.9: 0.9}, abs=0.1)
    metrics = made.report.tasks["price"]["metrics"]
    assert metrics["differences"]["simple"]["pinball"]["high"] < 0, "errors of a simple model are as wide everywhere"
    assert "quantiles of its errors on validation rows" in made.report.tasks["price"]["baselines"]["simple"]
    assert all("rows below it" in (made.path / f"report.{kind}").read_text(encoding="utf-8") for kind in ("md", "html"))


def test_counts_are_never_below_zero_and_follow_the_curve(made: Artifact) -> None:
    said = [answer["visits"]["value"] for answer in made.predict([{"x": x} for x in (-1.5, 0.0, 1.5)])]
    assert said == pytest.approx([np.exp(-1.5), 1.0, np.exp(1.5)], rel=0.5) and min(said) > 0


def test_a_run_is_read_again_and_written_flat(made: Artifact) -> None:
    again = load(made.path)
    answer = again.predict([{"x": 0.3}])[0]
    assert answer == made.predict([{"x": 0.3}])[0]
    assert set(flat(answer)) == {
        "grade", *(f"grade:{i}" for i in range(1, 6)), "price", "price:0.1", "price:0.5", "price:0.9", "visits", "error",
    }  # fmt: skip


def test_runs_of_the_same_levels_are_compared_and_others_are_not(made: Artifact, table: list[dict[str, Any]], tmp_path: Path) -> None:
    tasks = {"grade": {"kind": "ordinal", "target": "grade"}, "price": {"kind": "quantile", "target": "price"}}
    other = run(table, tmp_path / "other", tasks)
    assert set(compare(made.path, made.path)["tasks"]) == {"grade", "price", "visits"}
    found = compare(made.path, other.path)["tasks"]
    assert set(found) == {"grade"}, "0.05 and 0.95 are other numbers than 0.1 and 0.9"
    assert found["grade"]["shared"] == found["grade"]["metrics"]["rows"] > 100


def test_trials_of_grades_learn_one_by_one(made: Artifact) -> None:
    assert refusal(made.model, made.recipe) == "a head learns more than its layer"


def test_a_rival_is_as_unsure_as_it_was_wrong() -> None:
    y, said = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([3.0, 3.0, 3.0, 3.0, 3.0, 10.0])
    assert baselines.around(said, y, (0.25, 0.5, 0.75)).tolist() == [[9.0, 10.0, 11.0]]


def test_a_metric_of_another_kind_is_refused() -> None:
    values = {"data": "sample:women-reviews", "inputs": {"text": "text"}, "tasks": {"rating": {"kind": "ordinal", "target": "rating"}}}
    assert read(values | {"train": {"stop_on": "rating.quadratic_kappa"}}).train.stop_on == "rating.quadratic_kappa"
    with pytest.raises(Exception, match=r"'rating\.r2' is not measured"):
        read(values | {"train": {"stop_on": "rating.r2"}})
    median = {"tasks": {"rating": {"kind": "quantile", "target": "rating", "levels": [0.5]}}, "train": {"stop_on": "rating.width"}}
    with pytest.raises(Exception, match=r"'rating\.width' is not measured"):
        read(values | median)
