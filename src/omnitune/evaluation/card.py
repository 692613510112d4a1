"""Card: the README.md of an artifact, a model card that the Hugging Face hub reads."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitune import yaml_files
from omnitune.evaluation import document, synthetic
from omnitune.evaluation.tables import escape
from omnitune.nn.template import Template

if TYPE_CHECKING:
    from omnitune.evaluation.report import Report

PIPELINES = {"text-classification", "image-classification", "audio-classification", "tabular-classification", "tabular-regression"}
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")


def card(report: "Report") -> str:
    """YAML front matter with results, then use, results, data and limits. Directories of this machine are not named."""
    parts = [f"---\n{yaml_files.write(_front(report)).strip()}\n---", f"# {escape(report.name)}", _purpose(report)]
    parts += ["## Use", f"```python\n{_example(report)}\n```", "## Results", document.METHOD]
    for name, task in report.tasks.items():
        parts += [f"### {escape(name)}", *document.results(task)]
    parts += ["## Training data", *map(escape, synthetic.made(report)), *document.data(report)]
    limits = document.cautions(report) or ["No warning was raised. The figures hold for rows like the test rows, and for no others."]
    return "\n\n".join([*parts, "## Limits", *limits, "`report.html` shows calibration, confusions and the course of training."]) + "\n"


def _front(report: "Report") -> dict[str, Any]:
    bases = sorted({b for settings in report.recipe.get("inputs", {}).values() if (b := _base(settings.get("backbone")))})
    pipelines = {_question(report, task["form"]) for task in report.tasks.values()}
    front: dict[str, Any] = {"library_name": "omnitune", "tags": ["omnitune", *_kinds(report)]}
    if bases:
        front["base_model"] = bases
    if len(pipelines) == 1 and pipelines <= PIPELINES:
        front["pipeline_tag"] = next(iter(pipelines))
    results = [result for name, task in report.tasks.items() if (result := _result(report, name, task))["metrics"]]
    return front | ({"model-index": [{"name": report.name, "results": results}]} if results else {})


def _result(report: "Report", name: str, task: dict[str, Any]) -> dict[str, Any]:
    metrics = task["metrics"]
    figures = metrics["models"][metrics["subject"]]
    dataset = _dataset(report)
    return {
        "task": {"type": _question(report, task["form"]), "name": name},
        "dataset": {"type": re.sub(r"[^\w.-]+", "-", dataset), "name": dataset, "split": "test"},
        "metrics": [{"type": metric, "name": metric, "value": f["value"]} for metric, f in figures.items() if f["value"] is not None],
    }


def _purpose(report: "Report") -> str:
    inputs = ", ".join(f"{escape(name)} ({settings['kind']})" for name, settings in report.recipe.get("inputs", {}).items())
    tasks = ", ".join(f"{escape(name)} ({settings['kind']})" for name, settings in report.recipe.get("tasks", {}).items())
    return f"Reads {inputs}; answers {tasks}. Trained with omnitune."


def _example(report: "Report") -> str:
    inputs = {name: settings for name, settings in report.recipe.get("inputs", {}).items() if name != _unread(report)}
    row = {settings.get("column") or name: None for name, settings in inputs.items()}
    row |= dict.fromkeys(name for task in report.recipe.get("tasks", {}).values() for name in _named(report, task))
    filled = ", ".join(f"{name!r}: ..." for name in row)
    return f'from omnitune import load\n\nmodel = load("path/of/this/folder")\nmodel.predict([{{{filled}}}])'


def _unread(report: "Report") -> str | None:
    """See `Recipe.unread`."""
    tasks = [*report.recipe.get("tasks", {}).values()]
    names = Template(tasks[0].get("prompt") or "").names if len(tasks) == 1 else ()
    return tasks[0]["of"] if names and tasks[0]["of"] not in names else None


def _named(report: "Report", task: dict[str, Any]) -> list[str]:
    """Columns that a task's prompt names, and that are no inputs."""
    return [name for name in Template(task.get("prompt") or "").names if name not in report.recipe.get("inputs", {})]


def _question(report: "Report", form: str) -> str:
    if form == "tokens":
        asked = {task["kind"] for task in report.recipe.get("tasks", {}).values()}
        return "text-generation" if "generate" in asked else "text2text-generation" if "denoise" in asked else "fill-mask"
    if form == "spans":
        return "question-answering"
    if form == "tags":
        return "token-classification"
    if form == "preferences":
        return "text-generation"
    if form == "choices":
        return "text-classification" if any(task.get("choices") for task in report.recipe.get("tasks", {}).values()) else "multiple-choice"
    if form == "ranks":
        return "tabular-classification"  # the hub has no name for recommendation
    if form == "pixels":
        return "image-feature-extraction"
    if form in ("series", "rebuilt"):
        return "time-series-forecasting" if form == "series" else "feature-extraction"
    kinds = set(_kinds(report))
    if form in ("pairs", "neighbours"):
        return "sentence-similarity" if kinds == {"text"} else "feature-extraction"
    reads = "tabular" if kinds <= {"number", "category"} else next(iter(kinds)) if len(kinds) == 1 else "multimodal"
    return f"{reads}-{'regression' if form in ('value', 'quantiles') else 'classification'}"


def _kinds(report: "Report") -> list[str]:
    return sorted({settings["kind"] for settings in report.recipe.get("inputs", {}).values()})


def _base(backbone: Any) -> str | None:
    """A hub name; a directory or a sample is none."""
    name = backbone.get("name") if isinstance(backbone, dict) else None
    return name if name and HUB_NAME.fullmatch(name) and not name.startswith(".") and not Path(name).exists() else None


def _dataset(report: "Report") -> str:
    source = str(report.recipe.get("data", {}).get("from", "table")).partition("#")[0]
    return source if HUB_NAME.fullmatch(source) and not Path(source).exists() else Path(source).name.removeprefix("sample:") or "table"
