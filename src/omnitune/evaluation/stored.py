"""Stored: predictions on the test rows as a file, so that runs can be compared later."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.errors import Mistake
from omnitune.evaluation.measure import Predictions
from omnitune.nn.metrics import Array, Form, like

FILE = "predictions.parquet"


@dataclass(frozen=True)
class Stored:
    """Answers of one task.

    Args:
        form: of the task.
        names: of classes, labels or levels; empty for values.
        predictions: on labelled rows.
        keys: identity of each row, a hash of its content.
    """

    form: Form
    names: list[str]
    predictions: Predictions
    keys: list[str]


def write(folder: Path, tasks: Mapping[str, Stored]) -> None:
    """Writes `predictions.parquet`: columns task, row, key, y and p (lists of numbers; of classes, y is the number of the class)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts = {name: {"form": task.form, "names": task.names} for name, task in tasks.items()}
    schema = pa.schema(
        [("task", pa.string()), ("row", pa.int64()), ("key", pa.string()), ("y", pa.list_(pa.float64())), ("p", pa.list_(pa.float64()))],
        {"omnitune": json.dumps(facts)},
    )
    pieces = [
        pa.table([[name] * len(task.keys), task.predictions.rows, task.keys, _lists(task.predictions.y), _lists(task.predictions.p)], schema=schema)
        for name, task in tasks.items()
    ]
    pq.write_table(pa.concat_tables(pieces) if pieces else schema.empty_table(), folder / FILE)


def read(folder: Path) -> dict[str, Stored]:
    """The reverse of `write`. Raises `Mistake` where there is no such file or it is damaged."""
    import pyarrow as pa
    import pyarrow.compute
    import pyarrow.parquet as pq

    path = folder / FILE
    if not path.exists():
        raise Mistake(str(folder), f"there is no {FILE}", "Give the folder of a finished run with test rows")
    try:
        table = pq.read_table(path)
        facts = json.loads(table.schema.metadata[b"omnitune"])
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise Mistake(str(path), f"damaged: {error}", "Copy the run again") from None
    return {name: _task(table.filter(pa.compute.equal(table["task"], name)), **fact) for name, fact in facts.items()}


def _task(table: Any, form: Form, names: list[str]) -> Stored:
    wide = -1 if len(table) else max(1, len(names))
    y, p = (np.array(table[column].to_pylist(), dtype=np.float64).reshape(len(table), wide) for column in ("y", "p"))
    if like(form) == "classes":
        y = y[:, 0].astype(np.int64)
    if like(form) == "value":
        y = y[:, 0]
    if form == "value":
        p = p[:, 0]
    return Stored(form, names, Predictions(y, p, table["row"].to_numpy()), table["key"].to_pylist())


def _lists(values: Array) -> Sequence[Sequence[float]]:
    return values.reshape(len(values), -1 if len(values) else 1).astype(np.float64).tolist()
