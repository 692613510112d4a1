"""Deduplicate: of documents that are letter by letter the same, the first is kept."""

import numpy as np

from omnitune.data.split import digests
from omnitune.data.table import Rows, Table

CHUNK = 64


def deduplicated(table: Table, column: str, rows: Rows) -> Rows:
    """`rows` in their order without those whose `column` equals that of a row before; `len(rows) - len(kept)` were dropped.

    Rows without a value are all kept: nothing says that they are the same. Candidates are found by their digests and compared in full, since
    digests take a text for the number it writes.
    """
    rows = np.asarray(rows, np.int64)
    found = digests(table, rows, [column], fallback=[])
    _, first, which = np.unique(found, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[which] != np.arange(len(rows)))
    dropped = np.zeros(len(rows), dtype=bool)
    seen: dict[int, list[int]] = {}
    for start in range(0, len(later), CHUNK):
        places = later[start : start + CHUNK]
        for place, value in zip(places.tolist(), table.take(column, rows[places]), strict=True):
            others = seen.setdefault(int(which[place]), [int(first[which[place]])])
            same = value is not None and value in table.take(column, rows[others])
            dropped[place] = same
            if value is not None and not same:
                others.append(place)
    return rows[~dropped]
