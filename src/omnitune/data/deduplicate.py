"""Deduplicate: of rows whose values are letter by letter the same, the first is kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnitune.data.split import digests
from omnitune.data.table import Rows, Table


def deduplicated(table: Table, column: str, rows: Rows, others: Sequence[str] = ()) -> Rows:
    """`rows` in their order without those whose `column` equals that of a row before; `len(rows) - len(kept)` were dropped.

    Rows without a value are all kept: nothing says that they are the same. Candidates are found by their digests and compared in full, since
    digests take a text for the number it writes.

    Args:
        table: where they are.
        column: of documents.
        rows: row numbers.
        others: columns that must be equal too.
    """
    rows, columns = np.asarray(rows, np.int64), [column, *others]
    found = digests(table, rows, columns, fallback=[])
    _, first, which = np.unique(found, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[which] != np.arange(len(rows)))
    dropped = np.zeros(len(rows), dtype=bool)
    seen: dict[int, list[int]] = {}
    for place in later.tolist():
        known, values = seen.setdefault(int(which[place]), [int(first[which[place]])]), _values(table, columns, rows[place])
        if values[0] is None:
            continue
        dropped[place] = any(_values(table, columns, rows[other]) == values for other in known)
        if not dropped[place]:
            known.append(place)
    return rows[~dropped]


def _values(table: Table, columns: Sequence[str], row: int) -> list[Any]:
    return [table.take(column, [row])[0] for column in columns]
