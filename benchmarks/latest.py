"""The last measurement of every job: latest.json, and the same as a table (latest.md) and a plot (latest.svg)."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jobs import JOBS, Job
from work import interval

Record = dict[str, Any]
SIZES = ("rows", "epochs", "threads", "test_rows", "machine")
"""Rounds are put together only where these are the same."""
UNFAIR = """\
- Times are whole jobs from the table to the classes of the test rows, libraries loaded and warm. omnitune reads, checks and parts the table
  within its time; peers are handed their training and test rows in memory, which is in their favour.
- The Trainer gets batches of like length, SDPA, fused AdamW, no logging, no saving, texts tokenised and pictures decoded once, test rows
  sorted by length, and omnitune's rates, schedule, warm-up, batch and seeds. It keeps a frozen backbone in training mode, dropout and all, as
  it does with every model: `--also` measures it with frozen parts in evaluation mode, which few know to ask for.
- omnitune keeps the checkpoint's dropout too; its frozen parts are in evaluation mode.
- "Features once, by hand" is no tool but what an expert writes for one frozen model and one linear head, with the same trick. Its
  features serve all 20 trials; fitting 19 more heads is left out.
- The pipeline carries the head that omnitune trained, so both give the same answers; "sorted by length" is what a careful user adds.
- AutoGluon pools by the mean instead of its default, gets validation rows instead of taking some of the training rows, one validation an
  epoch, no workers; its first small fit is not timed. It has one rate for body and head, and reads batches without regard to length.
- text_20_trials: the peer does one of its 20 runs, whose time is multiplied by 20; omnitune draws 20 settings, judges them on validation rows,
  and trains the best once more. text_probe_again: the peer keeps nothing, so its first run counts.
- ViT-S/16 has random weights, since nothing that pip installs carries pretrained ones: its times mean what they say, its accuracies only that
  both sides learn alike. The photographs are those of solar cells.
- Useful FLOPs: linear layers and attention of real tokens, forward and backward, what is frozen once; the peak is the fastest float32 matrix
  product found just before and after each round on the same threads. Both sides' shares are of the same count.
- Peak memory is that of fresh processes on a small share of the rows and one epoch; text_probe_again includes its first run. AutoGluon's
  includes its first small fit."""
COLUMNS = (
    "job", "rows, epochs", "omnitune", "peer", "ratio (range)", "aim", "useful share of the matmul peak (peer)", "accuracy [95 %]", "peer's [95 %]",
    "peak memory (peer)",
)  # fmt: skip


def read(path: Path) -> Record:
    """What is there; empty where nothing is."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"machine": "", "versions": {}, "jobs": {}, "skipped": {}}  # type: ignore[no-any-return]


def merged(whole: Record, job: Job, taken: Sequence[Record], facts: Record, add: bool = False) -> Record:
    """`whole` with these rounds of a job: in the place of those that are there, or with `add` after them where sizes are the same.

    Args:
        facts: `SIZES`, the machine among them, and peak memory where it was measured.
    """
    before = whole["jobs"].get(job.name, {})
    same = add and all(before.get(key) == facts[key] for key in SIZES)
    rounds = [*before["rounds"], *taken] if same else list(taken)
    kept = {key: before[key] for key in ("peak_mb", "peer_peak_mb", "peak_rows") if same and key in before}
    skipped = {name: why for name, why in whole["skipped"].items() if name != job.name}
    return whole | {"skipped": skipped, "jobs": whole["jobs"] | {job.name: summary(job, rounds, kept | facts)}}


def summary(job: Job, rounds: Sequence[Record], facts: Record) -> Record:
    """The figures of a job from its rounds."""
    middle = lambda key: statistics.median(r[key] for r in rounds)  # noqa: E731
    mean = lambda key: statistics.fmean(r[key] for r in rounds)  # noqa: E731
    own, peer = mean("accuracy"), mean("peer_accuracy")
    mine, theirs = interval(own, facts["test_rows"]), interval(peer, facts["test_rows"])
    names = list(rounds[0]["against"])
    return {
        "ratio": spread([r["peer_seconds"] / r["seconds"] for r in rounds]), "target": job.target, "peer": names[0],
        "against": {name: spread([r["against"][name] for r in rounds if name in r["against"]]) for name in names},
        "mfu": round(statistics.median(share(r, "seconds") for r in rounds), 4), "target_mfu": job.peak,
        "peer_mfu": round(statistics.median(share(r, "peer_seconds") * job.times for r in rounds), 4),
        "accuracy": round(own, 4), "peer_accuracy": round(peer, 4), "interval": [round(x, 4) for x in mine],
        "peer_interval": [round(x, 4) for x in theirs], "equal": mine[0] <= theirs[1] and theirs[0] <= mine[1],
        "balanced_accuracy": round(mean("balanced"), 4), "peer_balanced_accuracy": round(mean("peer_balanced"), 4),
        "same_answers": round(middle("same_answers"), 4), "seconds": round(middle("seconds"), 3), "peer_seconds": round(middle("peer_seconds"), 3),
        **facts, "rounds": list(rounds),
    }  # fmt: skip


