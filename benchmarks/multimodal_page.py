"""The multimodal benchmark as Markdown: a table a part, what sets the first side apart from the others, what was chosen, and what is unfair."""

from collections.abc import Mapping
from typing import Any

Record = dict[str, Any]
LOWER = ("mae", "rmse")
"""Figures of which less is better."""
SHARED = "Other programs used the machine too: seconds of the processor (cpu) leave out the time that they took, figures do not depend on it."


def page(whole: Record) -> str:
    """All parts."""
    versions = ", ".join(f"{name} {number}" for name, number in whole["versions"].items())
    lines = ["# Multimodal tables", "", f"`make bench-multimodal`. {whole['machine']}; {versions}. {SHARED}", ""]
    return "\n".join([*lines, *(line for part in whole["parts"].values() for line in section(part))])


def section(part: Record) -> list[str]:
    """One part."""
    lines = [f"## {part['title']}", "", part["about"], "", *table(part), ""]
    if any(side.get("against") for side in part["sides"].values()):
        lines += ["How much more the first has than each other one, over test rows (95 %; means over seeds, so it says nothing of other seeds):", ""]
        lines += [*against(part), ""]
    lines += [f"Not run: {words}: {why}.\n" for words, why in part["lacking"].items()]
    notes = [f"- {words}: {'; '.join(side['notes'])}" for words, side in part["sides"].items() if side["notes"]]
    lines += ["What was chosen, or of which version:", "", *notes, ""] if notes else []
    return [*lines, "What is unfair:", "", *(f"- {line}" for line in part["unfair"]), ""]


def table(part: Record) -> list[str]:
    """A line a side: mean and range over cases; the best mean of a figure in bold, unless sides were asked about different rows."""
    sides = part["sides"].values()
    names = list(next(iter(sides))["figures"])
    means = {name: [side["figures"][name]["mean"] for side in sides] for name in names}
    alike = part["paired"] or len({tuple(side["cases"]) for side in sides}) == 1
    best = {name: (min if name.endswith(LOWER) else max)(of) if alike else None for name, of in means.items()}
    lines = [f"| | {' | '.join(names)} | {part['cases']} | seconds (cpu) |", "|---|" + "---|" * (len(names) + 2)]
    for words, side in part["sides"].items():
        cells = [cell(side["figures"][name], len(side["cases"]), best[name]) for name in names]
        took = f"{side['seconds']:,.0f} ({side['cpu']:,.0f})" if side["seconds"] else ""
        lines.append(f"| {words} | {' | '.join(cells)} | {', '.join(side['cases'])} | {took} |")
    return lines


def cell(figure: Mapping[str, float], cases: int, best: float | None) -> str:
    """Mean and range of a figure."""
    mean = f"{figure['mean']:.3f}"
    mean = f"**{mean}**" if figure["mean"] == best else mean
    return mean + (f" ({figure['min']:.3f} to {figure['max']:.3f})" if cases > 1 else "")


def against(part: Record) -> list[str]:
    """A line a side: how much more the first one has."""
    compared = {words: side["against"] for words, side in part["sides"].items() if side.get("against")}
    names = list(next(iter(compared.values())))
    lines = [f"| less | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for words, of in compared.items():
        cells = [f"{of[name]['value']:+.3f} [{of[name]['low']:+.3f}, {of[name]['high']:+.3f}]" for name in names]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines
