"""Synthetic: rows that a model wrote, behind those of a table, for the training part alone."""

import json
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from omnitune.data.audit import columns_exist, wanted
from omnitune.data.identity import content
from omnitune.data.split import digests
from omnitune.data.table import Rows, Table, read
from omnitune.errors import Mistake
from omnitune.recipe import Recipe

MARK, SOURCE_ROW, PROBABILITY = "synthetic", "source_row", "probability"
"""Columns of such a file: that it is one, the row it was written from (from 0), and how likely the model that filtered takes its answers."""
KEY = b"omnitune"
SHOWN = 5


class Augmented(Table):
    """The rows of a table and behind them synthetic ones.

    Args:
        own: the table as it was read; its rows keep their numbers.
        written: the synthetic rows.
        columns: of these, those that the recipe reads; the others are missing in them.

    Raises:
        Mistake: a row is not marked as synthetic, or a column holds another type than in `own`; all at once.
    """

    def __init__(self, own: Table, written: Table, columns: Collection[str]) -> None:
        self.own, self.written, self.name, self.root, self.pieces = own, written, f"{own.name}, {written.name}", own.root, ()
        plain = _decoded(own.arrow)
        kept = [column for column in own.columns if column in columns]
        if wrong := [*_unmarked(written), *_other_types(plain, own.name, written, kept)]:
            raise Mistake.together(wrong)
        behind = _decoded(written.arrow).select(kept).cast(plain.select(kept).schema)
        self.arrow = pa.concat_tables([plain, behind], promote_options="default")
        self._starts = {column: np.cumsum([0] + [len(c) for c in self.arrow[column].chunks[:-1]]) for column in self.columns}
        self._sizes: dict[str, Rows] = {}

    @cached_property
    def parts(self) -> dict[str, Rows] | None:
        """See `Table.parts`: those of `own`."""
        return self.own.parts

    def places(self, numbers: Collection[int]) -> dict[int, str]:
        """See `Table.places`; each in the file that it stands in."""
        first = len(self.own)
        found = self.own.places([number for number in numbers if number < first])
        behind = self.written.places([number - first for number in numbers if number >= first])
        return found | {number + first: place for number, place in behind.items()}


def rows_of(recipe: Recipe) -> Table:
    """The table of a recipe, with its synthetic rows behind it. Raises `Mistake` where one cannot be read, or they do not fit together."""
    table, path = read(recipe.data.source), recipe.data.synthetic
    if path is None:
        return table
    written = read(path)
    for one in (table, written):
        columns_exist(recipe, one)
    return Augmented(table, written, reads(recipe))


def reads(recipe: Recipe) -> list[str]:
    """Every column that a recipe reads, each once."""
    return list(dict.fromkeys(column for columns in wanted(recipe).values() for column in columns))


def unheld(recipe: Recipe, table: Table, rows: Rows, held: Rows) -> Rows:
    """Those of some synthetic `rows` that say nothing that a validation or test row (`held`) says: neither what decides the side of a row, nor, where
    `data.by` decides that, its texts and pictures."""
    kept = np.ones(len(rows), dtype=bool)
    alone = recipe.replace(data=recipe.data.replace(by=()))
    for by, files, fallback in map(content, [recipe, alone] if recipe.data.by else [recipe]):
        kept &= ~np.isin(digests(table, rows, by, files, fallback), digests(table, held, by, files, fallback))
    return rows[kept]


def about(written: Table) -> dict[str, Any]:
    """What stands in a Parquet file about its rows: how they were written, and kept; nothing of other files."""
    import pyarrow.parquet as pq

    path = written.pieces[0].path
    if path is None or path.suffix.lower() != ".parquet":
        return {}
    found = (pq.read_schema(path).metadata or {}).get(KEY)
    return dict(json.loads(found)) if found else {}


def _decoded(table: pa.Table) -> pa.Table:
    plain = [(field.name, field.type.value_type if pa.types.is_dictionary(field.type) else field.type) for field in table.schema]
    return table.replace_schema_metadata().cast(pa.schema(plain))


def _unmarked(written: Table) -> Sequence[Mistake]:
    """Rows that do not say that they are synthetic."""
    fix = f"Rows that people wrote belong into the table; those that a model wrote have true in a column {MARK!r}"
    if MARK not in written.columns:
        return [Mistake(written.name, f"has no column {MARK!r}", fix)]
    wrong = [row for row, value in enumerate(written.take(MARK, np.arange(len(written)))) if value is not True]
    places = written.places(wrong[:SHOWN])
    more = [Mistake(written.name, f"{len(wrong):,} rows are not marked as synthetic", fix)] if wrong else []
    return [*(Mistake(f"{places[row]}, column {MARK}", "is not true") for row in wrong[:SHOWN]), *more]


def _other_types(own: pa.Table, name: str, written: Table, columns: Sequence[str]) -> Sequence[Mistake]:
    """Columns whose values are not of the type that they have in the table."""
    found = []
    for column in columns:
        theirs, mine = _decoded(written.arrow.select([column])), own.schema.field(column)
        try:
            pa.unify_schemas([pa.schema([mine.with_nullable(True)]), theirs.schema], promote_options="permissive")
            theirs.cast(pa.schema([(column, mine.type)]))
        except pa.ArrowException:
            wrong = f"holds {theirs.schema.field(column).type}, but {mine.type} in {name}"
            found.append(Mistake(f"{written.name}, column {column}", wrong, "Give a column one type in both"))
    return found
