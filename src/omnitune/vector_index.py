"""Vector index: a folder with a vector for every row of a table, and exact search in it, block by block.

index.json                  what the vectors are of, and which rows have none
vectors-00000.safetensors   `vectors` (n, P) float32 of up to 65,536 rows, and so on
SHA256SUMS                  of both

Shape letters: n rows, q queries, P width, k found.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from omnitune import checksums
from omnitune.embedding import Embedded
from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]
FORMAT = 1
BLOCK = 65_536
"""Rows that are in memory at once."""
QUERIES = 256
"""Queries that are compared with a block at once."""
DIGITS = 5
"""Of a cosine: what is closer ties, and the row that stands first in the table comes first."""


@dataclass(frozen=True)
class About:
    """What an index is of.

    Args:
        run: folder of the model.
        model: its fingerprint.
        task, of: the task that compares, and the input that was read.
        table: where the rows are.
        fingerprint: of the table; files that it points at do not count.
        rows: n.
        width: P.
        problems: by number of a row, why it has no vector. It is never found.
    """

    run: str
    model: str
    task: str
    of: str
    table: str
    fingerprint: str
    rows: int = 0
    width: int = 0
    problems: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class VectorIndex:
    """An index on disk.

    Args:
        path: its folder.
        about: what it is of.
    """

    path: Path
    about: About

    @classmethod
    def read(cls, path: str | Path) -> "VectorIndex":
        """Raises `Mistake` where there is none, or it is damaged or of another format."""
        folder = Path(path)
        if not (folder / "index.json").is_file():
            raise Mistake(str(path), "no index here", "Make one with `omnitune index`")
        checksums.verify(folder)
        facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if facts.pop("format") != FORMAT:
            raise Mistake(str(path), f"is not of format {FORMAT}, which this version reads", "Make it again with `omnitune index`")
        problems = {int(row): why for row, why in facts.pop("problems").items()}
        return cls(folder, About(**facts, problems=problems))

    @classmethod
    def write(cls, path: Path, about: About, embedded: Iterable[Embedded]) -> "VectorIndex":
        """Writes vectors as they come; the folder has its name once it is whole."""
        part = path.with_name(f"{path.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        for left in part.iterdir():
            left.unlink()
        problems: dict[int, str] = {}
        rows = width = 0
        for number, block_nP in enumerate(_blocks(embedded, problems)):
            save_file({"vectors": block_nP}, part / f"vectors-{number:05d}.safetensors")
            rows, width = rows + len(block_nP), block_nP.shape[1]
        facts = asdict(about) | {"rows": rows, "width": width, "problems": problems}
        (part / "index.json").write_text(json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False), encoding="utf-8")
        checksums.note(part, sorted(file for file in part.iterdir()))
        part.replace(path)
        return cls.read(path)

    def search(self, queries_qP: Array, k: int, but_q: Array | None = None) -> tuple[Array, Array]:
        """The nearest rows by cosine, all of them looked at.

        Args:
            queries_qP: vectors of length 1.
            k: how many, at most as many as can be found.
            but_q: of each query a row that is not to be found.

        Returns:
            Cosines and row numbers, (q, k) each, best first, those of one cosine in the order of the table; -inf and -1 behind the last one.
        """
        starts = range(0, max(1, len(queries_qP)), QUERIES)
        found = [self._some(queries_qP[at : at + QUERIES], k, None if but_q is None else but_q[at : at + QUERIES]) for at in starts]
        scores, rows = (np.concatenate(several) for several in zip(*found, strict=True))
        return scores, rows

    def _some(self, queries_qP: Array, k: int, but_q: Array | None) -> tuple[Array, Array]:
        scores, rows = np.zeros((len(queries_qP), 0), np.float32), np.zeros((len(queries_qP), 0), np.int64)
        for start, block_nP in self._vectors():
            more = _nearest(queries_qP, block_nP, self._never(start, len(block_nP)), start, k + (but_q is not None))
            scores, rows = _best(np.hstack([scores, more[0]]), np.hstack([rows, more[1]]), k, but_q)
        return scores, rows

    def _vectors(self) -> Iterator[tuple[int, Array]]:
        """Blocks of rows, and the number of the first of each."""
        start = 0
        for file in sorted(self.path.glob("vectors-*.safetensors")):
            block_nP = load_file(file)["vectors"]
            yield start, block_nP
            start += len(block_nP)

    def _never(self, start: int, size: int) -> Array:
        return np.array([row - start for row in self.about.problems if start <= row < start + size], np.int64)


def _blocks(embedded: Iterable[Embedded], problems: dict[int, str]) -> Iterator[Array]:
    """Vectors in blocks of `BLOCK`; what is wrong with rows goes to `problems`."""
    waiting: list[Array] = []
    rows = 0
    for one in embedded:
        problems |= {rows + place: problem for place, problem in enumerate(one.problems) if problem is not None}
        rows += len(one.problems)
        waiting.append(one.vectors_nP)
        while sum(map(len, waiting)) >= BLOCK:
            whole = np.concatenate(waiting)
            yield np.ascontiguousarray(whole[:BLOCK])
            waiting = [whole[BLOCK:]]
    if sum(map(len, waiting)) or not rows:
        yield np.concatenate(waiting) if waiting else np.zeros((0, 0), np.float32)


def _nearest(queries_qP: Array, block_nP: Array, never: Array, start: int, k: int) -> tuple[Array, Array]:
    """Of a block, (q, k) cosines and row numbers, in no order."""
    cosines_qn = torch.from_numpy(queries_qP) @ torch.from_numpy(block_nP).T
    cosines_qn[:, torch.from_numpy(never)] = -torch.inf
    scores, places = cosines_qn.topk(min(k, len(block_nP)), sorted=False)
    return scores.numpy(), places.numpy() + start


def _best(scores: Array, rows: Array, k: int, but_q: Array | None) -> tuple[Array, Array]:
    scores = np.round(scores, DIGITS)
    if but_q is not None:
        scores = np.where(rows == but_q[:, None], -np.inf, scores)
    rows = np.where(np.isneginf(scores), -1, rows)
    order = np.lexsort((rows, -scores), axis=1)[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)
