"""Prepared: which rows are asked about."""

import numpy as np

from omnitune.data.prepared import prepare
from omnitune.recipe import read
from runs import rows


def table() -> list[dict[str, object]]:
    """Rows whose every third has no class, and every second no value."""
    return [row | {"class": row["class"] if i % 3 else None, "value": row["value"] if i % 2 else None} for i, row in enumerate(rows(120))]


def asked(**tasks: dict[str, str]) -> tuple[np.ndarray, np.ndarray]:
    prepared = prepare(read({"data": {"from": table(), "split": [0.8, 0.1, 0.1]}, "inputs": {"a": "number"}, "tasks": tasks}))
    batches = prepared.batches("train", 16, seed=0)
    return np.sort(np.concatenate(batches.order(0))), prepared.parts["train"]


def test_training_leaves_out_rows_that_answer_nothing() -> None:
    both, train = asked(c={"kind": "classify", "target": "class"}, v={"kind": "regress", "target": "value"})
    assert both.tolist() == [row for row in train.tolist() if row % 3 or row % 2]
    alone, train = asked(c={"kind": "classify", "target": "class"})
    assert alone.tolist() == [row for row in train.tolist() if row % 3]


def test_validation_and_test_keep_every_row() -> None:
    tasks = {"c": {"kind": "classify", "target": "class"}}
    prepared = prepare(read({"data": {"from": table(), "split": [0.6, 0.2, 0.2]}, "inputs": {"a": "number"}, "tasks": tasks}))
    for part in ("validation", "test"):
        assert np.sort(np.concatenate(prepared.batches(part, 16).order(0))).tolist() == prepared.parts[part].tolist()
