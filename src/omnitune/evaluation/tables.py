"""Tables: figures as text for terminals, Markdown and HTML."""

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from omnitune.evaluation.measure import Figure, verdict

if TYPE_CHECKING:
    from omnitune.evaluation.report import Report

Table = list[list[str]]
"""Rows of cells, the header first."""
INTERVAL = "95 % interval"
FIGURES = re.compile(r"(n/a|[+-]?[\d.,]+(e[+-]?\d+)?%?)?( \[.*\])?", re.DOTALL)
"""A number, one with its interval, or none."""


def figure(value: float | None) -> str:
    """A number with about three digits that matter; `n/a` where it is undefined."""
    if value is None:
        return "n/a"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}" if size < 1e7 else f"{value:.4g}"
    if size >= 10:
        return f"{value:.1f}" if size >= 100 else f"{value:.2f}"
    return f"{value:.3f}" if size >= 0.001 or not size else f"{value:.1g}"


def interval(of: Figure, sign: bool = False) -> str:
    """`0.912 [0.897, 0.926]`, with `sign` also a plus."""
    value, low, high = (("+" if sign and v is not None and v > 0 else "") + figure(v) for v in (of["value"], of["low"], of["high"]))
    return value if of["low"] is None else f"{value} [{low}, {high}]"


def reference_of(metrics: Mapping[str, Any]) -> str | None:
    """What the subject is compared with first: the model before training, else the simple one, else a constant."""
    return next((model for model in ("before", "simple", "constant") if model in metrics["differences"]), None)


def task_table(metrics: Mapping[str, Any], reference: str | None = None) -> Table:
    """One row a metric: every model, the subject and its difference from `reference` with intervals, and what that says.

    Args:
        metrics: from `measure`.
        reference: model of the difference shown; see `reference_of`.
    """
    reference = reference or reference_of(metrics)
    subject, others = metrics["subject"], [model for model in metrics["models"] if model != metrics["subject"]]
    table = [["metric", *others, f"{subject} [{INTERVAL}]", *([f"{subject} - {reference} [{INTERVAL}]", ""] if reference else [])]]
    for name, higher in metrics["higher"].items():
        row = [name, *(figure(metrics["models"][model][name]["value"]) for model in others), interval(metrics["models"][subject][name])]
        if reference:
            difference = metrics["differences"][reference][name]
            row += [interval(difference, sign=True), verdict(difference, higher)]
        table.append(row)
    return table


