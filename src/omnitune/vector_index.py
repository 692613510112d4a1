"""Vector index: a folder with a vector for every row of a table, and search in it: all rows looked at, or along the links of a graph.

index.json                  what the vectors are of, and which rows have none
vectors-00000.safetensors   `vectors` (n, P) float32 of up to 65,536 rows, and so on
graph.voyager               of an approximate index: different vectors and their links, in the format of voyager
copies.safetensors          beside it: `first` (n,), the first row that has the vector of each
SHA256SUMS                  of all

Shape letters: n rows, q queries, P width, k found.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from omnitune import checksums
from omnitune.approximation import Approximation
from omnitune.embedding import Embedded
from omnitune.errors import Mistake
from omnitune.vector_search import nearest
from omnitune.vector_walk import Walk

Array = np.ndarray[Any, Any]
FORMAT = 1
BLOCK = 65_536
"""Rows that are in memory at once."""
QUERIES = 256
"""Queries that are compared with a block at once."""


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
        approximation: how it is searched, and what is lost by it; None where all rows are looked at.
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
    approximation: Approximation | None = None


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
        how = facts.pop("approximation", None)
        return cls(folder, About(**facts, problems=problems, approximation=how and Approximation(**how)))

    @classmethod
    def write(cls, path: Path, about: About, embedded: Iterable[Embedded], approximate: bool = False) -> "VectorIndex":
        """Writes vectors as they come, with a graph where search is to be approximate; the folder has its name once it is whole."""
        part = path.with_name(f"{path.name}.part")
        part.mkdir(parents=True, exist_ok=True)
        for left in part.iterdir():
            left.unlink()
        problems: dict[int, str] = {}
        rows = width = 0
        for number, block_nP in enumerate(_blocks(embedded, problems)):
            save_file({"vectors": block_nP}, part / f"vectors-{number:05d}.safetensors")
            rows, width = rows + len(block_nP), block_nP.shape[1]
        made = cls(part, replace(about, rows=rows, width=width, problems=problems))
        facts = asdict(made._linked() if approximate else made.about)
        (part / "index.json").write_text(json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False), encoding="utf-8")
        checksums.note(part, sorted(file for file in part.iterdir()))
        part.replace(path)
        return cls.read(path)

    def search(self, queries_qP: Array, k: int, but_q: Array | None = None, exact: bool = False) -> tuple[Array, Array]:
        """The nearest rows by cosine; in an approximate index those that its graph leads to.

        Args:
            queries_qP: vectors of length 1.
            k: how many, at most as many as can be found.
            but_q: of each query a row that is not to be found.
            exact: look at all rows of an approximate index too.

        Returns:
            Cosines and row numbers, (q, k) each, best first, those of one cosine in the order of the table; -inf and -1 behind the last one.

        Raises:
            Mistake: the index is approximate, and its library is missing or its graph does not lead to k rows.
        """
        how = None if exact else self.about.approximation
        starts = range(0, max(1, len(queries_qP)), QUERIES)
        asked = [(queries_qP[at : at + QUERIES], None if but_q is None else but_q[at : at + QUERIES]) for at in starts]
        if how is None:
            found = [nearest(some, self._vectors(), self.about.problems, k, but) for some, but in asked]
        else:
            found = [self.walk.search(some, k, how.looked, but) for some, but in asked]
        scores, rows = (np.concatenate(several) for several in zip(*found, strict=True))
        return scores, rows

    @cached_property
    def walk(self) -> Walk:
        """Of an approximate index, read once."""
        return Walk.read(self.path)

    def _vectors(self) -> Iterator[tuple[int, Array]]:
        """Blocks of rows, and the number of the first of each."""
        start = 0
        for file in sorted(self.path.glob("vectors-*.safetensors")):
            block_nP = load_file(file)["vectors"]
            yield start, block_nP
            start += len(block_nP)

    def _linked(self) -> About:
        """With a graph beside the vectors."""
        walk, how = Walk.made(self._vectors, self.about.rows, self.about.width, self.about.problems)
        walk.save(self.path)
        return replace(self.about, approximation=how)


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
