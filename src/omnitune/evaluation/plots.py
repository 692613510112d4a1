"""Plots of a report as SVG text that stands alone in a page: no script, no font file, the same bytes every time."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from omnitune.evaluation.tables import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"constant": "#b8bcc8", "simple": "#e0a030", "before": "#5b8fd0", "after": "#4338ca"}
INK, FAINT = "#1f2433", "#d9dce5"
STYLE: Any = {
    "svg.fonttype": "none", "font.size": 10, "font.family": "sans-serif", "text.parse_math": False, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": FAINT, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.titlesize": 10, "axes.titleweight": "bold", "axes.grid": False, "figure.facecolor": "none", "axes.facecolor": "none",
    "legend.frameon": False,
}  # fmt: skip
POINTS = 300
"""Of a curve; longer ones are drawn as means of neighbouring steps."""


def bars(metrics: Mapping[str, Any], salt: str) -> str:
    """Every metric in a panel of its own: value and interval of each model; an arrow shows where better is."""
    names, models = list(metrics["higher"]), list(metrics["models"])
    wide = min(3, len(names))
    tall = -(-len(names) // wide)

    def draw(whole: "Figure") -> None:
        panels = np.atleast_1d(whole.subplots(tall, wide, squeeze=False)).ravel()
        for panel, name in zip(panels, names, strict=False):
            for place, model in enumerate(models):
                _dot(panel, place, metrics["models"][model][name], COLORS.get(model, INK))
            panel.set_title(f"{name} {'↑' if metrics['higher'][name] else '↓'}")
            panel.set_yticks(range(len(models)), models)
            panel.set_ylim(len(models) - 0.5, -0.5)
        for panel in panels[len(names) :]:
            panel.set_visible(False)

    return _svg(draw, (3.2 * wide, (0.7 + 0.32 * len(models)) * tall), salt)


def _dot(panel: "Axes", place: int, of: Mapping[str, Any], color: str) -> None:
    if of["value"] is None:
        panel.annotate("n/a", (0.02, place), xycoords=("axes fraction", "data"), va="center", color=INK)
        return
    if of["low"] is not None:
        panel.plot([of["low"], of["high"]], [place, place], color=color, linewidth=3, alpha=0.45, solid_capstyle="round")
    panel.plot(of["value"], place, "o", color=color, markersize=6)
    panel.annotate(figure(of["value"]), (of["value"], place), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=8)


def curves(steps: Sequence[Mapping[str, Any]], salt: str) -> str:
    """Training loss of every task, and validation loss, over epochs; empty without steps."""
    if not steps:
        return ""

    def draw(whole: "Figure") -> None:
        losses, rates = whole.subplots(1, 2, width_ratios=[2, 1])
        for task in dict.fromkeys(task for s in steps for task in s["losses"]):
            asked = [s for s in steps if task in s["losses"]]
            losses.plot(*_thin([s["epoch"] for s in asked], [s["losses"][task] for s in asked]), linewidth=1.2, label=f"training: {task}")
        checked = [s for s in steps if s.get("validation") and s["validation"].get("loss") is not None]
        losses.plot(
            [s["epoch"] for s in checked], [s["validation"]["loss"] for s in checked], "o-", color=INK, markersize=4, label="validation, all tasks"
        )
        losses.set(xlabel="epoch", title="loss")
        losses.legend(fontsize=8)
        rates.plot(*_thin([s["epoch"] for s in steps], [s["lr"] for s in steps]), color=COLORS["before"])
        rates.set(xlabel="epoch", title="learning rate")

    return _svg(draw, (9.6, 3.2), salt)


def scores(steps: Sequence[Mapping[str, Any]], task: str, names: Sequence[str], salt: str) -> str:
    """Validation metrics of one task over epochs; empty where there was at most one round."""
    checked = [s for s in steps if s.get("validation")]
    shown = [name for name in names if any(s["validation"].get(f"{task}.{name}") is not None for s in checked)][:3]
    if len(checked) < 2 or not shown:
        return ""

    def draw(whole: "Figure") -> None:
        for panel, name in zip(whole.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
            values = [s["validation"].get(f"{task}.{name}") for s in checked]
            panel.plot([s["epoch"] for s in checked], [np.nan if v is None else v for v in values], "o-", color=COLORS["after"], markersize=4)
            panel.set(title=f"validation {name}", xlabel="epoch")

    return _svg(draw, (3.2 * len(shown), 2.4), salt)


def climb(steps: Sequence[Mapping[str, Any]], rungs: Sequence[Mapping[str, Any]], task: str, metric: str, higher: bool, salt: str) -> str:
    """A validation metric over seconds, one colour a rung, and the best of it so far; empty for runs without rungs, or where it is undefined."""
    begun = [rung for rung in rungs if "seconds" in rung]
    checked = [s for s in steps if s.get("validation") and s["validation"].get(f"{task}.{metric}") is not None]
    if not begun or not checked:
        return ""
    x, y = [s["seconds"] for s in checked], [s["validation"][f"{task}.{metric}"] for s in checked]
    best = np.maximum.accumulate(y) if higher else np.minimum.accumulate(y)

    def draw(whole: "Figure") -> None:
        panel = whole.subplots()
        panel.step([*x, begun[-1]["seconds"]], [*best, best[-1]], where="post", color=FAINT, label="best round so far")
        start = 0.0
        for rung, color in zip(begun, (COLORS["simple"], COLORS["before"], COLORS["after"]), strict=False):
            inside = [i for i, second in enumerate(x) if start < second <= rung["seconds"]]
            panel.plot([x[i] for i in inside], [y[i] for i in inside], "o-", color=color, markersize=4, label=rung["rung"])
            start = rung["seconds"]
        panel.set(xlabel="seconds of training", title=f"{task}: validation {metric}")
        panel.legend(fontsize=8)

    return _svg(draw, (4.8, 3.2), salt)


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str], salt: str) -> str:
    """Confusion matrix, coloured by the share of each true class."""
    matrix = np.array(counts)
    shares = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    size = min(9.0, 2.6 + 0.4 * len(names))

    def draw(whole: "Figure") -> None:
        panel = whole.subplots()
        edges = np.arange(len(names) + 1) - 0.5
        panel.pcolormesh(edges, edges, shares, cmap="Purples", vmin=0, vmax=1)  # cells, not a picture inside the picture
        panel.invert_yaxis()
        panel.set_aspect("equal")
        short = [name if len(name) <= 18 else name[:17] + "…" for name in names]
        panel.set_xticks(range(len(names)), short, rotation=45, ha="right", rotation_mode="anchor")
        panel.set_yticks(range(len(names)), short)
        panel.set(xlabel="predicted", ylabel="true")
        for i, j in np.ndindex(*matrix.shape) if len(names) <= 12 else ():
            panel.text(j, i, f"{matrix[i, j]:,}", ha="center", va="center", fontsize=8, color="white" if shares[i, j] > 0.55 else INK)

    return _svg(draw, (size, size), salt)


def reliability(calibration: Mapping[str, Any], salt: str) -> str:
    """How often the model is right at each confidence, as trained and at the fitted temperature; the size of a point shows its rows."""

    def draw(whole: "Figure") -> None:
        panel = whole.subplots()
        panel.plot([0, 1], [0, 1], "--", color=FAINT)
        for key, color, label in (("before", COLORS["after"], "as trained"), ("after", COLORS["simple"], "with temperature")):
            if not calibration[key]:
                continue
            bins = calibration[key]["bins"]
            x, y, rows = ([b[k] for b in bins] for k in ("confidence", "accuracy", "rows"))
            panel.plot(x, y, color=color, linewidth=1.2, label=f"{label}: ECE {figure(calibration[key]['ece'])}")
            panel.scatter(x, y, s=8 + 90 * np.array(rows) / max(rows), color=color, alpha=0.7, linewidths=0)
        panel.set(xlabel="confidence", ylabel="share right", xlim=(0, 1.02), ylim=(0, 1.02), title="reliability")
        panel.legend(fontsize=8, loc="lower right")

    return _svg(draw, (4.2, 3.8), salt)


def scatter(points: Sequence[Sequence[float]], salt: str) -> str:
    """Predicted against true."""
    true, said = np.array(points).T
    ends = [min(true.min(), said.min()), max(true.max(), said.max())]

    def draw(whole: "Figure") -> None:
        panel = whole.subplots()
        panel.plot(ends, ends, "--", color=FAINT)
        panel.scatter(true, said, s=12, color=COLORS["after"], alpha=0.45, linewidths=0)
        panel.set(xlabel="true", ylabel="predicted", title="predicted against true")

    return _svg(draw, (4.2, 3.8), salt)


def _thin(x: Sequence[float], y: Sequence[float]) -> tuple[list[float], list[float]]:
    parts = np.array_split(np.arange(len(x)), min(POINTS, len(x)))
    return [float(np.mean([x[i] for i in part])) for part in parts], [float(np.mean([y[i] for i in part])) for part in parts]


def _svg(draw: Callable[["Figure"], None], size: tuple[float, float], salt: str) -> str:
    """What `draw` draws, as one `<svg>` element whose ids start with `salt`, so that several fit into one page."""
    import matplotlib
    from matplotlib.figure import Figure

    out = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": salt}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)  # the browser's fonts have it
        whole = Figure(figsize=size, layout="constrained")
        draw(whole)
        whole.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = out.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    return re.sub(r"<\w[^>]*>", lambda tag: _tag(tag[0], salt), svg)


def _tag(tag: str, salt: str) -> str:
    tag = re.sub(r' xmlns(:\w+)?="[^"]*"', "", tag)
    tag = re.sub(r'(\sid="|href="#|url\(#)', rf"\g<1>{salt}-", tag)
    return tag.replace("<svg ", '<svg role="img" ', 1).replace("xlink:href", "href")
