"""Both sides of a job as functions that give the classes of the test rows. Peers load nothing of omnitune, and omnitune nothing of theirs."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from work import Work

if TYPE_CHECKING:
    from table_work import TableWork

HERE = Path(__file__).parent
AUTOML = Path(os.environ.get("OMNITUNE_BENCH_AUTOML") or HERE.parent / ".venv-automl") / "bin" / "python"
WIDEDEEP = Path(os.environ.get("OMNITUNE_BENCH_WIDEDEEP") or HERE.parent / ".venv-widedeep") / "bin" / "python"


@dataclass(frozen=True)
class Took:
    """What one side did.

    Args:
        said: the classes it said.
        seconds: it took.
        peak_mb: most memory, where it ran in a process of its own.
        places: of the test rows that `said` is about; None where it is all of them.
    """

    said: list[int]
    seconds: float
    peak_mb: float | None = None
    places: list[int] | None = None

    def at(self, places: list[int] | None) -> list[int]:
        """The classes it said of the test rows at `places`."""
        return self.said if places is None or self.places is not None else [self.said[i] for i in places]


def timed(job: Callable[[], list[int]]) -> Took:
    """Runs a side."""
    began = time.perf_counter()
    said = job()
    return Took(said, time.perf_counter() - began)


def trainer(work: Work) -> Took:
    """See `peers/trainer.py`."""
    from peers.trainer import run

    return timed(lambda: run(work))


def trainer_still(work: Work) -> Took:
    """The same with a frozen backbone in evaluation mode: all of it for a head, and for upper blocks nothing that learns."""
    from peers.trainer import run

    return timed(lambda: run(work, still=True))


def by_hand(work: Work) -> Took:
    """See `peers/by_hand.py`."""
    from peers.by_hand import run

    return timed(lambda: run(work))


def pipeline(work: Work) -> Took:
    """See `peers/pipeline.py`; texts as they come."""
    from peers.pipeline import Loaded

    loaded = Loaded(work)
    return timed(lambda: loaded(work.test.values))


def pipeline_sorted(work: Work) -> Took:
    """Texts sorted by length."""
    from peers.pipeline import Loaded

    loaded = Loaded(work)
    return timed(lambda: loaded(work.test.values, by_length=True))


def automl(work: Work) -> Took:
    """See `peers/automl.py`; it times itself, in a process and an environment of its own."""
    found = apart(AUTOML, "automl", work)
    return Took(found["said"], found["seconds"], found["peak_mb"])


def apart(python: Path, script: str, work: "Work | TableWork") -> dict[str, Any]:
    """What a peer in an environment of its own says of `work`, as its script in `peers` writes it down."""
    with TemporaryDirectory() as place:
        given, out = work.write(Path(place) / "work.json"), Path(place) / "out.json"
        env = os.environ | {"OMP_NUM_THREADS": str(work.threads), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        env.pop("PYTHONPATH", None)
        done = subprocess.run([python, HERE / "peers" / f"{script}.py", given, out], env=env, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
        found: dict[str, Any] = json.loads(out.read_text())
        return found


PEERS: dict[str, Callable[[Work], Took]] = {
    "Trainer": trainer,
    "Trainer, frozen part in evaluation mode": trainer_still,
    "features once, by hand": by_hand,
    "pipeline, batches of 32": pipeline,
    "pipeline, sorted by length": pipeline_sorted,
    "AutoGluon": automl,
}

ONCE = ("features once, by hand",)
"""Peers that do for many heads what they do for one; fitting the further heads is left out, in their favour."""


def lacking(peer: str) -> str | None:
    """Why a peer cannot run here; None where it can."""
    return missing("AutoGluon", AUTOML, "autogluon", "bench-automl") if peer == "AutoGluon" else None


def missing(peer: str, python: Path, module: str, target: str) -> str | None:
    """Why a peer with an environment of its own cannot run; None where it can."""
    if not python.exists():
        return f"{peer} is not installed: `make {target}` installs it"
    asked = [python, "-c", f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"]
    return f"the environment of {peer} lacks it: `make {target}`" if subprocess.run(asked, capture_output=True).returncode else None


def alone(side: str, given: Path, threads: int) -> float:
    """Peak memory in MiB of a fresh process that does one side of a job; `given` is a `Work`, or what `ours.Given` wrote."""
    done = subprocess.run([sys.executable, HERE / "alone.py", side, given, str(threads)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{side} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return float(done.stdout.strip().splitlines()[-1])
