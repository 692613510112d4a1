"""Rows: Python values (lists of rows, JSON) become Arrow columns, each of one type; a column of mixed types is refused by row."""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from itertools import islice
from os import PathLike, fspath
from typing import Any

import numpy as np
import pyarrow as pa

from omnitune.data.cached import Stream
from omnitune.data.media import open_media
from omnitune.errors import Mistake
from omnitune.nn import values as cells

Columns = dict[str, list[Any]]
CHUNK = 1024
ONE_TYPE = "Give a column one type"
ARROW_REFUSES = (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, UnicodeEncodeError, TypeError)
WORDS: list[tuple[tuple[type, ...], str]] = [
    ((bool, np.bool_), "true or false"),
    ((int, float, np.integer, np.floating, Decimal), "a number"),
    ((str,), "text"),
    ((bytes, bytearray, memoryview), "bytes"),
    ((datetime, date), "a date"),
    ((time,), "a time"),
    ((timedelta,), "a duration"),
    ((Mapping,), "a mapping"),
    ((list, tuple, np.ndarray), "a list"),
]


def table(name: str, chunks: Sequence[Columns]) -> pa.Table:
    """`chunks` of columns as one Arrow table; raises one `Mistake` naming every column of mixed types, with the row."""
    schema, batches = stream(name, lambda: iter(chunks))
    return pa.Table.from_batches(batches, schema)


def stream(name: str, chunks: Callable[[], Iterator[Columns]]) -> Stream:
    """Arrow batches of what `chunks()` gives, which is walked twice: once for the types, once for the values."""
    survey = _Survey(name)
    for chunk in chunks():
        survey.add(chunk)
    schema = survey.schema()
    return schema, (_batch(name, start, chunk, schema) for start, chunk in _numbered(chunks()))


def chunked(name: str, rows: Iterable[Any]) -> Iterator[Columns]:
    """Rows (mappings) as columns, `CHUNK` rows at a time; a column that a row does not have is missing there."""
    remaining, start = iter(rows), 0
    while taken := list(islice(remaining, CHUNK)):
        chunk = [named(f"{name} row {number}", row) for number, row in enumerate(taken, start + 1)]
        columns = dict.fromkeys(column for row in chunk for column in row)
        yield {column: [row.get(column) for row in chunk] for column in columns}
        start += len(chunk)


def named(where: str, row: Any) -> dict[str, Any]:
    """A row by the names of its columns, which are texts; raises `Mistake` where it is no row, or two columns have one name."""
    if not isinstance(row, Mapping) or not row:
        raise Mistake(where, f"expected a mapping of columns to values, got {repr(row)[:40]}", "A missing value is None")
    found = {str(column): value for column, value in row.items()}
    if len(found) < len(row):
        twice = next(column for column in row if not isinstance(column, str) and str(column) in row)
        raise Mistake(where, f"two columns are called {str(twice)!r}: {twice!r} and {str(twice)!r}", "Give every column a name of its own")
    return found


def value_of(value: Any) -> Any:
    """A value of a row as a table would give it: numbers of numpy as Python's, paths as text, None for NaN, NA and NaT."""
    kind: Any = type(value)
    if kind in (str, int, bool, bytes) or value is None:
        return value
    if isinstance(value, np.generic):
        value = (value.astype("datetime64[us]") if isinstance(value, np.datetime64) else value).item()
    elif isinstance(value, PathLike):
        return fspath(value)
    return None if _word(kind) is None or cells.nan(value) else value


def from_columns(name: str, columns: Mapping[Any, Any]) -> list[Columns]:
    """A mapping of columns to lists, in chunks; raises `Mistake` where the lists differ in length."""
    lists = {column: list(values) for column, values in named(name, columns).items()} if columns else {}
    lengths = {column: len(values) for column, values in lists.items()}
    if len(set(lengths.values())) > 1:
        raise Mistake(name, f"columns differ in length: {', '.join(f'{c} {n}' for c, n in lengths.items())}", "Give every column one value a row")
    n = next(iter(lengths.values()), 0)
    return [{column: values[i : i + CHUNK] for column, values in lists.items()} for i in range(0, n, CHUNK)]


class _Survey:
    """The type of every column, found chunk by chunk."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self.words: dict[str, str] = {}
        self.types: dict[str, pa.DataType] = {}
        self.mistakes: dict[str, Mistake] = {}

    def add(self, chunk: Columns) -> None:
        for column, values in chunk.items():
            self.types.setdefault(column, pa.null())
            if column not in self.mistakes:
                try:
                    self._add(column, values)
                except Mistake as mistake:
                    self.mistakes[column] = mistake
        self.rows += len(next(iter(chunk.values()), []))

    def schema(self) -> pa.Schema:
        if self.mistakes:
            raise Mistake.together(self.mistakes.values())
        return pa.schema(list(self.types.items()))

    def _add(self, column: str, values: list[Any]) -> None:
        words = _words(values)
        known = self.words.setdefault(column, words[0]) if words else None
        if known is None:
            return
        for word in words:
            if word != known:
                raise self._mixed(column, values, known)
        kind = _array(self.name, column, self.rows, values).type
        try:
            both = [pa.schema([(column, found)]) for found in (self.types[column], kind)]
            self.types[column] = pa.unify_schemas(both, promote_options="permissive").field(0).type
        except ARROW_REFUSES:
            what = f"rows {self.rows + 1} to {self.rows + len(values)} hold {kind}, rows before hold {self.types[column]}"
            raise Mistake(f"{self.name}, column {column}", what, ONE_TYPE) from None

    def _mixed(self, column: str, values: list[Any], known: str) -> Mistake:
        words = [_word_of(value) for value in values]
        place = next(i for i, word in enumerate(words) if word not in (None, known))
        what = f"{words[place]} ({repr(values[place])[:40]}), where rows before hold {known}"
        return Mistake(f"{self.name} row {self.rows + place + 1}, column {column}", what, ONE_TYPE)


@cache
def _word(kind: type) -> str | None:
    """What values of a type are called; None where they mean "missing". Types that a table cannot hold are called by their own name."""
    if kind.__name__ in {"NoneType", "NAType", "NaTType"}:
        return None
    if kind.__module__.startswith("PIL."):
        return "bytes"
    if issubclass(kind, PathLike):
        return "text"
    return next((word for kinds, word in WORDS if issubclass(kind, kinds)), kind.__name__)


def _words(values: list[Any]) -> list[str]:
    """What the values are called, each word once, in order of appearance. A fraction is looked at, since NaN means "missing"."""
    kinds = dict.fromkeys(map(type, values))
    words = map(_word_of, values) if any(issubclass(kind, (float, np.floating, Decimal)) for kind in kinds) else map(_word, kinds)
    return list(dict.fromkeys(word for word in words if word))


def _word_of(value: Any) -> str | None:
    kind: Any = type(value)
    return None if cells.nan(value) else _word(kind)


def _array(name: str, column: str, start: int, values: list[Any], kind: pa.DataType | None = None) -> pa.Array:
    """An Arrow array; raises `Mistake` at the row whose value does not fit. NaN, NaT and NA are missing."""
    ready = [_plain(value) for value in values] if any(_unusual(kind) for kind in set(map(type, values))) else values
    try:
        return pa.array(ready, type=kind, from_pandas=True)
    except ARROW_REFUSES:
        place = bisect_left(range(1, len(ready) + 1), True, key=lambda n: _refused(ready[:n], kind))
        shown = repr(values[place])[:40]
        what = f"{shown} is of a kind that no table holds, or does not fit beside the values before"
        raise Mistake(f"{name} row {start + place + 1}, column {column}", what, f"{ONE_TYPE}: numbers of up to 64 bits, text, bytes") from None


def _refused(values: list[Any], kind: pa.DataType | None) -> bool:
    try:
        pa.array(values, type=kind, from_pandas=True)
    except ARROW_REFUSES:
        return True
    return False


@cache
def _unusual(kind: type) -> bool:
    return issubclass(kind, (PathLike, memoryview, bytearray, np.floating)) or kind.__module__.startswith("PIL.")


def _plain(value: Any) -> Any:
    """Pictures and buffers as bytes, the rest as `value_of`."""
    if isinstance(value, (PathLike, np.floating)):
        return value_of(value)
    kind: Any = type(value)
    return open_media(value, None) if _unusual(kind) else value


def _numbered(chunks: Iterable[Columns]) -> Iterator[tuple[int, Columns]]:
    start = 0
    for chunk in chunks:
        yield start, chunk
        start += len(next(iter(chunk.values()), []))


def _batch(name: str, start: int, chunk: Columns, schema: pa.Schema) -> pa.RecordBatch:
    n = len(next(iter(chunk.values()), []))
    arrays = [_array(name, field.name, start, chunk.get(field.name, [None] * n), field.type) for field in schema]
    return pa.record_batch(arrays, schema=schema)