def plain(table: Table) -> str:
    """Aligned columns for a terminal: numbers to the right; to the left the first column and those without a title."""
    header = table[0]
    widths = [max(_width(row[i]) for row in table) for i in range(len(header))]
    lines = ["  ".join(_pad(cell, width, i == 0 or not header[i]) for i, (cell, width) in enumerate(zip(row, widths, strict=True))) for row in table]
    return "\n".join(line.rstrip() for line in [lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(table: Table) -> str:
    """A Markdown table, its cells escaped; columns of figures stand to the right, all others and the first to the left."""
    rows = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in table]
    right = [i > 0 and all(FIGURES.fullmatch(row[i]) for row in table[1:]) for i in range(len(table[0]))]
    return "\n".join([rows[0], "|" + "|".join(" ---: " if one else " --- " for one in right) + "|", *rows[1:]])


def escape(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace("](", "]\\(")
    return "".join(f"\\{c}" if c in "|`*" else c for c in line)


def _pad(text: str, width: int, left: bool) -> str:
    space = " " * (width - _width(text))
    return text + space if left else space + text


def _width(text: str) -> int:
    """Columns of a terminal that `text` takes: two for wide characters, none for combining ones."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


# Tables of a report


def model_table(baselines: Mapping[str, str]) -> Table:
    """What each model is."""
    return [["model", "what it is"], *([model, words] for model, words in baselines.items())]


def class_table(details: Mapping[str, Any]) -> Table:
    """Precision, recall, F1 and support of every class, and their averages; empty for values."""
    if "classes" not in details:
        return []
    keys = ("precision", "recall", "f1")
    rows = [*((c["name"], c) for c in details["classes"]), *((f"{name} average", a) for name, a in details["averages"].items())]
    return [["class", *keys, "support"], *([name, *(figure(of[key]) for key in keys), f"{of['support']:,}"] for name, of in rows)]


def calibration_table(details: Mapping[str, Any]) -> Table:
    """Calibration error as trained and with the temperature; empty for values."""
    found = details.get("calibration")
    if not found:
        return []
    rows = [["probabilities", "expected calibration error"], ["as trained", figure(found["before"]["ece"])]]
    return [*rows, [f"at temperature {figure(found['temperature'])}", figure(found["after"]["ece"])]] if found["after"] else rows


def level_table(details: Mapping[str, Any]) -> Table:
    """What share of the rows lies below each number; empty but for quantiles."""
    found = details.get("levels", ())
    return [["quantile", "rows below it"], *([figure(of["level"]), figure(of["below"])] for of in found)] if found else []


def residual_table(details: Mapping[str, Any]) -> Table:
    """Mean, spread and quantiles of predicted minus true; empty for classes and labels."""
    found = details.get("residuals")
    if not found:
        return []
    quantiles = [[f"{share} % quantile", figure(value)] for share, value in found["quantiles"].items()]
    return [["predicted minus true", "value"], ["mean", figure(found["mean"])], ["standard deviation", figure(found["std"])], *quantiles]


def worst_table(details: Mapping[str, Any]) -> Table:
    """The rows with the highest loss, counted from 1."""
    rows = [[f"{row['row'] + 1:,}", _answer(row["true"]), _answer(row["said"]), figure(row["loss"])] for row in details.get("worst", [])]
    return [["row", "true", "predicted", "loss"], *rows] if rows else []


def facts_table(facts: Mapping[str, Any], title: str) -> Table:
    """Plain facts, one a row: sizes in MB, times in minutes, counts with commas."""
    rows = [[key.removesuffix("_bytes").replace("_", " "), _fact(key, value)] for key, value in facts.items() if not isinstance(value, (dict, list))]
    return [[title, ""], *rows] if rows else []


def inputs_table(task: Mapping[str, Any]) -> Table:
    """What each input is worth to a task: a row for all inputs, and one for each of those that were measured with less; empty where none was."""
    metrics = task.get("inputs", {}).get("metrics")
    if not metrics:
        return []
    subject, higher = metrics["subject"], metrics["higher"]
    table = [["what is read", *(title for name in higher for title in (f"{name} [{INTERVAL}]", f"all - this [{INTERVAL}]", ""))]]
    for reads in [subject, *metrics["differences"]]:
        row = [reads]
        for name in higher:
            difference = metrics["differences"].get(reads, {}).get(name)
            row.append(interval(metrics["models"][reads][name]))
            row += [interval(difference, sign=True), verdict(difference, higher[name])] if difference else ["", ""]
        table.append(row)
    return table


def texts_table(task: Mapping[str, Any]) -> Table:
    """What was written for some test rows, a line a model; empty where nothing was."""
    rows = [
        [str(number) if not i else "", model, text]
        for number, example in enumerate(task.get("written", {}).get("examples", []), 1)
        for i, (model, text) in enumerate(example.items())
    ]
    return [["row", "", "text"], *rows] if rows else []


def weights_table(task: Mapping[str, Any]) -> Table:
    """How much the fusion counts each input, on average over the test rows; empty where it does not weigh them."""
    rows = [[name, interval(weight)] for name, weight in task.get("inputs", {}).get("weights", {}).items()]
    return [["input", f"mean weight [{INTERVAL}]"], *rows] if rows else []


def rungs_table(cost: Mapping[str, Any]) -> Table:
    """What each rung of `tuning: auto` took and reached on the validation rows; empty for other runs."""
    rungs = cost.get("rungs", [])
    names = list(dict.fromkeys(name for rung in rungs for name in _main(rung.get("validation") or {})))
    rows = []
    for rung in rungs:
        found, took = rung.get("validation") or {}, "seconds" in rung
        figures = [figure(found.get(name)) if took else "" for name in names]
        rows.append([rung["rung"], f"{rung['seconds']:.0f} s" if took else "", figure(rung["epochs"]) if took else "", *figures, rung["result"]])
    return [["rung", "done after", "epochs", *(f"validation {name}" for name in names), "result"], *rows] if rows else []


def tasks_table(cost: Mapping[str, Any]) -> Table:
    """What each of several tasks cost; empty where that was not measured."""
    found = cost.get("sharing", {})
    if "tasks" not in found:
        return []
    rows = [[f"head of {name}", figure(of["milliseconds"]), f"{of['share']:.1%}"] for name, of in found["tasks"].items()]
    rest = 1 - sum(of["share"] for of in found["tasks"].values())
    return [["a step", "milliseconds a row", "share"], ["read once for all tasks", figure(found["shared"]), f"{rest:.1%}"], *rows]


def cosine_table(cost: Mapping[str, Any]) -> Table:
    """Whether tasks pull shared weights the same way; empty where that was not measured."""
    rows = [[of["a"], of["b"], figure(of["value"])] for of in cost.get("sharing", {}).get("cosine", [])]
    return [["task", "and task", "cosine of their gradients"], *rows] if rows else []


def alone_table(task: Mapping[str, Any]) -> Table:
    """A task trained with the others against the same trained alone; empty where that was not asked for."""
    return task_table(task["alone"]["metrics"], "alone") if "alone" in task else []


def synthetic_tables(report: "Report") -> dict[str, Table]:
    """By task, training with synthetic rows against the run that filtered them; empty where that was not measured."""
    return {name: task_table(task["synthetic"]["metrics"], "without") for name, task in report.tasks.items() if "synthetic" in task}


def _main(validation: Mapping[str, Any]) -> list[str]:
    """Loss, and the first metric of every task."""
    first: dict[str, str] = {}
    for name in validation:
        first.setdefault(name.partition(".")[0], name)
    return list(first.values())


def counts_table(counts: Mapping[str, Mapping[str, int]], title: str) -> Table:
    """Rows by class (down) and part (across), the first thirty classes."""
    names = list(dict.fromkeys(name for part in counts.values() for name in part))
    rows = [[name, *(f"{part.get(name, 0):,}" for part in counts.values())] for name in names[:30]]
    return [[title, *counts], *rows, *([[f"and {len(names) - 30:,} more", *([""] * len(counts))]] if len(names) > 30 else [])]


def rows_table(data: Mapping[str, Any]) -> Table:
    """Rows of each part; of pieces also their documents and tokens, of several tables those of each, and how many a model wrote."""
    counts = {name: data[name] for name in ("documents", "tokens", "rows") if name in data}
    counts |= {f"rows of {name}": of for name, of in data.get("tables", {}).items()}
    counts |= {"synthetic rows": data["synthetic"]["rows"]} if "synthetic" in data else {}
    return counts_table({part: {name: of[part] for name, of in counts.items()} for part in data["rows"]}, "part")


def _answer(value: float | str) -> str:
    return figure(value) if isinstance(value, float) else value or "nothing"


def _fact(key: str, value: Any) -> str:
    if value is None:
        return "n/a"
    if key.endswith("_bytes"):
        return f"{value / 1e6:,.0f} MB"
    if key == "seconds":
        return f"{int(value // 60)} min {value % 60:.0f} s" if value >= 60 else f"{value:.1f} s"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else figure(value)
