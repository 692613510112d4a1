"""Cautions: what a reader of the report must know before trusting its figures."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from omnitune.evaluation.columns import number, word
from omnitune.evaluation.measure import verdict
from omnitune.nn.metrics import Form

Array = np.ndarray[Any, Any]
Caution = dict[str, str]
"""`name` of the kind, `where` (a dotted place), `text` for the reader."""
FEW = 100
LEAK_ROWS = 5000
"""Training rows that are looked at for leaks."""
LEAK = 0.9
"""Share of a constant's error that one column alone must remove to be suspected."""
SHORT = 40
"""Characters up to which the median text of a column is treated as a category."""


def caution(name: str, where: str, text: str) -> Caution:
    """One caution."""
    return {"name": name, "where": where, "text": text}


def few_rows(rows: Mapping[str, int], table: str = "data") -> list[Caution]:
    """`few_rows`: a test part of fewer than 100 rows, or validation or test without any; `table` is where the recipe has it."""
    found = [caution("few_rows", f"{table}.{part}", f"There are no {part} rows.") for part in ("validation", "test") if not rows.get(part)]
    test = rows.get("test", 0)
    if 0 < test < FEW:
        found.append(caution("few_rows", f"{table}.test", f"Only {test} test rows: the intervals are wide, and small differences mean nothing."))
    return found


def unwatched(stop_on: str, log: Sequence[Mapping[str, float]]) -> list[Caution]:
    """`unwatched`: rounds of validation that never measured what was to choose among them.

    Args:
        stop_on: as `Train`.
        log: numbers by name of every step; a figure that could not be measured is nan.
    """
    rounds = [step for step in log if "validation.loss" in step]
    if not rounds or any(not np.isnan(step.get(f"validation.{stop_on}", np.nan)) for step in rounds):
        return []
    text = f"{stop_on} could not be measured on the validation rows in any round, so the last weights were kept, not the best."
    return [caution("unwatched", "train.stop_on", text)]


def missing_classes(task: str, counts: Mapping[str, Mapping[str, int]]) -> list[Caution]:
    """`missing_class`: classes or labels without a row in a part that has rows.

    Args:
        task: its name.
        counts: rows by part and class.
    """
    every = sorted({name for part in counts.values() for name in part})
    found = []
    for part, rows in counts.items():
        missing = [name for name in every if not rows.get(name)] if sum(rows.values()) else []
        if missing:
            shown = ", ".join(missing[:10]) + (f" and {len(missing) - 10} more" if len(missing) > 10 else "")
            found.append(caution("missing_class", f"tasks.{task}", f"No {part} row has: {shown}."))
    return found


def simple_wins(task: str, metrics: Mapping[str, Any]) -> list[Caution]:
    """`simple_wins` and `no_progress`: a cheaper model is as good in the task's first metric.

    Args:
        task: its name.
        metrics: from `measure`, with the subject compared to `simple`, `before` or `constant`.
    """
    name = next(iter(metrics["higher"]))
    higher, subject = metrics["higher"][name], metrics["models"][metrics["subject"]][name]["value"]
    found = []
    for model, kind in {"simple": "simple_wins", "before": "no_progress", "constant": "no_progress"}.items():
        other = metrics["models"].get(model, {}).get(name, {}).get("value")
        if other is None or subject is None or (subject > other if higher else subject < other):
            continue
        clear = verdict(metrics["differences"][model][name], higher) == "worse"
        words = "is clearly better" if clear else "is at least as good"
        found.append(caution(kind, f"tasks.{task}", f"The {model} model {words} in {name}: {other:.4g}, after training {subject:.4g}."))
    return found


# Leaks


def leaks(task: str, form: Form, columns: Mapping[str, Sequence[Any]], kinds: Mapping[str, str], y: Array) -> list[Caution]:
    """`leak`: an input that alone predicts the target almost perfectly, on rows it was not fitted to.

    A category or short text is suspected where the other rows of the same value tell the answer; a number where a decision tree does, in
    cross-validation. Both must remove nine tenths of the error that a constant makes, so that a frequent class raises no alarm.

    Args:
        task: its name.
        form: of the task.
        columns: raw values of training rows by input.
        kinds: `number`, `category` or `text` by input; others are not looked at.
        y: answers of the same rows.
    """
    answers = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1) if form != "value" else y.astype(np.float64)
    found = []
    for name, kind in kinds.items():
        values = columns[name] if kind in ("number", "category", "text") else []
        removed = _removed(form, kind, values, answers)
        if removed >= LEAK:
            text = f"Column {name!r} alone predicts {task!r} almost perfectly (it removes {removed:.0%} of the error of a constant)."
            found.append(caution("leak", f"inputs.{name}", f"{text} If it is not known when predicting, leave it out."))
    return found


def _removed(form: Form, kind: str, values: Sequence[Any], y: Array) -> float:
    """Share of a constant's error that the column alone removes; 0 where too little is known."""
    if len(values) < 50:
        return 0.0
    if kind == "number":
        return _by_tree(form, np.array([[number(v)] for v in values]), y)
    if kind == "text" and median([len(str(v)) for v in values if v is not None] or [0]) > SHORT:
        return 0.0
    groups = np.unique(np.array([word(v).strip().lower() for v in values], dtype=object), return_inverse=True)[1]
    return _by_group(form, groups, y)


def _by_group(form: Form, groups: Array, y: Array) -> float:
    """Each row of a value that comes again is answered by the other rows of that value; those rows must be at least half of all."""
    again = np.bincount(groups)[groups] > 1
    if again.mean() < 0.5:
        return 0.0
    groups, y = np.unique(groups[again], return_inverse=True)[1], y[again]
    size = np.bincount(groups)[groups]
    if form == "value":
        others = (np.bincount(groups, y)[groups] - y) / (size - 1)
        return _share(np.square(y - others).sum(), np.square(y - y.mean()).sum())
    _, answers = np.unique(y, return_inverse=True)
    counts = np.zeros((groups.max() + 1, answers.max() + 1), dtype=np.int64)
    np.add.at(counts, (groups, answers), 1)
    rest = counts[groups]
    rest[np.arange(len(y)), answers] -= 1
    return _share(float((rest.argmax(1) != answers).sum()), float(len(y) - np.bincount(answers).max()))


def _by_tree(form: Form, x: Array, y: Array) -> float:
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if np.isnan(x).all() or (y == y[0]).all():
        return 0.0
    tree = (DecisionTreeRegressor if form == "value" else DecisionTreeClassifier)(min_samples_leaf=5, random_state=0)
    said = cross_val_predict(tree, x, y, cv=KFold(3, shuffle=True, random_state=0))
    if form == "value":
        return _share(np.square(y - said).sum(), np.square(y - y.mean()).sum())
    return _share(float((said != y).sum()), float(len(y) - np.bincount(y).max()))


def _share(error: float, constant: float) -> float:
    return float(1 - error / constant) if constant > 0 else 0.0
