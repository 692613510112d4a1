"""The page of the history: figures and plots from the runs that are there."""

import io
import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from omnitune.evaluation.report import Report

T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Two-sided 95 % points of Student's t for so many seeds."""
COLORS = ("#b8bcc8", "#e0a030", "#2a9d8f", "#5b8fd0", "#4338ca", "#c2410c")
Found = dict[str, list[dict[str, Report]]]


def collect(folder: Path, models: Sequence[str]) -> Found:
    """By model, the reports of every seed that is whole: `pretrained`, `tuned`, `scratch`."""
    found: Found = {}
    for name in models:
        for seed in sorted((folder / name).glob("*"), key=lambda path: int(path.name)):
            parts = {part: seed / part for part in ("pretrained", "tuned", "scratch")}
            if all((path / "lineage.json").exists() for path in parts.values()):
                found.setdefault(name, []).append({part: Report.read(path) for part, path in parts.items()})
    return found


def page(found: Found, entries: Mapping[str, Any], size: Any, documents: int, metrics: Mapping[str, str]) -> str:
    """Markdown; the plot of `curves` stands beside it as history.svg."""
    least = min(min(report["pretrained"].curves[-1]["seconds"] for report in reports) for reports in found.values())
    seeds = max(len(reports) for reports in found.values())
    return "\n".join([
        "# The history of GPT, measured", "", "Made by `make history`; do not edit.", "",
        f"{documents} pages of the sample cmake-manual are read once by every model: {size.depth} blocks, width about {size.width}, "
        f"{size.context} tokens at once, a tokenizer of {size.vocabulary:,} learned from the same text, batches of {size.batch} full rows, rate "
        f"{size.lr:g}, {seeds} seeds (of order and weights). Figures are means over seeds with 95 % t-intervals of the mean.", "",
        *pretraining(found, entries, least), "", *downstream(found, metrics), "", *cautions(), "",
    ])  # fmt: skip


def pretraining(found: Found, entries: Mapping[str, Any], least: float) -> list[str]:
    """The table of language modelling."""
    lines = [
        f"| model | paper | weights | bits per byte, same bytes | validation bits per byte at {least:.0f} s | right | rows a second | minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, reports in found.items():
        whole = [each["pretrained"] for each in reports]
        after = [report.tasks["language"]["metrics"]["models"]["after"] for report in whole]
        masked = entries[name].task == "masked_text"
        bits = "not comparable" if masked else mean([each["bits_per_byte"]["value"] for each in after])
        early = "" if masked else mean([at(report.curves, "language.bits_per_byte", least) for report in whole])
        right = mean([each["accuracy"]["value"] for each in after]) + (" of hidden ones" if masked else "")
        weights = statistics.mean(report.cost["parameters_total"] for report in whole)
        speed = statistics.mean(report.cost["rows_per_second"] for report in whole)
        minutes = statistics.mean(report.curves[-1]["seconds"] for report in whole) / 60
        lines.append(f"| {name} | {entries[name].paper} | {weights / 1e6:.2f} M | {bits} | {early} | {right} | {speed:,.0f} | {minutes:.1f} |")
    return ["## What they know of text", "", *lines, "", "![validation bits per byte over seconds](history.svg)"]


def downstream(found: Found, metrics: Mapping[str, str]) -> list[str]:
    """The table of two labelled tasks."""
    heads = [f"{task}: {kind}" for task in metrics for kind in ("from scratch", "linear probe", "fine-tuned")]
    lines = [f"| model | {' | '.join(heads)} |", "|" + "---|" * (1 + len(heads))]
    for name, reports in found.items():
        cells = []
        for task, metric in metrics.items():
            for part, model in (("scratch", "after"), ("tuned", "before"), ("tuned", "after")):
                cells.append(mean([each[part].tasks[task]["metrics"]["models"][model][metric]["value"] for each in reports]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    told = ", ".join(f"{metric} of `{task}`" for task, metric in metrics.items())
    return [
        "## What it is worth on labelled reviews",
        "",
        f"{told}; every weight learns in three epochs, once from nothing and once from the run above.",
        "",
        *lines,
    ]


def cautions() -> list[str]:
    """What the figures do not say."""
    return [
        "## What these figures do not say", "",
        "- Small models and little text: at published sizes the order may be another. `--size gpt2` has the sizes for a GPU; it was not run here.",
        "- BERT sees both sides of a hidden word: its accuracy is not that of a model that reads from left to right, and it has no bits per byte.",
        "- The figures at equal seconds are read from the validation curve of the same run, whose rate has not yet fallen to its end there.",
        "- Machines that other programs use too: seconds are upper bounds.",
    ]  # fmt: skip


def at(curve: Sequence[Mapping[str, Any]], name: str, seconds: float) -> float:
    """A validation figure at this second, between the rounds before and after it."""
    points = [(step["seconds"], step["validation"][name]) for step in curve if step.get("validation")]
    for (earlier, before), (later, after) in pairwise(points):
        if earlier <= seconds <= later:
            return float(before + (after - before) * (seconds - earlier) / (later - earlier))
    return float(points[-1][1] if seconds > points[-1][0] else points[0][1])


def mean(values: Sequence[float]) -> str:
    """With its interval, where there are several."""
    middle = statistics.fmean(values)
    if len(values) < 2:
        return f"{middle:.3f}"
    return f"{middle:.3f} ± {T.get(len(values), 1.96) * statistics.stdev(values) / math.sqrt(len(values)):.3f}"


def curves(found: Found, entries: Mapping[str, Any]) -> str:
    """Validation bits per byte over seconds, a line a seed, as one `<svg>`."""
    import matplotlib
    from matplotlib.figure import Figure

    from omnitune.evaluation.plots import STYLE

    out = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "history"}):
        whole = Figure(figsize=(7, 3.6), layout="constrained")
        panel = whole.subplots()
        for color, (name, reports) in zip(COLORS, found.items(), strict=False):
            for i, report in enumerate(each["pretrained"] for each in reports if entries[name].task == "generate"):
                points = [(s["seconds"], s["validation"]["language.bits_per_byte"]) for s in report.curves if s.get("validation")]
                panel.plot(*zip(*points, strict=True), color=color, linewidth=1.2, label=None if i else name)
        panel.set(xlabel="seconds of training", title="validation bits per byte")
        panel.legend(fontsize=8)
        whole.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return out.getvalue()
