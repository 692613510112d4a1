"""Deduplicate: of rows whose values are letter by letter the same, the first is kept."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnitune.data.split import digests
from omnitune.data.table import Rows, Table
from omnitune.recipe import Recipe
from omnitune.tasks import SelfSupervised


def different(recipe: Recipe, table: Table, rows: Rows) -> Rows:
    """`rows` without those that say again what a row before said, where texts teach by themselves: where they are read in pieces, or no task has
    labels. Rows that differ in any column that the recipe reads are different; labelled rows stay as they are, and so do
    prompts with answers and sounds with transcripts."""
    asked = [task.of for task in recipe.tasks.values() if isinstance(task, SelfSupervised) and not task.writes]
    name = recipe.pieced or (asked[0] if len(asked) == len(recipe.tasks) else None)
    if name is None:
        return rows
    columns = [*map(recipe.column, recipe.inputs), *(column for task in recipe.tasks.values() for column in task.columns())]
    return deduplicated(table, recipe.column(name), rows, [column for column in columns if column != recipe.column(name)])


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
