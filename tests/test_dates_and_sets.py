"""Dates and sets through whole runs: learned, beaten or not by a simple model of the same columns, read from a file, left out where missing."""

import datetime
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omnitune.artifact import Artifact, load
from omnitune.commands.fit import fit
from omnitune.commands.infer import infer
from omnitune.recipe import read

FIRST = datetime.date(2023, 1, 1)
TAGS = ["red", "round", "big", "old"]


def table(n: int, seed: int = 0) -> list[dict[str, Any]]:
    """`weekend` is told by the date, `price` by how many tags a thing has."""
    rng = np.random.default_rng(seed)
    rows = []
    for days in rng.integers(0, 900, n).tolist():
        day, tags = FIRST + datetime.timedelta(days), [tag for tag in TAGS if rng.random() < 0.5]
        rows.append({"sold": day.isoformat(), "tags": tags, "weekend": "yes" if day.weekday() >= 5 else "no", "price": len(tags) + rng.normal() / 10})
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    place = tmp_path_factory.mktemp("dates")
    (place / "sales.jsonl").write_text("\n".join(json.dumps(row) for row in table(900)), encoding="utf-8")
    values = {
        "data": {"from": str(place / "sales.jsonl"), "split": [0.6, 0.2, 0.2]},
        "inputs": {"sold": "date", "tags": "set"},
        "tasks": {"weekend": {"kind": "classify", "target": "weekend"}, "price": {"kind": "regress", "target": "price"}},
        "train": {"epochs": 12, "batch": 16, "head_lr": 0.01},
    }
    return fit(read(values), place / "run")


def test_both_are_learned(made: Artifact) -> None:
    assert made.report.value("weekend", "accuracy") > 0.97 and made.report.value("price", "r2") > 0.9


def test_a_simple_model_reads_them_too(made: Artifact) -> None:
    """The weekday as a number tells the weekend to a linear model, and words tell tags."""
    for task, metric in (("weekend", "auroc"), ("price", "r2")):
        models = made.report.tasks[task]["metrics"]["models"]
        assert models["simple"][metric]["value"] > 0.9
    assert "the outline of sold" in made.report.tasks["weekend"]["baselines"]["simple"]


def test_a_saved_model_reads_dates_of_any_spelling(made: Artifact, tmp_path: Path) -> None:
    again = load(made.path)
    saturday = [{"sold": day, "tags": []} for day in ("2024-06-01", datetime.date(2024, 6, 1), "2024-06-01T00:00:00")]
    answers = [answer["weekend"] for answer in again.predict(saturday)]
    assert all(answer["value"] == "yes" and answer["probabilities"] == pytest.approx(answers[0]["probabilities"], rel=1e-4) for answer in answers)
    (tmp_path / "new.csv").write_text("sold,tags\n2024-06-01,\n2024-06-03,red|big\nsoon,red\n", encoding="utf-8")
    _, monday, wrong = again.predict(tmp_path / "new.csv")
    assert monday["weekend"]["value"] == "no" and "'soon' is no date" in wrong["error"]


def test_dates_of_a_table_are_inferred() -> None:
    rows = [row | {"sold": datetime.date.fromisoformat(row["sold"])} for row in table(200)]
    assert infer(rows, target="weekend").recipe.inputs["sold"].kind == "date"
