"""The page of the history: tables from the runs that are there."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitune.evaluation.report import Report

T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Two-sided 95 % points of Student's t for so many seeds."""
PARTS = ("pretrained", "timed", "tuned", "scratch")


@dataclass(frozen=True)
class Seed:
    """The reports of a model and a seed, and what was measured besides (`history_measured`)."""

    pretrained: Report
    timed: Report
    tuned: Report
    scratch: Report
    measured: dict[str, Any]


Found = dict[str, list[Seed]]


def collect(folder: Path, models: Sequence[str]) -> Found:
    """By model, every seed that is whole."""
    found: Found = {}
    for name in models:
        for seed in sorted((folder / name).glob("*"), key=lambda path: int(path.name)):
            if (seed / "measured.json").exists() and all((seed / part / "lineage.json").exists() for part in PARTS):
                measured = json.loads((seed / "measured.json").read_text(encoding="utf-8"))
                found.setdefault(name, []).append(Seed(*(Report.read(seed / part) for part in PARTS), measured))
    return found


def page(found: Found, entries: Mapping[str, Any], size: Any, metrics: Mapping[str, str], figures: Mapping[str, str]) -> str:
    """Markdown; `figures` are the files that stand beside it, by name."""
    seeds = sorted({len(seeds) for seeds in found.values()})
    slower = ", ".join(f"{name} {size.lr * entry.rate:g}" for name, entry in entries.items() if entry.rate != 1)
    several = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return "\n".join([
        "# The history of GPT, measured", "", "Made by `make history`; do not edit.", "",
        f"{size.documents:,} documents of `{size.text}`, less those held out, are read by every model: {size.depth} blocks, width about "
        f"{size.width}, {size.context} tokens at once, a tokenizer of {size.vocabulary:,} learned from the same text, batches of {size.batch} full "
        f"rows, rate {size.lr:g} ({slower}), {several} seeds (of order and weights). Means over them have 95 % t-intervals.", "",
        *pretraining(found, entries, size.minutes, figures), "", *memory(found, size.context, figures), *downstream(found, metrics), "",
        *cautions(), "",
    ])  # fmt: skip


def pretraining(found: Found, entries: Mapping[str, Any], minutes: float, figures: Mapping[str, str]) -> list[str]:
    """The table of language modelling."""
    lines = [
        f"| model | paper | weights | bytes read | bits per byte, same bytes | minutes | bits per byte, {minutes:g} minutes "
        f"| words right, same bytes | words right, {minutes:g} minutes |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, seeds in found.items():
        masked = entries[name].task == "masked_text"
        reports = [[getattr(seed, part) for seed in seeds] for part in PARTS[:2]]
        right = [[told(report, "accuracy") for report in part] for part in reports]
        once, timed = ("not comparable" if masked else mean([told(report, "bits_per_byte") for report in part]) for part in reports)
        weights = statistics.mean(seed.pretrained.cost["parameters_total"] for seed in seeds) / 1e6
        spent = statistics.mean(seed.pretrained.curves[-1]["seconds"] for seed in seeds) / 60
        of = " of hidden ones" if masked else ""
        lines.append(
            f"| {name} | {entries[name].paper} | {weights:.2f} M | {seeds[0].measured['bytes']:,} | {once} | {spent:.1f} | {timed} "
            f"| {mean(right[0])}{of} | {mean(right[1])}{of} |"
        )
    picture = ["", f"![validation bits per byte over seconds, same bytes]({figures['curves']})"] if "curves" in figures else []
    return ["## What they know of text", "", *lines, *picture]


def told(report: Report, metric: str) -> float:
    """Of the trained model."""
    return float(report.tasks["language"]["metrics"]["models"]["after"][metric]["value"])


def memory(found: Found, segment: int, figures: Mapping[str, str]) -> list[str]:
    """What a memory is worth by its length, of models that have one."""
    made = []
    for name, seeds in found.items():
        if "memory" not in seeds[0].measured:
            continue
        first = seeds[0].measured
        lines = ["| tokens of the memory | bits per byte | less than without |", "|---|---|---|"]
        for length in first["memory"]:
            values = [seed.measured["memory"][length] for seed in seeds]
            lines.append(f"| {length} | {mean(values)} | {mean([seed.measured['memory']['0'] - v for seed, v in zip(seeds, values, strict=True)])} |")
        made += [
            f"## What {name} makes of what came before its segment", "",
            f"On the {first['documents']} longest held-out documents, of {first['tokens']:,} tokens or more; segments of {segment} tokens, and as "
            "many of memory in training. Differences are taken seed by seed.", "", *lines, "", f"![bits per byte by memory]({figures['memory']})", "",
        ]  # fmt: skip
    return made


def downstream(found: Found, metrics: Mapping[str, str]) -> list[str]:
    """The table of two labelled tasks."""
    kinds = ("from scratch", "linear probe", "fine-tuned", "gain of pre-training")
    lines = [f"| model | {' | '.join(f'{task}: {kind}' for task in metrics for kind in kinds)} |", "|" + "---|" * (1 + len(kinds) * len(metrics))]
    for name, seeds in found.items():
        cells = []
        for task, metric in metrics.items():
            scratch, probe, tuned = (
                [getattr(seed, part).tasks[task]["metrics"]["models"][model][metric]["value"] for seed in seeds]
                for part, model in (("scratch", "after"), ("tuned", "before"), ("tuned", "after"))
            )
            gain = [after - before for after, before in zip(tuned, scratch, strict=True)]
            cells += [mean(scratch), mean(probe), mean(tuned), mean(gain, sign="+")]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    measured = ", ".join(f"{metric} of `{task}`" for task, metric in metrics.items())
    about = (
        f"{measured}; every weight learns in three epochs, once from nothing and once from the run on the same bytes. The gain is fine-tuned less "
    )
    return ["## What it is worth on labelled reviews", "", about + "from scratch, seed by seed.", "", *lines]


def cautions() -> list[str]:
    """What the figures do not say."""
    return [
        "## What these figures do not say", "",
        "- Small models and little text: at published sizes the order may be another. `--size gpt2` has the sizes for a GPU; it was not run here.",
        "- BERT sees both sides of a hidden word: its accuracy is not that of a model that reads from left to right, and it has no bits per byte.",
        "- From nothing, a tokenizer is learned from the reviews; what is fine-tuned keeps that of the text without labels.",
        "- Intervals are over seeds, on the same held-out documents: they do not say how another text would turn out.",
        "- Machines that other programs use too: what is learned in the same minutes is a lower bound then.",
    ]  # fmt: skip


def half_width(values: Sequence[float]) -> float | None:
    """Of the 95 % interval of the mean; None of one value."""
    if len(values) < 2:
        return None
    return T.get(len(values), 1.96) * statistics.stdev(values) / math.sqrt(len(values))


def mean(values: Sequence[float], sign: str = "") -> str:
    """With its interval, where there are several."""
    middle, half = statistics.fmean(values), half_width(values)
    return f"{middle:{sign}.3f}" if half is None else f"{middle:{sign}.3f} ± {half:.3f}"
