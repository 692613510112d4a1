"""predict: rows in, answers out, one after the other, in the order of the rows."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from omnitune import artifact as artifacts
from omnitune.errors import Mistake

Answer = dict[str, Any]
Write = Callable[[Answer | None], None]
FORMATS = (".csv", ".jsonl")


def predict(
    run: str | Path, rows: Any, out: str | Path | None = None, batch: int = 32, int8: bool = False, tell: Callable[[str], None] | None = None
) -> Iterator[Answer]:
    """The answers of a saved model, streamed; with `out` also written to a file as they come.

    Args:
        run: the folder of a finished run.
        rows: a file, or anything `Artifact.predict` takes.
        out: a new file, `.csv` (a column a task and a probability) or `.jsonl`.
        batch: as for `Artifact.predict`.
        int8: linear layers multiply in 8 bits, on the CPU.
        tell: is told what int8 changes, before the first answer.

    Raises:
        Mistake: no finished run, no readable rows, or a file that is there already or of another ending.
    """
    path = None if out is None else _new_file(Path(out))
    artifact = artifacts.load(run, torch.device("cpu") if int8 else None)
    if int8 and tell:
        tell(changes(artifact, rows))
    answers = artifact.stream(rows, batch, int8)
    return answers if path is None else _written(answers, path)


def changes(artifact: artifacts.Artifact, rows: Any) -> str:
    """What int8 changes, a line a task: on the run's test rows, or on `rows` where those are not at hand."""
    try:
        found = artifact.rounding()
    except Mistake:  # a model may be far from its data
        found = artifact.rounding(rows)
    return "\n".join(f"{task}: {rounding}" for task, rounding in found.items())


def flat(answer: Answer) -> Answer:
    """An answer as columns: `task`, and `task:class` for each probability; `error` where the row could not be read."""
    if "error" in answer and not isinstance(answer["error"], dict):
        return {"error": answer["error"]}
    columns: Answer = {}
    for task, said in answer.items():
        value = said["value"]
        columns[task] = "|".join(map(str, value)) if isinstance(value, list) else value
        columns |= {f"{task}:{name}": p for name, p in said.get("probabilities", {}).items()}
    return columns | {"error": ""}


def _new_file(path: Path) -> Path:
    if path.suffix not in FORMATS:
        raise Mistake(str(path), f"no format ends in {path.suffix!r}", f"Use {' or '.join(FORMATS)}")
    if path.exists():
        raise Mistake(str(path), "exists", "Give another --out")
    return path


def _written(answers: Iterator[Answer], path: Path) -> Iterator[Answer]:
    with path.open("w", newline="", encoding="utf-8") as file:
        write = _jsonl(file) if path.suffix == ".jsonl" else _csv(file)
        for answer in answers:
            write(answer)
            yield answer
        write(None)


def _jsonl(file: TextIO) -> Write:
    def write(answer: Answer | None) -> None:
        if answer is not None:
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")

    return write


def _csv(file: TextIO) -> Write:
    """The columns are those of the first row that could be read, so rows before it wait for it, or for the end (None)."""
    waiting: list[Answer] = []
    writer: csv.DictWriter[str] | None = None

    def write(answer: Answer | None) -> None:
        nonlocal writer
        waiting.extend([] if answer is None else [flat(answer)])
        if writer is None and waiting and (answer is None or len(waiting[-1]) > 1):
            writer = csv.DictWriter(file, list(waiting[-1]), restval="")
            writer.writeheader()
        if writer is not None:
            writer.writerows(waiting)
            waiting.clear()

    return write
