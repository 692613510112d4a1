"""predict: rows in, answers out, one after the other, in the order of the rows."""

import contextlib
import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

import torch

from omnitune import artifact as artifacts
from omnitune.commands._files import part_of, told
from omnitune.errors import Mistake
from omnitune.nn.writing import Sampling

Answer = dict[str, Any]
Write = Callable[[Answer | None], None]
FORMATS = (".csv", ".jsonl")


def predict(
    run: str | Path,
    rows: Any,
    out: str | Path | None = None,
    batch: int = 32,
    int8: bool = False,
    tell: Callable[[str], None] | None = None,
    weights: bool = False,
    sampling: Sampling | None = None,
) -> Iterator[Answer]:
    """The answers of a saved model, streamed; with `out` also written to a file as they come.

    Args:
        run: the folder of a finished run.
        rows: a file, or anything `Artifact.predict` takes.
        out: a new file, `.csv` (a column a task, a probability and a weight) or `.jsonl`, there once it is whole.
        batch: as for `Artifact.predict`.
        int8: linear layers multiply in 8 bits, on the CPU.
        tell: is told what int8 changes, before the first answer.
        weights: also how much each input counted.
        sampling: how texts are written; the likeliest token always where it is left out.

    Raises:
        Mistake: no finished run, no readable rows, or a file that is there already, of another ending or cannot be written.
    """
    path = None if out is None else _new_file(Path(out))
    artifact = artifacts.load(run, torch.device("cpu") if int8 else None)
    if int8 and tell:
        tell(changes(artifact, rows))
    answers = artifact.stream(rows, batch, int8, weights, sampling)
    return answers if path is None else _written(answers, path, "error" if "error" not in artifact.recipe.tasks else "why_unread")


def changes(artifact: artifacts.Artifact, rows: Any) -> str:
    """What int8 changes, a line a task: on the run's test rows, or on `rows` where those are not at hand."""
    texts = [f"{name}: what int8 changes in texts is not measured" for name, task in artifact.recipe.tasks.items() if task.writes]
    if not any(task.answers for task in artifact.recipe.tasks.values()):
        return "\n".join(texts)
    try:
        found = artifact.rounding()
    except Mistake:  # a model may be far from its data
        found = artifact.rounding(rows)
    return "\n".join([*(f"{task}: {rounding}" for task, rounding in found.items()), *texts])


def unread(answer: Answer) -> bool:
    """Whether it says why the row could not be read; a task called `error` answers with a mapping."""
    return isinstance(answer.get("error"), str)


def flat(answer: Answer, error: str = "error") -> Answer:
    """An answer as columns: `task`, `task:class` for each probability, `task:level` for each quantile, `task:items` and `task:scores` of a list,
    `task@input` for each weight, `task:probability` of a text, the product over its tokens, empty of several beams, and
    `task:meets` where it was held to something; `error`, or as it is called, where the row could not be read."""
    if unread(answer):
        return {error: answer["error"]}
    columns: Answer = {}
    for task, said in answer.items():
        value = said["value"]
        columns[task] = "|".join(map(str, value)) if isinstance(value, list) else value
        columns |= {f"{task}:{name}": p for part in ("probabilities", "quantiles") for name, p in said.get(part, {}).items()}
        likely = [p for _, p in said.get("tokens", ())]  # none of several beams
        columns |= {f"{task}:probability": math.prod(likely) if likely else None} if "tokens" in said else {}
        columns |= {f"{task}:meets": said["meets"]} if "meets" in said else {}
        columns |= {f"{task}@{name}": weight for name, weight in said.get("weights", {}).items()}
        columns |= {f"{task}:{part}s": "|".join(str(one[part]) for one in said["items"]) for part in ("item", "score") if "items" in said}
    return columns | {error: ""}


def _new_file(path: Path) -> Path:
    if path.suffix.lower() not in FORMATS:
        raise Mistake(str(path), f"no format ends in {path.suffix!r}", f"Use {' or '.join(FORMATS)}")
    with told(path):
        there = path.exists()
    if there:
        raise Mistake(str(path), "exists", "Give another --out")
    if not path.parent.is_dir():
        raise Mistake(str(path), f"there is no folder {path.parent}", "Make it, or give another --out")
    return path


def _written(answers: Iterator[Answer], path: Path, error: str) -> Iterator[Answer]:
    """The file has its name once it is whole; nothing is left of one that fails."""
    part = part_of(path)
    with told(path):
        file = part.open("w", newline="", encoding="utf-8")
    try:
        write = _jsonl(file) if path.suffix.lower() == ".jsonl" else _csv(file, error)
        for answer in answers:
            with told(path):
                write(answer)
            yield answer
        with told(path):
            write(None)
            file.close()
            part.replace(path)
    finally:
        with contextlib.suppress(OSError):  # a full disk refuses what is still to be written, which is told already
            file.close()
        part.unlink(missing_ok=True)


def _jsonl(file: TextIO) -> Write:
    def write(answer: Answer | None) -> None:
        if answer is not None:
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")

    return write


def _csv(file: TextIO, error: str) -> Write:
    """The columns are those of the first row that could be read, so rows before it wait for it, or for the end (None)."""
    waiting: list[Answer] = []
    writer: csv.DictWriter[str] | None = None

    def write(answer: Answer | None) -> None:
        nonlocal writer
        waiting.extend([] if answer is None else [flat(answer, error)])
        if writer is None and waiting and (answer is None or len(waiting[-1]) > 1):
            writer = csv.DictWriter(file, list(waiting[-1]), restval="")
            writer.writeheader()
        if writer is not None:
            writer.writerows(waiting)
            waiting.clear()

    return write
