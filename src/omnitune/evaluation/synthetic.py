"""Synthetic: what a report says of training rows that a model wrote, and whether they helped, against the run that filtered them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omnitune import yaml_files
from omnitune.errors import Mistake
from omnitune.evaluation.cautions import Caution, caution
from omnitune.evaluation.compare import compare
from omnitune.evaluation.report import Report

if TYPE_CHECKING:
    from omnitune.data.prepared import Prepared

Facts = dict[str, Any]


def facts(prepared: "Prepared") -> Facts:
    """`synthetic`: `rows` by part, counted in the parts as they are; `left_out`, rows that say what a validation or test row says; `file`, its name;
    and what that says of itself (see `data.synthetic.about`). Empty where a model wrote no row."""
    from omnitune.data.synthetic import Augmented, about

    source = prepared.source
    if not isinstance(source, Augmented):
        return {}
    rows = {part: int((numbers >= len(source.own)).sum()) for part, numbers in prepared.sources().items()}
    return {"synthetic": about(source.written) | {"rows": rows, "left_out": prepared.copies, "file": source.written.name}}


def doubts(data: Facts) -> Iterator[Caution]:
    """`synthetic`: not all that taught was written by people."""
    if "synthetic" in data:
        found = data["synthetic"]
        wrote = f"{found['rows']['train']:,} of {_training(data):,} training rows were written by a model"
        doubt = f" {found['doubt']}." if found.get("doubt") else ""
        rivals = "the constant, the simple model and a probe before training learn from the others"
        yield caution("synthetic", "data.synthetic", f"{wrote}; {rivals}.{doubt}")


def compared(report: Report, folder: Path) -> Report:
    """The report of the run in `folder` with each task beside that of the run that filtered its synthetic rows, on the test rows that both have,
    paired; or with why that could not be. Itself where a model wrote no row."""
    found = report.data.get("synthetic")
    if found is None:
        return report
    try:
        run = _filtered(found)
        tasks, beside = compare(run, folder)["tasks"], _beside(report, run)
    except Mistake as mistake:
        return _noting(report, f"Whether they helped was not measured: {mistake}")
    mine = {name: report.tasks[name] | {"synthetic": _between(of)} for name, of in tasks.items() if name in report.tasks}
    return _noting(replace(report, tasks=dict(report.tasks) | mine), beside)


def words(report: Report) -> list[str]:
    """Paragraphs for a report: where its synthetic rows come from, and what they are compared with; none where there are none."""
    found = report.data.get("synthetic", {})
    return [*made(report), *([found["note"]] if "note" in found else [])]


def made(report: Report) -> list[str]:
    """Where synthetic rows come from, in words without a folder of this machine."""
    found = report.data.get("synthetic")
    if found is None:
        return []
    rows, total = found["rows"], _training(report.data)
    by = (
        f" by {Path(found['writer']).name} ({found['way']}), and kept by {Path(found['run']).name}"
        if {"writer", "way", "run"} <= found.keys()
        else ""
    )
    held = f"Of validation rows {rows['validation']:,} are synthetic, of test rows {rows['test']:,}."
    left = f" {found['left_out']:,} were left out, since they say what a validation or test row says." if found["left_out"] else ""
    return [f"{rows['train']:,} of {total:,} training rows were written{by}. {held}{left} The rivals learn from the other rows alone."]


def _training(data: Facts) -> int:
    """Training rows of the source."""
    rows: dict[str, int] = data["documents"] if "documents" in data else data["rows"]
    return rows["train"]


def _filtered(found: Facts) -> Path:
    """The folder of the run that filtered. Raises `Mistake` where that is not known, or another run stands there."""
    if "run" not in found:
        raise Mistake(found["file"], "does not say which run filtered it", "Compare runs by `omnitune compare`")
    folder = Path(found["run"])
    try:
        lineage = json.loads((folder / "lineage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise Mistake(folder.name, "the run that filtered them is not there any more") from None
    if lineage.get("recipe") != found.get("recipe"):
        raise Mistake(folder.name, "is another run than the one that filtered them")
    return folder


def _between(of: Mapping[str, Any]) -> Facts:
    """One task of a comparison, its models by what they learned from."""
    found = of["metrics"]
    models = {"without": found["models"]["a"], "with": found["models"]["b"]}
    metrics = found | {"models": models, "differences": {"without": found["differences"]["a"]}, "subject": "with"}
    return {"metrics": metrics} | {key: of[key] for key in ("shared", "only_a", "only_b")}


def _beside(report: Report, run: Path) -> str:
    """What must be known beside the figures."""
    steps = f"{report.cost['steps']:,} steps against {Report.read(run).cost['steps']:,}"
    differ = _differing(yaml_files.read(run / "recipe.yaml"), report.recipe)
    other = f" The recipes also differ in {', '.join(differ)}, so the difference is not of these rows alone." if differ else ""
    paired = "Compared with that run, which learned without them, on the test rows that both have; better means that they helped"
    return f"{paired}. It is one run of each ({steps}): another seed may say otherwise.{other}"


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Parts of two recipes that differ, but for what is expected of them and the synthetic rows."""
    plain = [
        {**recipe, "data": {k: v for k, v in recipe["data"].items() if k != "synthetic"}, "expect": None, "parent": None} for recipe in (one, other)
    ]
    return sorted(part for part in plain[0].keys() | plain[1].keys() if plain[0].get(part) != plain[1].get(part))


def _noting(report: Report, note: str) -> Report:
    return replace(report, data=dict(report.data) | {"synthetic": report.data["synthetic"] | {"note": note}})
