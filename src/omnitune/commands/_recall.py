"""How often what was found is right, where a column of both tables says what is.

Shape letters: n queries, k found, m rows of the table that was indexed.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnitune.data.table import Table
from omnitune.errors import Mistake, did_you_mean
from omnitune.evaluation.measure import Predictions, measure, shown
from omnitune.nn.hits import hit_metrics
from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]


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


class Right:
    """Which rows of a table are right for the rows of another: those with the same value in a column.

    Args:
        table: that was indexed.
        asked: the queries.
        same: the column, of both.
        never: rows of the table that cannot be found.
        own: whether the queries are the rows themselves, which do not find themselves.

    Raises:
        Mistake: one of them has no such column.
    """

    def __init__(self, table: Table, asked: Table, same: str, never: Collection[int], own: bool) -> None:
        wrong = [Mistake(t.name, f"no column {same!r}", did_you_mean(same, t.columns)) for t in (asked, table) if same not in t.columns]
        if wrong:
            raise Mistake.together(wrong)
        groups: dict[str, int] = {}
        self.truth_m, self.wanted_n, self.own = _numbered(table, same, groups), _numbered(asked, same, groups), own
        self.findable_m = np.ones(len(table), bool)
        self.findable_m[list(never)] = False
        self.groups = len(groups)

    def hits(self, rows_qk: Array, start: int) -> Array:
        """Which of the rows that queries from number `start` on have found are right, (q, k) bool; -1 is none."""
        mine_q1 = self.wanted_n[start : start + len(rows_qk), None]
        return np.asarray((self.truth_m[rows_qk] == mine_q1) & (rows_qk >= 0) & (mine_q1 >= 0))

    def how_many(self) -> Array:
        """Of each query how many rows are right, (n,)."""
        counts = np.bincount(self.truth_m[self.findable_m & (self.truth_m >= 0)], minlength=self.groups + 1)
        found_n = counts[self.wanted_n] - (self.findable_m.astype(np.int64) if self.own else 0)
        return np.where(self.wanted_n >= 0, found_n, 0)


def recalled(hits_nk: Array, right_n: Array, unread_n: Array, k: int, kept_n: Array | None = None) -> Recall:
    """The figures of `hits`, of queries that could be read and that something is right for.

    Args:
        hits_nk: which answers are right.
        right_n: how many rows are.
        unread_n: queries without a vector.
        k: how far down was looked.
        kept_n: the share of what exact search finds, where search was approximate.
    """
    there = ~unread_n & (right_n > 0)
    p_nk = np.pad(hits_nk, ((0, 0), (0, max(0, k - hits_nk.shape[1]))))[there].astype(np.float64)
    figures = _figures(hit_metrics(k), right_n[there, None], p_nk)
    if kept_n is not None:
        figures |= _figures({f"kept@{k}": Metric(lambda y, p: float(p.mean()) if len(p) else float("nan"))}, right_n[there, None], kept_n[there])
    return Recall(int(there.sum()), int(unread_n.sum()), int((~unread_n & (right_n <= 0)).sum()), figures)


def _figures(metrics: dict[str, Metric], y: Array, p: Array) -> dict[str, Any]:
    made: dict[str, Any] = measure(metrics, {"found": Predictions(y, p, np.arange(len(y)))})["models"]["found"]
    return made


def _numbered(table: Table, column: str, groups: dict[str, int]) -> Array:
    """The value of each row as a number, (n,), -1 where it is missing, the same for equal values."""
    found = np.full(len(table), -1, np.int64)
    for numbers in table.blocks(column, np.arange(len(table))):
        for row, value in zip(numbers.tolist(), table.take(column, numbers), strict=True):
            if value is not None:
                found[row] = groups.setdefault(str(value), len(groups))
    return found
