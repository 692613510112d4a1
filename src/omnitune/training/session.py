"""Session: a loop that lives in a folder. It logs, saves, stops on a signal, and goes on where it was."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omnitune.errors import Mistake
from omnitune.training import checkpoint
from omnitune.training.ladder import Training
from omnitune.training.log import Csv, Log
from omnitune.training.step import Step

FILE = "resume.safetensors"
RUNGS = "rungs"
"""Folder of what `tuning: auto` has so far, a whole artifact."""
Watch = Callable[[Step], None]


def open_folder(path: Path, resume: bool) -> Path:
    """The folder of a run: a new one, or with `resume` one that is there. Raises `Mistake` where it would write over another run."""
    if path.exists() and not path.is_dir():
        raise Mistake(str(path), "is a file", "Give a folder with --out")
    if resume and not path.exists():
        raise Mistake(str(path), "nothing to resume here", "Leave --resume out to start")
    if not resume and path.exists() and any(path.iterdir()):
        raise Mistake(str(path), "exists and is not empty", "Give another folder with --out, or --resume to go on with this run")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Mistake(str(path), f"cannot be made: {error.strerror}", "Give another folder with --out") from None
    return path


@dataclass
class Stop:
    """Whether a signal asked the run to end."""

    signal: int | None = None


@contextmanager
def signals() -> Iterator[Stop]:
    """SIGINT and SIGTERM ask for a stop after the step; asked twice, they act at once. Without effect outside the main thread."""
    stop = Stop()
    before: dict[int, Any] = {}

    def ask(number: int, frame: Any) -> None:
        if stop.signal is not None:
            raise KeyboardInterrupt
        stop.signal = number

    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(loop: Training, folder: Path, identity: dict[str, str], resume: bool, logs: Sequence[Log], names: Sequence[str], watch: Watch | None) -> None:
    """Runs `loop` to its end, saving in `folder` after each validation and every `save_minutes`.

    Args:
        loop: the training.
        folder: holds `resume.safetensors` and `log.csv`.
        identity: fingerprints that a checkpoint must share to be resumed from.
        resume: go on from the checkpoint, if there is one yet.
        logs: more logs to write to.
        names: columns of `log.csv`.
        watch: called with each step.

    Raises:
        KeyboardInterrupt: on SIGINT, when the state is saved.
        SystemExit: on SIGTERM, with code 143, when the state is saved.
    """
    path = folder / FILE
    if resume and path.exists():
        tensors, facts = checkpoint.load(path)
        _same(facts["identity"], identity, path)
        loop.restore(tensors, facts["loop"])
    table = Csv(folder / "log.csv", names, loop.progress.step)
    try:
        _steps(loop, path, identity, table, logs, watch)
    finally:
        for log in (table, *logs):
            log.close()


def _steps(loop: Training, path: Path, identity: dict[str, str], table: Csv, logs: Sequence[Log], watch: Watch | None) -> None:
    saved = time.monotonic()
    with signals() as stop:
        for step in loop:
            for log in (table, *logs):
                log.write(step)
            if watch:
                watch(step)
            if step.validation or step.last or stop.signal or time.monotonic() - saved > 60 * loop.train.save_minutes:
                table.flush()
                tensors, facts = step.state()
                checkpoint.save(path, tensors, {"identity": identity, "loop": facts})
                saved = time.monotonic()
            if stop.signal == signal.SIGTERM:
                raise SystemExit(128 + signal.SIGTERM)
            if stop.signal:
                raise KeyboardInterrupt


def _same(found: dict[str, str], wanted: dict[str, str], path: Path) -> None:
    wrong = [Mistake(str(path), f"belongs to another {k} ({found.get(k)}, not {v})") for k, v in wanted.items() if found.get(k) != v]
    if wrong:
        raise Mistake.together([*wrong, Mistake("", "the run cannot go on", "Resume with the same recipe and data, or start in another folder")])
