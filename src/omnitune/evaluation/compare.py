"""Compare: two runs on the test rows they share, paired, with intervals."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.errors import Mistake
from omnitune.evaluation import stored
from omnitune.evaluation.measure import Predictions, measure
from omnitune.evaluation.stored import Stored
from omnitune.evaluation.tables import markdown, plain, task_table
from omnitune.nn.metrics import Array, like, of_form

Comparison = dict[str, Any]


def compare(a: Path, b: Path, seed: int = 0, resamples: int = 1000) -> Comparison:
    """Measures run `b` against run `a` on the test rows that both have, task by task. Rows are the same where what decides
    their side (`data.by`, else texts and pictures, else every input) and their answer are.

    Returns:
        `a`, `b` (folders) and `tasks` {name: {form, metrics (see `measure`; models `a` and `b`), shared, only_a, only_b (rows)}}.

    Raises:
        Mistake: a folder holds no predictions, or the runs share no task or no row.
    """
    one, two = stored.read(a), stored.read(b)
    where = f"{a} and {b}"
    if empty := [str(run) for run, tasks in ((a, one), (b, two)) if not any(task.keys for task in tasks.values())]:
        raise Mistake(" and ".join(empty), "no test row has an answer", "Compare runs with test rows")
    shared = [name for name in one if name in two and _alike(one[name], two[name])]
    if not shared:
        raise Mistake(where, f"no task in common: {', '.join(one)}; {', '.join(two)}", "Compare runs that answer the same question")
    tasks = {name: found for name in shared if (found := _task(one[name], two[name], seed, resamples))}
    if not tasks:
        raise Mistake(where, "no test row in common", "Compare runs on the same table, split by the same columns")
    return {"a": str(a), "b": str(b), "tasks": tasks}


def text(comparison: Comparison, as_markdown: bool = False) -> str:
    """The comparison as a table for the terminal, or in Markdown."""
    lines = [f"a: {comparison['a']}", f"b: {comparison['b']}"]
    for name, task in comparison["tasks"].items():
        left = f", not shared: {task['only_a']:,} of a and {task['only_b']:,} of b" if task["only_a"] or task["only_b"] else ""
        table = task_table(task["metrics"], reference="a")
        lines += ["", f"{name}: {task['shared']:,} test rows{left}", "", markdown(table) if as_markdown else plain(table)]
    return "\n".join(lines)


def _alike(a: Stored, b: Stored) -> bool:
    """Whether both answered the same question; numbers below which other shares of answers lie are other numbers."""
    return a.form == b.form and (a.form != "quantiles" or a.names == b.names)


def _task(a: Stored, b: Stored, seed: int, resamples: int) -> dict[str, Any] | None:
    places_a, places_b = _shared(_identities(a), _identities(b))
    if not places_a:
        return None
    names = list(dict.fromkeys([*a.names, *b.names]))
    left, right = _take(a, places_a, names), _take(b, places_b, names)
    metrics = measure(of_form(a.form, names), {"a": left, "b": Predictions(right.y, right.p, left.rows)}, seed, resamples)
    sizes = {"shared": len(places_a), "only_a": len(a.keys) - len(places_a), "only_b": len(b.keys) - len(places_b)}
    return {"form": a.form, "metrics": metrics} | sizes


def _identities(run: Stored) -> list[tuple[str, Any, int]]:
    """Content, answer, and how many such rows came before, so that duplicates pair one to one."""
    seen: Counter[tuple[str, Any]] = Counter()
    found = []
    for key, y in zip(run.keys, run.predictions.y, strict=True):
        answer = _answer(run, y)
        found.append((key, answer, seen[key, answer]))
        seen[key, answer] += 1
    return found


def _answer(run: Stored, y: Any) -> Any:
    if run.form in ("tokens", "pixels", "pairs", "neighbours"):
        return float(y[-1])  # bytes, which no tokenizer changes, the number of hidden pixels, or of candidates of a pair or rows of a label
    if run.form == "choices" and not run.names:
        return int(y)  # the options of a row are its own
    if run.form == "ranks":
        return run.names[int(y[0])]
    if run.form in ("series", "rebuilt", "preferences", "spans", "tags"):
        return tuple(y.tolist())
    form = like(run.form)
    return run.names[int(y)] if form == "classes" else float(y) if form == "value" else _given(run.names, y)


def _given(names: Sequence[str], y: Array) -> frozenset[str]:
    return frozenset(name for name, there in zip(names, y, strict=True) if there > 0.5)


def _shared(a: list[Any], b: list[Any]) -> tuple[list[int], list[int]]:
    where = {identity: place for place, identity in enumerate(b)}
    pairs = [(i, where[identity]) for i, identity in enumerate(a) if identity in where]
    return [i for i, _ in pairs], [j for _, j in pairs]


def _take(run: Stored, places: list[int], names: list[str]) -> Predictions:
    """The rows at `places`, with the classes or labels in the order of `names`; those the run does not know have probability 0."""
    y, p = run.predictions.y[places], run.predictions.p[places]
    form = like(run.form)
    if form in ("classes", "labels") and run.names:
        columns = [names.index(name) for name in run.names]
        p = _spread(p, columns, len(names))
        y = np.array(columns)[y] if form == "classes" else _spread(y, columns, len(names))
    return Predictions(y, p, run.predictions.rows[places])


def _spread(values: Array, columns: list[int], width: int) -> Array:
    wide = np.zeros((len(values), width))
    wide[:, columns] = values
    return wide
