"""Page: a report as one HTML file that needs nothing else: no script, no font, no network."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitune import yaml_files
from omnitune.evaluation import document, plots, synthetic, tables
from omnitune.evaluation.measure import verdict

if TYPE_CHECKING:
    from jinja2 import Template

    from omnitune.evaluation.report import Report

TEMPLATE = Path(__file__).with_name("report.html.j2")


def page(report: "Report") -> str:
    """The page; names and texts from the data are escaped."""
    sections = [_section(report, i, name, task) for i, (name, task) in enumerate(report.tasks.items())]
    rows = tables.rows_table(report.data)
    classes = [tables.counts_table(counts, name) for name, counts in report.data.get("classes", {}).items()]
    return _template().render(
        report=report,
        method=document.METHOD.replace("`", ""),
        sections=sections,
        curves=plots.curves(report.curves, "curves"),
        climbs=[plot for i, (name, task) in enumerate(report.tasks.items()) if (plot := _climb(report, name, task, f"task{i}-climb"))],
        alone=document.ALONE.replace("`", ""),
        rungs=tables.rungs_table(report.cost),
        sharing=_sharing(report),
        synthetic={"words": synthetic.words(report), "tables": tables.synthetic_tables(report)},
        data=[table for table in (rows, tables.facts_table(report.data, "data"), *classes) if table],
        cost=tables.facts_table(report.cost, "cost"),
        recipe=yaml_files.write(report.recipe),
    )


def _section(report: "Report", number: int, name: str, task: dict[str, Any]) -> dict[str, Any]:
    """What the template shows of one task."""
    details, metrics, salt = task["details"], task["metrics"], f"task{number}"
    found = [plots.scores(report.curves, name, list(metrics["higher"]), f"{salt}-scores")]
    if details.get("confusion"):
        found.append(plots.confusion(details["confusion"], [c["name"] for c in details["classes"]], f"{salt}-confusion"))
    if details.get("calibration"):
        found.append(plots.reliability(details["calibration"], f"{salt}-reliability"))
    if details.get("points"):
        found.append(plots.scatter(details["points"], f"{salt}-scatter"))
    shown = {
        "Classes": tables.class_table(details),
        "Calibration": tables.calibration_table(details),
        "Quantiles": tables.level_table(details),
        "Residuals": tables.residual_table(details),
        "Rows with the highest loss": tables.worst_table(details),
    }
    return {
        "name": name,
        "rows": metrics["rows"],
        "headline": _headline(metrics),
        "results": tables.task_table(metrics),
        "models": tables.model_table(task["baselines"]) if task["baselines"] else [],
        "bars": plots.bars(metrics, f"{salt}-bars"),
        "alone": tables.alone_table(task),
        "inputs": _inputs(task, salt),
        "written": _written(task, salt),
        "plots": [plot for plot in found if plot],
        "details": {title: table for title, table in shown.items() if table},
    }


def _inputs(task: dict[str, Any], salt: str) -> dict[str, Any]:
    """What each input is worth; empty where that was not asked."""
    told = task.get("inputs", {})
    if not told:
        return {}
    shown = [table for table in (tables.inputs_table(task), tables.weights_table(task)) if table]
    bars = plots.bars(told["metrics"], f"{salt}-inputs") if "metrics" in told else ""
    return {"words": told.get("note", document.INPUTS.replace("`", "")), "tables": shown, "bars": bars}


def _written(task: dict[str, Any], salt: str) -> dict[str, Any]:
    """What a task that writes wrote; empty for others."""
    part = task.get("written")
    if not part:
        return {}
    shown = [tables.task_table(part["metrics"]), tables.model_table(part["baselines"]), tables.texts_table(task)]
    return {"rows": part["metrics"]["rows"], "tables": shown, "bars": plots.bars(part["metrics"], f"{salt}-written")}


def _sharing(report: "Report") -> dict[str, Any]:
    """What tasks cost each and how their gradients stand to each other; empty for one task."""
    found = report.cost.get("sharing", {})
    shown = [table for table in (tables.tasks_table(report.cost), tables.cosine_table(report.cost)) if table]
    return {"words": found.get("note", document.SHARING.replace("`", "")), "tables": shown} if found else {}


def _climb(report: "Report", name: str, task: dict[str, Any], salt: str) -> str:
    """The first metric of a task against time."""
    metric, higher = next(iter(task["metrics"]["higher"].items()))
    return plots.climb(report.curves, report.cost.get("rungs", []), name, metric, higher, salt)


def _headline(metrics: dict[str, Any]) -> dict[str, str]:
    """The first metric of the trained model, and what it gained."""
    name, reference = next(iter(metrics["higher"])), tables.reference_of(metrics)
    found = {"metric": name, "value": tables.interval(metrics["models"][metrics["subject"]][name]), "gain": "", "verdict": ""}
    if reference:
        difference = metrics["differences"][reference][name]
        found["gain"] = f"{tables.interval(difference, sign=True)} over {reference}"
        found["verdict"] = verdict(difference, metrics["higher"][name])
    return found


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    house = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return house.from_string(TEMPLATE.read_text(encoding="utf-8"))
