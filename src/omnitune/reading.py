"""Reading: rows of any source become batches for some inputs of a model; a row that cannot be read gets its error, never another row's values."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.data.batches import ahead, encode
from omnitune.data.files import JSON, ending
from omnitune.data.hub import is_dataset
from omnitune.data.json_files import objects
from omnitune.data.media import open_each
from omnitune.data.rows import named, value_of
from omnitune.data.schema import Schema
from omnitune.data.table import Table, read
from omnitune.data.written import read_as
from omnitune.errors import Mistake, did_you_mean
from omnitune.modalities import Modality
from omnitune.nn import values as cells
from omnitune.nn.tokens import Batch
from omnitune.recipe import Recipe

Row = dict[str, Any]
Array = np.ndarray[Any, Any]
CHUNK = 512
"""Rows sorted by length together: enough to leave little padding, few enough to stream."""
CHUNK_OF_MEDIA = 4
"""Batches of files that are opened together: they are in memory until they are answered."""
TOKENS = 64
"""Of a row of middling length. A batch holds as many tokens as `batch` such rows: short rows go in many at a time, long ones a few."""


class Reader:
    """Reads rows for a model.

    Args:
        recipe, schema: how it was trained.
        inputs: names of those that are read; their columns must be there.
        batch: rows of middling length that are computed together; of long texts fewer, of short ones more.
        columns: more of them, which prompts name.
    """

    def __init__(self, recipe: Recipe, schema: Schema, inputs: Sequence[str], batch: int, columns: Collection[str] = ()) -> None:
        self.recipe, self.schema, self.batch = recipe, schema, batch
        self.inputs: dict[str, Modality] = {name: recipe.inputs[name] for name in inputs}
        self.columns = {recipe.column(name) for name in inputs}.union(columns)
        self.needed = {column for task in recipe.tasks.values() for column in task.needs()} & self.columns
        self.media = any(modality.media for modality in self.inputs.values())

    def chunks(self, source: Any) -> Iterator[list[Row | str]]:
        """Of every row its values by column, or what is wrong with it; `source` as for `Predictor`."""
        inputs = {self.recipe.column(name): modality for name, modality in self.inputs.items()}
        lists = {
            column: (list, np.ndarray) if m.of_texts or m.several else (list, np.ndarray, str) for column, m in inputs.items() if m.lists or m.several
        }
        lists |= dict.fromkeys(self.needed, (list, np.ndarray))
        for chunk, root in _chunks(source, self.columns, lists, CHUNK_OF_MEDIA * self.batch if self.media else CHUNK):
            yield [self._open(row, root) for row in chunk]

    def rows(self, table: Table, numbers: Array) -> list[Row | str]:
        """The same of some rows of a table."""
        _columns_there(set(table.columns), self.columns, table.name)
        return [self._open(row, table.root) for row in _rows(table, numbers, self.columns)]

    def batches(self, rows: list[Row]) -> tuple[Array, Iterator[Batch]]:
        """Batches of like length, each encoded while the one before is computed; and where in `rows` theirs, one behind the other, stand."""
        cuts = self.cut([self._size(row) for row in rows])

        def encoded() -> Iterator[Batch]:
            return (self._encode([rows[place] for place in places]) for places in cuts)

        return np.array([place for places in cuts for place in places], np.int64), ahead(encoded) if len(cuts) > 1 else encoded()

    def cut(self, sizes: list[int]) -> list[list[int]]:
        """Places of rows, longest first, in batches of about equally many tokens."""
        cuts: list[list[int]] = []
        room = 0
        for place in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            if not cuts or sizes[place] > room:
                cuts, room = [*cuts, []], self.batch * TOKENS
            cuts[-1].append(place)
            room -= sizes[place]
        return cuts

    def _encode(self, rows: list[Row]) -> Batch:
        values = {name: [row[self.recipe.column(name)] for row in rows] for name in self.inputs}
        return encode(self.recipe, self.schema, np.arange(len(rows)), values.__getitem__, inputs=self.inputs)

    def _open(self, row: Row, root: Path | None) -> Row | str:
        """The row's values as modalities take them, or what is wrong with it."""
        values: Row = {}
        problems = []
        for name, modality in self.inputs.items():
            column = self.recipe.column(name)
            value = read_as(value_of(row.get(column)), self.schema.columns.get(column))
            try:
                value = open_each(value, root) if value is not None and modality.media else value
                problem = None if value is None else modality.check(value)
            except Mistake as mistake:
                problem = str(mistake)
            values[column] = value
            problems += [f"{column}: {problem}"] if problem else []
        for column in sorted(self.columns - values.keys()):
            values[column] = read_as(value_of(row.get(column)), self.schema.columns.get(column))
            problem = None if values[column] is None or column in self.needed else cells.problem(values[column])
            problems += [f"{column}: {problem}"] if problem else []
        problems += [f"{column}: {problem}" for column, problem in filter(None, (task.odd(values) for task in self.recipe.tasks.values()))]
        return "; ".join(problems) if problems else values

    def _size(self, row: Row) -> int:
        """About how many tokens; a row with a file counts as one of middling length, and with text beside it as longer."""
        sized = ((m, row[self.recipe.column(name)]) for name, m in self.inputs.items())
        tokens: int = sum(m.size(value) for m, value in sized if value is not None and not m.media)
        return max(1, tokens + TOKENS * self.media)


