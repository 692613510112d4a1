"""Found: what one side of the multimodal benchmark gives in one case (a seed, a fold): figures, what each row adds to them, and what it took."""

import json
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.nn.metrics import auroc

Array = np.ndarray[Any, Any]
NORMAL = 1.959964
"""Standard errors on either side that hold 95 % of a normal distribution."""


@dataclass(frozen=True)
class Found:
    """What one side gave in one case.

    Args:
        figures: by name.
        rows: of figures that are means over test rows, what each row adds, in the order of the rows.
        seconds, cpu: on the clock, and of the processor, which a busy machine leaves alone.
        note: what was chosen.
    """

    figures: dict[str, float]
    rows: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    cpu: float = 0.0
    note: str = ""

    def __or__(self, other: "Found") -> "Found":
        """Both together, one after the other."""
        note = "; ".join(filter(None, dict.fromkeys((self.note, other.note))))
        return Found(self.figures | other.figures, self.rows | other.rows, self.seconds + other.seconds, self.cpu + other.cpu, note)

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)), encoding="utf-8")
        part.replace(path)

    @classmethod
    def read(cls, path: Path) -> "Found":
        """What `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


@contextmanager
def clock() -> Iterator[dict[str, float]]:
    """`seconds` and `cpu` of what is done inside, once it is done."""
    took: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield took
    took |= {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def of_answers(question: str, form: str, y: Array, said: Array, took: Mapping[str, float], note: str = "") -> Found:
    """Accuracy and AUROC of probabilities of class 1 (n,), or mean absolute error of values (n,)."""
    if form == "classes":
        rows = {f"{question}.accuracy": ((said >= 0.5) == (y == 1)).astype(float)}
        more = {f"{question}.auroc": auroc(y == 1, said)}
    else:
        rows, more = {f"{question}.mae": np.abs(said - y)}, {}
    figures = {name: float(values.mean()) for name, values in rows.items()} | more
    return Found(figures, {name: values.tolist() for name, values in rows.items()}, **took, note=note)


def summary(cases: Mapping[str, Found]) -> dict[str, Any]:
    """Mean and range of every figure over the cases; medians of what they took."""
    found = list(cases.values())
    figures = {name: [one.figures[name] for one in found] for name in found[0].figures}
    return {
        "cases": list(cases),
        "figures": {name: {"mean": statistics.fmean(v), "min": min(v), "max": max(v)} for name, v in figures.items()},
        "seconds": statistics.median(one.seconds for one in found),
        "cpu": statistics.median(one.cpu for one in found),
        "notes": list(dict.fromkeys(one.note for one in found if one.note)),
    }


def differences(side: Mapping[str, Found], other: Mapping[str, Found]) -> dict[str, dict[str, float]]:
    """How much more `side` has than `other` in every figure that is a mean over rows, which are the same in all cases: each row counts with its mean
    over the cases, so that the 95 % interval, of rows drawn anew, says nothing about other seeds."""
    names = [name for name in next(iter(side.values())).rows if name in next(iter(other.values())).rows]
    return {name: _interval(_mean(side.values(), name) - _mean(other.values(), name)) for name in names}


def _mean(cases: Sequence[Found] | Any, name: str) -> Array:
    return np.mean([one.rows[name] for one in cases], axis=0)


def _interval(rows: Array) -> dict[str, float]:
    mean, half = float(rows.mean()), NORMAL * float(rows.std(ddof=1)) / math.sqrt(len(rows))
    return {"value": mean, "low": mean - half, "high": mean + half}
