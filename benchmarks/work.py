"""Work: what a peer is given to do, as plain values, so that it needs nothing of omnitune and may run in an environment of its own."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Rows:
    """Values (texts, or paths of pictures) and their classes; empty classes where only answers are asked for."""

    values: list[str] = field(default_factory=list)
    y: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Work:
    """One job.

    Args:
        kind: of the values, `text` or `image`.
        backbone: a folder in the Hugging Face layout.
        tuning: as a recipe says it: `kind`, `rank`, `blocks`.
        train, validation, test: the rows; most jobs have no validation rows.
        epochs, batch, lr, head_lr, weight_decay, warmup, seed: of training; the rates are those that omnitune resolved for itself.
        tokens: longest text.
        threads: of torch.
        head: a file of a trained head (`weight`, `bias`), where the job is prediction.
    """

    kind: str
    backbone: str
    tuning: dict[str, Any]
    train: Rows
    test: Rows
    validation: Rows = field(default_factory=Rows)
    epochs: float = 1.0
    batch: int = 32
    lr: float = 0.0
    head_lr: float = 0.0
    weight_decay: float = 0.01
    warmup: float = 0.06
    seed: int = 0
    tokens: int = 256
    threads: int = 2
    head: str = ""

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> "Work":
        """What `write` wrote."""
        values = json.loads(path.read_text(encoding="utf-8"))
        return cls(**values | {part: Rows(**values[part]) for part in ("train", "validation", "test")})


def accuracy(said: Sequence[int], y: Sequence[int]) -> float:
    """Share of right answers."""
    assert len(said) == len(y) > 0, "an answer for every row"
    return sum(int(a == b) for a, b in zip(said, y, strict=True)) / len(y)


def balanced(said: Sequence[int], y: Sequence[int]) -> float:
    """Mean over the classes of the share of right answers: where most rows are of one class, accuracy alone says little."""
    shares = [accuracy([a for a, b in zip(said, y, strict=True) if b == k], [k] * list(y).count(k)) for k in set(y)]
    return sum(shares) / len(shares)


def interval(share: float, rows: int) -> tuple[float, float]:
    """95 % interval of a share of `rows` (Wilson 1927)."""
    z = 1.959964
    centre, half = share + z * z / (2 * rows), z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def peak_mb() -> float:
    """Most memory this process ever held, in MiB. On Linux not by getrusage, which counts what the parent held when it started this one."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
