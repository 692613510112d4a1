"""Rounding: what int8 changes in a model's answers, measured on rows that both float32 and int8 answer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.data.synthetic import rows_of
from omnitune.data.table import read
from omnitune.errors import Mistake
from omnitune.evaluation import stored
from omnitune.nn.metrics import Array, Form, like, of_form, said
from omnitune.prediction import Predictor

ROWS = ("classes", "ordinal", "labels", "value", "quantiles")
"""Forms whose metrics are made of what is predicted."""
MOST = 200
"""Rows that are compared, evenly chosen."""


@dataclass(frozen=True)
class Rounding:
    """Of one task.

    Args:
        rows: that were compared.
        on: `test rows` of the run, with their true answers, or the `given rows`.
        same: share of rows with the same answer; of lists, with the same first item; of values, those that moved by at most 1 % of the spread
            of the float32 answers.
        largest: change of a probability, or of a value.
        metrics: {name: [float32, int8]}; empty where true answers are not known.
    """

    rows: int
    on: str
    same: float
    largest: float
    metrics: dict[str, list[float]]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.rows:
            return f"int8 against float32: not measured, since none of the {self.on} has an answer"
        measured = "".join(f", {name} {whole:.4g} -> {rounded:.4g}" for name, (whole, rounded) in list(self.metrics.items())[:1])
        return f"int8 against float32 on {self.rows:,} {self.on}: {self.same:.1%} equal answers, largest change {self.largest:.2g}{measured}"


def on_given(whole: Predictor, rounded: Predictor, source: Any) -> dict[str, Rounding]:
    """What changes on rows of a table that may have no answers; `source` as for `read`."""
    table = read(source, texts=whole.recipe.columns)
    numbers = _some(np.arange(len(table)))
    both = whole.outputs(table, numbers), rounded.outputs(table, numbers)
    return {name: _compare(task.form, both[0][name], both[1][name], "given rows") for name, task in whole.tasks.items() if both[0]}


def on_test(whole: Predictor, rounded: Predictor, run: Path, fingerprint: str) -> dict[str, Rounding]:
    """What changes on the test rows that a run has stored.

    Raises:
        Mistake: it has none, or its data are not there as they were in training.
    """
    found = {name: task for name, task in stored.read(run).items() if name in whole.tasks}
    if whole.recipe.tables:
        raise Mistake(str(run), "its test rows are of several tables", "Give rows to compare on")
    table = rows_of(whole.recipe)
    if table.fingerprint != fingerprint:
        raise Mistake(table.name, "is no longer the table of the training", "Bring it back, or give rows to compare on")
    numbers = _some(np.unique(np.concatenate([task.predictions.rows for task in found.values()] or [np.arange(0)])))
    both = whole.outputs(table, numbers), rounded.outputs(table, numbers)
    if not both[0] or len(next(iter(both[0].values()))) < len(numbers):
        raise Mistake(str(run), "no test rows, or some that can no longer be read", "Give rows to compare on")
    made = {}
    for name, task in found.items():
        _, mine, theirs = np.intersect1d(numbers, task.predictions.rows, return_indices=True)
        made[name] = _compare(task.form, both[0][name][mine], both[1][name][mine], "test rows", task.predictions.y[theirs], task.names)
    return made


def _compare(form: Form, whole: Array, rounded: Array, on: str, y: Array | None = None, names: Sequence[str] = ()) -> Rounding:
    """Outputs of both, (n, ...) each; the true answers, and the names that they are among."""
    if not len(whole):
        return Rounding(0, on, 1.0, 0.0, {})
    moved = np.nan_to_num(np.abs(whole - rounded)).reshape(len(whole), -1)  # where a row has no answer it has none twice
    if like(form) == "classes":
        same = said(form, whole) == said(form, rounded)
    elif form == "ranks":  # the first halves are items, the others their scores
        same = whole[:, 0] == rounded[:, 0]
        moved = moved[:, moved.shape[1] // 2 :]
    elif form == "labels":
        same = ((whole >= 0.5) == (rounded >= 0.5)).all(1)
    else:
        same = (moved <= 0.01 * np.nanstd(whole)).all(1)
    kinds = {} if y is None or form not in ROWS else of_form(form, names)
    metrics = {name: [float(kind.compute(y, p)) for p in (whole, rounded)] for name, kind in kinds.items() if y is not None}
    return Rounding(len(whole), on, float(same.mean()), float(moved.max()), metrics)


def _some(numbers: Array) -> Array:
    return numbers[np.linspace(0, len(numbers) - 1, MOST).round().astype(int)] if len(numbers) > MOST else numbers
