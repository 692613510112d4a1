"""What is measured, and said, where answers are missing: none in validation, some labels only, no test rows."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest

from omnitune.artifact import Artifact
from omnitune.commands.fit import fit
from omnitune.recipe import read

pytestmark = pytest.mark.slow
CLASS = {"kind": "classify", "target": "class"}
FLAGS = {"kind": "label", "target": ["red", "big"]}


def table(n: int, seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 2))
    return [{"a": a, "b": b, "class": "high" if a + b > 0 else "low", "red": int(a > 0), "big": int(b > 0)} for a, b in points.tolist()]


def run(source: Any, out: Path, task: dict[str, Any], split: Any) -> Artifact:
    values = {
        "data": {"from": source, "split": split},
        "inputs": {"a": "number", "b": "number"},
        "tasks": {"t": task},
        "train": {"epochs": 4, "batch": 16, "head_lr": 0.03},
    }
    return fit(read(values), out)


def said(artifact: Artifact) -> list[str]:
    return [caution["text"] for caution in artifact.report.warnings]


def test_without_an_answer_in_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    blind = [row | {"class": None} for row in table(40, 1)]
    parts = {"train": table(120, 0), "validation": blind, "test": table(60, 2)}
    source = datasets.DatasetDict({part: datasets.Dataset.from_list(rows, features=_features()) for part, rows in parts.items()})
    artifact = run(source, tmp_path / "run", CLASS, "given")
    assert artifact.report.value("t", "accuracy") > 0.9  # those of the first round reach less
    assert "No validation row has an answer, so validation says nothing of this task." in said(artifact)


def _features() -> datasets.Features:
    kinds = {"a": "float64", "b": "float64", "class": "string", "red": "int64", "big": "int64"}
    return datasets.Features({name: datasets.Value(kind) for name, kind in kinds.items()})


def test_the_temperature_needs_no_test_rows(tmp_path: Path) -> None:
    rows = [row | {"class": row["class"] if i % 6 else "low"} for i, row in enumerate(table(300, 0))]  # some wrong answers
    artifact = run(rows, tmp_path / "run", CLASS, [0.6, 0.4, 0])
    assert float(artifact.model.head("t").temperature) != 1.0


def test_rows_with_some_answers_are_told_from_rows_with_none(tmp_path: Path) -> None:
    rows = table(200, 0)
    for row in rows[:10]:
        row["red"] = None
    for row in rows[10:13]:
        row["red"] = row["big"] = None
    artifact = run(rows, tmp_path / "run", FLAGS, [0.6, 0.2, 0.2])
    assert "10 rows have an answer to some labels only; they teach, but are not measured." in said(artifact)
    assert "3 rows have no answer; they teach and measure nothing here." in said(artifact)


@pytest.mark.parametrize("count", [0, 1])
def test_a_task_that_hardly_any_row_answers_in_full_is_no_crash(count: int, tmp_path: Path) -> None:
    rows = [row | ({"red": None} if i % 2 else {"big": None}) for i, row in enumerate(table(200, 0))]
    for row in rows[:count]:
        row |= {"red": 1, "big": 1}
    artifact = run(rows, tmp_path / "run", FLAGS, [0.6, 0.2, 0.2])
    assert artifact.predict({"a": 3.0, "b": 3.0})["t"]["value"] == ["red", "big"]


def test_a_leak_is_seen_in_a_sorted_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omnitune.evaluation.rows.LEAK_ROWS", 100)
    rows = sorted((row | {"a": 1.0 if row["class"] == "high" else 0.0} for row in table(400, 0)), key=lambda row: row["class"])
    assert any("alone predicts" in text for text in said(run(rows, tmp_path / "run", CLASS, [0.6, 0.2, 0.2])))
