"""The figures of the history, each as one `<svg>`."""

import io
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from history_page import Found, half_width

COLORS = ("#b8bcc8", "#e0a030", "#2a9d8f", "#5b8fd0", "#4338ca", "#c2410c")


def drawn(found: Found, causal: Sequence[str]) -> dict[str, str]:
    """By name: `curves`, and `memory` where a model has one. `causal` models have bits per byte."""
    lines = {name: found[name] for name in causal if name in found}
    made = {"curves": svg(lambda panel: curves(panel, lines))} if lines else {}
    told = {name: seeds for name, seeds in lines.items() if "memory" in seeds[0].measured}
    return made | ({"memory": svg(lambda panel: memory(panel, told))} if told else {})


def curves(panel: Any, found: Found) -> None:
    """Validation bits per byte over seconds of training, a line a seed."""
    for color, (name, seeds) in zip(COLORS, found.items(), strict=False):
        for i, seed in enumerate(seeds):
            points = [(s["seconds"], s["validation"]["language.bits_per_byte"]) for s in seed.pretrained.curves if s.get("validation")]
            panel.plot(*zip(*points, strict=True), color=color, linewidth=1.2, label=None if i else name)
    panel.set(xlabel="seconds of training", title="validation bits per byte")
    panel.legend(fontsize=8)


def memory(panel: Any, found: Found) -> None:
    """Bits per byte on the longest held-out documents over the length of the memory, with intervals over seeds."""
    for color, (name, seeds) in zip(COLORS[2:], found.items(), strict=False):
        lengths = [int(length) for length in seeds[0].measured["memory"]]
        values = [[seed.measured["memory"][str(length)] for seed in seeds] for length in lengths]
        spread = [half_width(each) or 0.0 for each in values]
        panel.errorbar(range(len(lengths)), [statistics.fmean(each) for each in values], spread, color=color, capsize=3, marker="o", label=name)
        panel.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    panel.set(xlabel="tokens of the memory", title="bits per byte, longest held-out documents")
    panel.legend(fontsize=8)


def svg(draw: Callable[[Any], None]) -> str:
    """One panel."""
    import matplotlib
    from matplotlib.figure import Figure

    from omnitune.evaluation.plots import STYLE

    out = io.StringIO()
    with matplotlib.rc_context(STYLE | {"svg.hashsalt": "history"}):
        whole = Figure(figsize=(7, 3.6), layout="constrained")
        draw(whole.subplots())
        whole.savefig(out, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return out.getvalue()
