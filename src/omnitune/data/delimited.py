"""CSV and TSV: read in a stream, with types that hold over the whole file and values that reading never changes.

What type a column has, see `written`. An empty cell is missing; a quoted empty cell (`""`) in a text column is an empty text. `NA`, `nan`,
`null` and the like are missing among numbers, words elsewhere.
"""

import csv
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pv

from omnitune.data import written
from omnitune.data.cached import Stream
from omnitune.data.text_files import lines, not_utf8, open_binary, records
from omnitune.errors import Mistake

BLOCK = 1 << 25
"""Bytes read at once; the largest row."""
SHOWN = 20


@dataclass(frozen=True)
class Layout:
    """How the rows of a file are written."""

    names: list[str]
    delimiter: str


def stream(path: Path, texts: Collection[str] = ()) -> Stream:
    """The rows of a CSV or TSV file, compressed or not, with the columns `texts` as they are written; raises `Mistake` for rows of a wrong length,
    another encoding than UTF-8, no rows."""
    layout = _layout(path)
    types = _types(path, layout, texts)
    schema = pa.schema(list(zip(layout.names, types, strict=True)))
    return schema, (_typed(batch, schema) for batch in _rows(path, layout))


def _layout(path: Path) -> Layout:
    with open_binary(path) as file:
        first = [text for _, text, _ in islice(records(file), 2)]
    if len(first) < 2:
        raise Mistake(path.name, "there are no rows" + ("" if first else " and no header"), "Give a header line and at least one row")
    try:
        header = first[0].decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path) or error from None
    delimiter = _delimiter(path, header)
    return Layout(next(csv.reader([header], delimiter=delimiter)), delimiter)


def _delimiter(path: Path, header: str) -> str:
    """A tab in a .tsv; else a comma, unless the header has none and has a semicolon or a tab (as spreadsheets write in many countries)."""
    if ".tsv" in [suffix.lower() for suffix in path.suffixes[-2:]]:
        return "\t"
    return next((sign for sign in ",;\t" if sign in header), ",")


def _rows(path: Path, layout: Layout) -> Iterator[pa.RecordBatch]:
    """The rows with every value as text."""
    refused: list[pv.InvalidRow] = []

    def refuse(row: Any) -> str:
        refused.append(row)
        return "skip"

    reading = pv.ReadOptions(use_threads=False, block_size=BLOCK)
    parsing = pv.ParseOptions(delimiter=layout.delimiter, newlines_in_values=True, invalid_row_handler=refuse)
    text = dict.fromkeys(layout.names, pa.string())
    converting = pv.ConvertOptions(column_types=text, strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
    last = None
    with open_binary(path) as file:
        try:
            with pv.open_csv(file, read_options=reading, parse_options=parsing, convert_options=converting) as reader:
                for batch in reader:
                    last = batch if len(batch) else last
                    yield batch
        except pa.ArrowInvalid as error:
            raise not_utf8(path) or _unreadable(path, error) from None
    if refused:
        raise _wrong_length(path, refused)
    _ends(path, last)


def _types(path: Path, layout: Layout, texts: Collection[str]) -> list[pa.DataType]:
    surveys = [None if name in texts else written.Survey() for name in layout.names]
    for batch in _rows(path, layout):
        for survey, column in zip(surveys, batch.columns, strict=True):
            if survey:
                survey.add(column)
    return [survey.type if survey else pa.string() for survey in surveys]


def _typed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.record_batch([written.cast(column, field.type) for column, field in zip(batch.columns, schema, strict=True)], schema=schema)


def _wrong_length(path: Path, refused: list[Any]) -> Mistake:
    """`refused` rows count from 1 with the header first."""
    found = lines(path, [row.number - 2 for row in refused[:SHOWN]])
    mistakes = [
        Mistake(
            f"{path.name} row {row.number - 1} (line {found.get(row.number - 2)})",
            f"{row.actual_columns} fields where the header names {row.expected_columns}",
            "Put quotes around fields that hold the delimiter, a quote or a line end",
        )
        for row in refused[:SHOWN]
    ]
    more = [Mistake(path.name, f"{len(refused) - SHOWN:,} more rows have a wrong number of fields")] if len(refused) > SHOWN else []
    return Mistake.together(mistakes + more)


def _ends(path: Path, last: pa.RecordBatch | None) -> None:
    """A quote that is never closed swallows the rows after it into the last one."""
    values = [] if last is None else [column[-1].as_py() for column in last.columns]
    if not any(value and "\n" in value for value in values):
        return
    with open_binary(path) as file:
        start, _, whole = deque(records(file), maxlen=1).pop()
    if not whole:
        raise Mistake(f"{path.name} line {start}", "a quote is opened and never closed", 'Close it; a quote inside quotes is written twice ("")')


def _unreadable(path: Path, error: Exception) -> Mistake:
    if "straddl" in str(error):
        return Mistake(path.name, f"a row is larger than {BLOCK >> 20} MB, or a quote is never closed", 'A quote inside quotes is written twice ("")')
    return Mistake(path.name, f"cannot be read as CSV: {error}", "Mend the file, or save it as Parquet")
