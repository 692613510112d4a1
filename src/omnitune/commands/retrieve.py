"""retrieve: what in an index is nearest to a text, a picture or a sound, or to every row of a table; and how often that is right."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import artifact as artifacts
from omnitune.approximation import kept
from omnitune.artifact import Artifact
from omnitune.commands._recall import Recall, Right, recalled
from omnitune.commands.index import fingerprint
from omnitune.data.table import Table, read
from omnitune.embedding import Embedder
from omnitune.errors import Mistake, did_you_mean
from omnitune.vector_graph import library
from omnitune.vector_index import VectorIndex

Array = np.ndarray[Any, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What is nearest to some queries.

    Args:
        scores, rows: cosines and row numbers, (q, k) each, best first; -1 is no row.
        problems: of each query, why nothing was found.
        kept: of an approximate index the share of the nearest rows that is among them, (q,), where that was asked for.
    """

    scores: Array
    rows: Array
    problems: list[str | None]
    kept: Array | None


class Retriever:
    """An index with its model and its table.

    Args:
        index: its folder.
        run: the model, where it has moved since.
        table: the rows that were indexed, where they have moved since, or were in memory.
        by: the input that queries are of; the other one of the task where it is left out.
        exact: look at all rows of an approximate index too.

    Raises:
        Mistake: no index, run or table, or another model or table than the index was made with, or the library of an approximate index is missing.
    """

    def __init__(
        self, index: str | Path, run: str | Path | Artifact | None = None, table: Any = None, by: str | None = None, exact: bool = False
    ) -> None:
        self.index, self.exact = VectorIndex.read(index), exact
        about = self.index.about
        self.approximate = about.approximation is not None and not exact
        if self.approximate:
            library()
        artifact = run if isinstance(run, Artifact) else artifacts.load(run or about.run)
        if fingerprint(artifact.path) != about.model:
            raise Mistake(
                str(index), f"was made with another model than {artifact.path} holds", "Make it again with `omnitune index`, or give its run"
            )
        self.column = artifact.recipe.column(about.of)
        self.table = self._table(about.table if table is None else table)
        others = [name for name in artifact.recipe.tasks[about.task].compares() if name != about.of] or [about.of]
        self.by = by or others[0]
        self.embedder: Embedder = artifact.embedder(self.by, about.task)

    def _table(self, source: Any) -> Table:
        if isinstance(source, str) and not source:
            raise Mistake("table", "the rows of this index were in memory", "Give them again")
        found = read(source, texts={self.column})
        if found.fingerprint != self.index.about.fingerprint:
            raise Mistake(found.name, "is no longer the table that was indexed", "Bring it back, or make the index again with `omnitune index`")
        return found

    def __call__(self, queries: Any, k: int = 10, show: tuple[str, ...] = ()) -> Iterator[Answer]:
        """One answer a query, in their order: `{"found": [{"row": number from 1, "score": cosine, column: value}, ...]}`, or `{"error": why}`.

        Args:
            queries: a list of values of the input `by` (texts, or paths of pictures or sounds), or a table that has its column. Rows of the
                indexed table itself, asked by the same input, do not find themselves.
            k: how many, at most.
            show: columns of the indexed table that are told beside the indexed one.
        """
        wrong = [Mistake("show", f"no column {c!r}", did_you_mean(c, self.table.columns)) for c in show if c not in self.table.columns]
        if wrong:
            raise Mistake.together(wrong)
        for found in self._found(self._queries(queries), k):
            yield from self._told(found, [self.column, *show])

    def recall(self, queries: Any, same: str, k: int = 10) -> Recall:
        """How often what is found is right: rows that have the value of the query in a column. Of an approximate index also
        `kept@k`, the share of what exact search finds.

        Args:
            queries: a table with that column and that of the input `by`.
            same: the column, of both tables.
            k: how far down is looked.
        """
        asked = self._queries(queries)
        hits, kept_parts = list[Array](), list[Array]()
        unread: list[bool] = []
        right = Right(self.table, asked, same, self.index.about.problems, self._own(asked))
        for found in self._found(asked, k, compared=self.approximate):
            hits.append(right.hits(found.rows, len(unread)))
            kept_parts += [] if found.kept is None else [found.kept]
            unread += [problem is not None for problem in found.problems]
        kept_n = np.concatenate(kept_parts) if kept_parts else None
        return recalled(np.concatenate(hits), right.how_many(), np.array(unread), k, kept_n)

    def _own(self, asked: Table) -> bool:
        return self.by == self.index.about.of and asked.fingerprint == self.index.about.fingerprint

    def _queries(self, queries: Any) -> Table:
        column = self.embedder.column
        if isinstance(queries, (list, tuple)) and not all(isinstance(query, Mapping) for query in queries):
            queries = [{column: _opened(query) if self.embedder.media else query} for query in queries]
        return read(queries, texts={column}, name="" if isinstance(queries, (str, Path)) else "queries")

    def _found(self, asked: Table, k: int, compared: bool = False) -> Iterator[Found]:
        """A chunk at a time, where it is to be `compared` with exact search."""
        if k < 1:
            raise Mistake("k", f"{k} is none", "Ask for one or more")
        own, start = self._own(asked), 0
        for one in self.embedder(asked):
            but_q = np.arange(start, start + len(one.problems)) if own else None
            scores, rows = self.index.search(one.vectors_nP, k, but_q, self.exact)
            share = kept(self.index.search(one.vectors_nP, k, but_q, exact=True)[0], scores) if compared else None
            unread = np.array([problem is not None for problem in one.problems])
            rows[unread] = -1
            yield Found(scores, rows, one.problems, share)
            start += len(one.problems)

    def _told(self, found: Found, columns: list[str]) -> Iterator[Answer]:
        numbers = np.unique(found.rows[found.rows >= 0])
        values = {column: dict(zip(numbers.tolist(), self.table.take(column, numbers), strict=True)) for column in dict.fromkeys(columns)}
        for score_k, row_k, problem in zip(found.scores.tolist(), found.rows.tolist(), found.problems, strict=True):
            answers = [
                {"row": row + 1, "score": round(score, 5)} | {column: _plain(of[row]) for column, of in values.items()}
                for score, row in zip(score_k, row_k, strict=True)
                if row >= 0
            ]
            yield {"found": answers} if problem is None else {"error": problem}


def _opened(query: Any) -> Any:
    """The bytes of a file of the user's, wherever it lies; all else as it is."""
    return Path(query).read_bytes() if isinstance(query, (str, Path)) and Path(query).is_file() else query


def _plain(value: Any) -> Any:
    """As JSON may hold it."""
    if isinstance(value, (bytes, Mapping)):
        return None
    return value if isinstance(value, (str, int, float, bool, list)) or value is None else str(value)
