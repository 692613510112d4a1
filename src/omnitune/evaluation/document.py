"""Document: a report as a Markdown page."""

from typing import TYPE_CHECKING, Any

from omnitune import yaml_files
from omnitune.evaluation import synthetic, tables
from omnitune.evaluation.tables import escape, markdown

if TYPE_CHECKING:
    from omnitune.evaluation.report import Report


def document(report: "Report") -> str:
    """Tables of every task, then data, cost and how to repeat the run."""
    parts = [f"# {escape(report.name)}", METHOD, *cautions(report)]
    for name, task in report.tasks.items():
        parts += [f"## {escape(name)}", *results(task), *_alone(task), *_inputs(task), *_written(task), *_details(task["details"])]
    parts += _synthetic(report)
    parts += ["## Data", *data(report), "## Cost", markdown(tables.facts_table(report.cost, "cost") or [["cost"]])]
    if rungs := tables.rungs_table(report.cost):
        parts += ["## Rungs", markdown(rungs)]
    parts += _sharing(report)
    if report.reasons:
        parts += ["## Chosen automatically", *[f"- `{path}`: {escape(reason)}" for path, reason in report.reasons.items()]]
    parts += ["## Recipe", f"```yaml\n{yaml_files.write(report.recipe).strip()}\n```"]
    parts += ["## Versions", ", ".join(f"{name} {version}" for name, version in report.versions.items())]
    return "\n\n".join(parts) + "\n"


METHOD = (
    "All models are measured on the same test rows, which no model has learned from. Intervals hold 95 % of bootstrap resamples of these rows; "
    "differences are paired. `unclear` means that the interval of the difference holds 0."
)


def cautions(report: "Report") -> list[str]:
    """The warnings, one line each."""
    return [f"> **Warning** ({escape(caution['where'])}): {escape(caution['text'])}" for caution in report.warnings]


def results(task: dict[str, Any]) -> list[str]:
    """Before and after, and what each model is."""
    rows = f"{task['metrics']['rows']:,} test rows."
    return [rows, markdown(tables.task_table(task["metrics"])), *([markdown(tables.model_table(task["baselines"]))] if task["baselines"] else [])]


ALONE = "The same recipe with this task only, on the test rows that both have. `better` means that training with the other tasks helped."
SHARING = (
    "Measured after training on a few batches of training rows. A cosine below 0 means that two tasks pull the weights that they share against "
    "each other; `n/a` that none of these learns."
)


def _synthetic(report: "Report") -> list[str]:
    if not (words := synthetic.words(report)):
        return []
    shown = [part for name, table in tables.synthetic_tables(report).items() for part in (f"### {escape(name)}, with and without", markdown(table))]
    return ["## Synthetic rows", *map(escape, words), *shown]


def _alone(task: dict[str, Any]) -> list[str]:
    table = tables.alone_table(task)
    return ["### Alone and together", ALONE, markdown(table)] if table else []


def _sharing(report: "Report") -> list[str]:
    found = report.cost.get("sharing")
    if not found:
        return []
    shown = [markdown(table) for table in (tables.tasks_table(report.cost), tables.cosine_table(report.cost)) if table]
    return ["## Tasks together", found.get("note", SHARING), *shown]


INPUTS = (
    "The trained model on the same test rows, some inputs read as if they were missing. The last columns say what all inputs gain over that: "
    "`better` means that what is left out helps."
)


def _inputs(task: dict[str, Any]) -> list[str]:
    if "inputs" not in task:
        return []
    found = [markdown(table) for table in (tables.inputs_table(task), tables.weights_table(task)) if table]
    return ["### What each input is worth", task["inputs"].get("note", INPUTS), *found]


def _written(task: dict[str, Any]) -> list[str]:
    """What a task that writes wrote: figures, and texts."""
    if "written" not in task:
        return []
    return ["### Texts that were written", *results(task["written"]), markdown(tables.texts_table(task))]


def data(report: "Report") -> list[str]:
    """Rows a part, counts, and classes a part."""
    found = [tables.rows_table(report.data), tables.facts_table(report.data, "data")]
    found += [tables.counts_table(counts, name) for name, counts in report.data.get("classes", {}).items()]
    return [markdown(table) for table in found if table]


def _details(details: dict[str, Any]) -> list[str]:
    found = {
        "Classes": tables.class_table(details),
        "Calibration": tables.calibration_table(details),
        "Quantiles": tables.level_table(details),
        "Residuals": tables.residual_table(details),
        "Rows with the highest loss": tables.worst_table(details),
    }
    return [part for title, table in found.items() if table for part in (f"### {title}", markdown(table))]
