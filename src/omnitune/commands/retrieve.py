"""retrieve: what in an index is nearest to a text, a picture or a sound, or to every row of a table; and how often that is right."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.commands.index import fingerprint
from omnitune.data.table import Table, read
from omnitune.embedding import Embedder
from omnitune.errors import Mistake, did_you_mean
from omnitune.evaluation.measure import Predictions, measure, shown
from omnitune.nn.hits import hit_metrics
from omnitune.vector_index import VectorIndex

Array = np.ndarray[Any, Any]
Answer = dict[str, Any]


@dataclass(frozen=True)
class Recall:
    """How often what was found is right.

    Args:
        rows: queries that were measured.
        unread: queries without a vector.
        unanswered: queries that nothing in the index is right for; they are not measured.
        metrics: {name: {value, low, high}}, with 95 % intervals over queries.
    """

    rows: int
    unread: int
    unanswered: int
    metrics: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def __str__(self) -> str:
        lines = [f"{name:<12} {shown(one)}" for name, one in self.metrics.items()]
        left = [
            f"{n:,} {why}" for n, why in ((self.unread, "could not be read or are missing"), (self.unanswered, "have no right answer there")) if n
        ]
        return "\n".join([f"{self.rows:,} queries" + (f"; not measured: {', '.join(left)}" if left else ""), *lines])


class Retriever:
    """An index with its model and its table.

    Args:
        index: its folder.
        run: the model, where it has moved since.
        table: the rows that were indexed, where they have moved since, or were in memory.
        by: the input that queries are of; the other one of the task where it is left out.

    Raises:
        Mistake: no index, run or table, or another model or table than the index was made with.
    """

    def __init__(self, index: str | Path, run: str | Path | Artifact | None = None, table: Any = None, by: str | None = None) -> None:
        self.index = VectorIndex.read(index)
        about = self.index.about
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
        if wrong or k < 1:
            raise Mistake.together(wrong or [Mistake("k", f"{k} is none", "Ask for one or more")])
        for scores, rows, problems in self._found(self._queries(queries), k):
            yield from self._told(scores, rows, problems, [self.column, *show])

    def recall(self, queries: Any, same: str, k: int = 10) -> Recall:
        """How often what is found is right: rows that have the value of the query in a column.

        Args:
            queries: a table with that column and that of the input `by`.
            same: the column, of both tables.
            k: how far down is looked.
        """
        asked = self._queries(queries)
        wrong = [Mistake(t.name, f"no column {same!r}", did_you_mean(same, t.columns)) for t in (asked, self.table) if same not in t.columns]
        if wrong:
            raise Mistake.together(wrong)
        truth, groups = _numbered(self.table, same, {})
        wanted, _ = _numbered(asked, same, groups)
        findable = np.ones(len(self.table), bool)
        findable[list(self.index.about.problems)] = False
        right = np.bincount(truth[findable & (truth >= 0)], minlength=len(groups) + 1)
        hits: list[Array] = []
        unread: list[bool] = []
        for _, rows, problems in self._found(asked, k):
            mine = wanted[len(unread) : len(unread) + len(rows)]
            hits.append((truth[rows] == mine[:, None]) & (rows >= 0) & (mine >= 0)[:, None])
            unread += [problem is not None for problem in problems]
        return self._measured(np.concatenate(hits), np.where(wanted >= 0, right[wanted] - self._itself(asked, findable), 0), np.array(unread), k)

    @staticmethod
    def _measured(hits_nk: Array, right_n: Array, unread_n: Array, k: int) -> Recall:
        there = ~unread_n & (right_n > 0)
        p_nk = np.pad(hits_nk, ((0, 0), (0, max(0, k - hits_nk.shape[1]))))[there].astype(np.float64)
        found = measure(hit_metrics(k), {"found": Predictions(right_n[there, None], p_nk, np.flatnonzero(there))})
        return Recall(int(there.sum()), int(unread_n.sum()), int((~unread_n & (right_n <= 0)).sum()), found["models"]["found"])

    def _itself(self, asked: Table, findable: Array) -> Array | int:
        """Of each query how many rows it may not find: itself, where it is one that could be found."""
        return findable.astype(np.int64) if self._own(asked) else 0

    def _own(self, asked: Table) -> bool:
        return self.by == self.index.about.of and asked.fingerprint == self.index.about.fingerprint

    def _queries(self, queries: Any) -> Table:
        column = self.embedder.column
        if isinstance(queries, (list, tuple)) and not all(isinstance(query, Mapping) for query in queries):
            queries = [{column: _opened(query) if self.embedder.media else query} for query in queries]
        return read(queries, texts={column}, name="" if isinstance(queries, (str, Path)) else "queries")

    def _found(self, asked: Table, k: int) -> Iterator[tuple[Array, Array, list[str | None]]]:
        """Scores and row numbers, (q, k) each, and why a query has none, a chunk at a time."""
        own, start = self._own(asked), 0
        for one in self.embedder(asked):
            but_q = np.arange(start, start + len(one.problems)) if own else None
            scores, rows = self.index.search(one.vectors_nP, k, but_q)
            unread = np.array([problem is not None for problem in one.problems])
            rows[unread] = -1
            yield scores, rows, one.problems
            start += len(one.problems)

    def _told(self, scores: Array, rows: Array, problems: list[str | None], columns: list[str]) -> Iterator[Answer]:
        numbers = np.unique(rows[rows >= 0])
        values = {column: dict(zip(numbers.tolist(), self.table.take(column, numbers), strict=True)) for column in dict.fromkeys(columns)}
        for score_k, row_k, problem in zip(scores.tolist(), rows.tolist(), problems, strict=True):
            found = [
                {"row": row + 1, "score": round(score, 5)} | {column: _plain(of[row]) for column, of in values.items()}
                for score, row in zip(score_k, row_k, strict=True)
                if row >= 0
            ]
            yield {"found": found} if problem is None else {"error": problem}


def _numbered(table: Table, column: str, groups: dict[Any, int]) -> tuple[Array, dict[Any, int]]:
    """The value of each row as a number, (n,), -1 where it is missing, the same for equal values."""
    found = np.full(len(table), -1, np.int64)
    for numbers in table.blocks(column, np.arange(len(table))):
        for row, value in zip(numbers.tolist(), table.take(column, numbers), strict=True):
            if value is not None:
                found[row] = groups.setdefault(str(value), len(groups))
    return found, groups


def _opened(query: Any) -> Any:
    """The bytes of a file of the user's, wherever it lies; all else as it is."""
    return Path(query).read_bytes() if isinstance(query, (str, Path)) and Path(query).is_file() else query


def _plain(value: Any) -> Any:
    """As JSON may hold it."""
    if isinstance(value, (bytes, Mapping)):
        return None
    return value if isinstance(value, (str, int, float, bool, list)) or value is None else str(value)