def _column(value: Any, lists: tuple[type, ...] | None) -> bool:
    """Whether it holds the values of many rows, which may themselves be lists; then `lists` are the types that such a value may have."""
    return isinstance(value, (list, np.ndarray)) and (lists is None or (len(value) > 0 and isinstance(value[0], lists)))


def _chunks(source: Any, columns: set[str], lists: Mapping[str, tuple[type, ...]], size: int) -> Iterator[tuple[list[Row], Path | None]]:
    if isinstance(source, Mapping) and not is_dataset(source) and not any(_column(source.get(c), lists.get(c)) for c in columns):
        source = [source]
    if (
        isinstance(source, Iterable)
        and not isinstance(source, (str, Path, Mapping))
        and not hasattr(source, "columns")
        and not hasattr(source, "column_names")
    ):
        keys = {str(key) for row in source if isinstance(row, Mapping) for key in row} if isinstance(source, (list, tuple)) else None
        yield from _row_chunks("row", source, columns, keys, None, size)
        return
    if isinstance(source, (str, Path)) and ending(path := Path(source).expanduser()) in JSON and path.is_file():
        keys = {key for number, row in enumerate(objects(path), 1) for key in named(f"{path.name} row {number}", row)}
        if keys:
            yield from _row_chunks(f"{path.name} row", objects(path), columns, keys, path.parent, size)
            return
    table = read(source, texts=columns)
    _columns_there(set(table.columns), columns, table.name)
    for start in range(0, len(table), size):
        yield _rows(table, np.arange(start, min(start + size, len(table))), columns), table.root


def _row_chunks(
    where: str, source: Iterable[Any], columns: set[str], keys: set[str] | None, root: Path | None, size: int
) -> Iterator[tuple[list[Row], Path | None]]:
    """Rows that need no type in common, so that an odd value is the matter of its row. A column that some row has (`keys`) is missing in rows
    without it. Of a stream (None) only the first row is known, so that one must have them all."""
    rows = (named(f"{where} {number}", row) for number, row in enumerate(source, 1))
    while chunk := list(islice(rows, size)):
        keys = set(chunk[0]) if keys is None else keys
        _columns_there(keys, columns, where.removesuffix("row").rstrip() or "rows")
        yield chunk, root


def _rows(table: Table, numbers: np.ndarray[Any, Any], columns: set[str]) -> list[Row]:
    values = {column: table.take(column, numbers) for column in columns}
    return [{column: values[column][i] for column in columns} for i in range(len(numbers))]


def _columns_there(found: set[str], wanted: set[str], where: str) -> None:
    missing = [Mistake(where, f"no column {c!r}", f"{did_you_mean(c, sorted(found))}. A missing value is None") for c in sorted(wanted - found)]
    if missing:
        raise Mistake.together(missing)