def share(taken: Record, seconds: str) -> float:
    """Useful FLOPs over what the fastest product would have done in that time."""
    return float(taken["gflops"] / taken[seconds] / taken["peak_gflops"])


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest."""
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3), "max": round(max(values), 3)}


def write(whole: Record, path: Path) -> None:
    """latest.json, and beside it the table and the plot."""
    order = {name: whole["jobs"][name] for name in JOBS if name in whole["jobs"]}
    whole = whole | {"jobs": order}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    path.with_suffix(".md").write_text(page(whole), encoding="utf-8")
    if order:
        path.with_suffix(".svg").write_text(plot(order), encoding="utf-8")


def page(whole: Record) -> str:
    """The table, with machine and versions, what was left out and why, and what is unfair."""
    versions = ", ".join(f"{name} {number}" for name, number in whole["versions"].items())
    about = "`make bench`; ratios are medians of interleaved pairs: above 1, omnitune is faster."
    lines = ["# Benchmarks", "", f"{machines(whole)}; {versions}. {about}", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *(row(name, found) for name, found in whole["jobs"].items()), ""]
    lines += ["| job | against | ratio (range) |", "|---|---|---|"] if any(len(f["against"]) > 1 for f in whole["jobs"].values()) else []
    for name, found in whole["jobs"].items():
        others = list(found["against"].items())[1:]
        lines += [f"| {name} | {peer} | {ratio(values)} |" for peer, values in others]
    if unequal := [name for name, found in whole["jobs"].items() if not found["equal"]]:
        lines += ["", f"**Accuracies that differ beyond their intervals: {', '.join(unequal)}.** Their times are not those of equal work."]
    if whole["skipped"]:
        lines += ["", "Not run:", "", *(f"- {name}: {why}" for name, why in whole["skipped"].items())]
    return "\n".join([*lines, "", "## What is unfair, and to whom", "", UNFAIR, "", "![ratios](latest.svg)", ""])


def machines(whole: Record) -> str:
    """Where jobs were measured; a job by name where it was not on the machine of the last run."""
    elsewhere: dict[str, list[str]] = {}
    for name, found in whole["jobs"].items():
        if found["machine"] != whole["machine"]:
            elsewhere.setdefault(found["machine"], []).append(name)
    return "; ".join([whole["machine"], *(f"{', '.join(names)} on {machine}" for machine, names in elsewhere.items())])


def row(name: str, found: Record) -> str:
    """One line of the table."""
    accuracies = [f"{found[a]:.3f} [{found[i][0]:.3f}, {found[i][1]:.3f}]" for a, i in (("accuracy", "interval"), ("peer_accuracy", "peer_interval"))]
    memory = f"{found['peak_mb']:,} MiB ({found['peer_peak_mb']:,})" if "peak_mb" in found else ""
    aim = f"{found['target']:g}x" + (f", {found['target_mfu']:.0%}" if found["target_mfu"] else "")
    return "| " + " | ".join([
        name, f"{found['rows']:,}, {found['epochs']:g}", f"{found['seconds']:,.1f} s", f"{found['peer_seconds']:,.1f} s ({found['peer']})",
        ratio(found["ratio"]), aim, f"{found['mfu']:.0%} ({found['peer_mfu']:.0%})", *accuracies, memory,
    ]) + " |"  # fmt: skip


def ratio(values: Mapping[str, float]) -> str:
    """Median and range."""
    return f"**{values['median']:.2f}x** ({values['min']:.2f} - {values['max']:.2f})"


def plot(jobs: Mapping[str, Record]) -> str:
    """The ratio of every job on a logarithmic axis: median, range, and the aim."""
    import io

    import matplotlib
    from matplotlib.figure import Figure

    from omnitune.evaluation.plots import COLORS, INK, STYLE

    out = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "benchmarks"}):
        whole = Figure(figsize=(8, 0.6 + 0.36 * len(jobs)), layout="constrained")
        panel = whole.subplots()
        for place, found in enumerate(jobs.values()):
            values = found["ratio"]
            panel.plot([values["min"], values["max"]], [place, place], color=COLORS["after"], linewidth=3, alpha=0.45, solid_capstyle="round")
            panel.plot(values["median"], place, "o", color=COLORS["after"], markersize=6)
            panel.plot(found["target"], place, "|", color=COLORS["simple"], markersize=14, markeredgewidth=2)
            panel.annotate(f"{values['median']:.3g}x", (values["median"], place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)
        panel.axvline(1, color=INK, linewidth=0.8)
        panel.set_xscale("log")
        panel.xaxis.set_major_formatter(lambda ratio, _: f"{ratio:g}x")
        panel.set_yticks(range(len(jobs)), [f"{name} ({found['peer'].partition(',')[0]})" for name, found in jobs.items()])
        panel.set_ylim(len(jobs) - 0.4, -0.8)
        panel.set_title("times as fast as the peer: median, range, and the aim (bar)")
        whole.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return out.getvalue()
