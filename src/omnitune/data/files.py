"""Files: one table file of any kind as a piece of a table, converted to Arrow and memory-mapped."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from omnitune.data import delimited, documents, json_files, text_files
from omnitune.data.cached import Stream, stored
from omnitune.data.names import with_names
from omnitune.data.views import usual, without_views
from omnitune.errors import Mistake

BATCH_BYTES = 1 << 26


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive rows of one origin.

    Args:
        name: of the origin, for messages.
        arrow: its rows.
        path: the file, where it is one.
        part: `train`, `validation` or `test`, where the source says so.
    """

    name: str
    arrow: pa.Table
    path: Path | None = None
    part: str | None = None

    @property
    def untyped(self) -> bool:
        """Whether its types are found by looking at texts."""
        return self.path is not None and ending(self.path) in DELIMITED

    def places(self, rows: Collection[int]) -> dict[int, str]:
        """'reviews.csv row 17 (line 18)' for row number 16."""
        lines = text_files.lines(self.path, rows) if self.path and self.untyped else {}
        return {row: f"{self.name} row {row + 1}" + (f" (line {lines[row]})" if row in lines else "") for row in rows}


def ending(path: Path) -> str:
    """`.csv` of reviews.csv and of reviews.csv.gz."""
    return (path.with_suffix("") if path.suffix.lower() in text_files.COMPRESSED else path).suffix.lower()


def is_table(path: Path) -> bool:
    """Whether the file's ending is one that is read."""
    return ending(path) in ENDINGS and not (path.suffix.lower() in text_files.COMPRESSED and ending(path) not in TEXTS)


def read_file(path: Path, part: str | None = None, texts: Collection[str] = ()) -> Piece:
    """The rows of one file; of a file without types (CSV), the columns `texts` as they are written.

    Raises:
        Mistake: its ending is unknown, it cannot be read as what its ending says, it has no rows, or two columns have one name.
    """
    name = path.name
    if not is_table(path):
        known = f"There are: {', '.join(sorted(ENDINGS))}; texts also as {', '.join(text_files.COMPRESSED)}"
        raise Mistake(name, f"no table is read from {path.suffix or 'a file without ending'}", known)
    try:
        as_texts = sorted(texts) if ending(path) in DELIMITED else []
        convert = partial(delimited.stream, texts=as_texts) if as_texts else ENDINGS[ending(path)]
        table = stored(path, convert, json.dumps(as_texts) if as_texts else "")
    except text_files.UNREADABLE as error:
        raise text_files.refused(path, error) or error from None
    return Piece(name, checked(name, table), path, part)


def checked(name: str, table: pa.Table) -> pa.Table:
    """`table`, which must have rows and columns of different names."""
    different(name, table.column_names)
    if not len(table) or not table.column_names:
        raise Mistake(name, "there are no rows", "Give a table with at least one row")
    return without_views(table)


def different(name: str, columns: list[str]) -> None:
    """Raises `Mistake` naming every column name that stands there twice."""
    if twice := sorted({column for column in columns if columns.count(column) > 1}):
        raise Mistake.together(
            Mistake(name, f"{columns.count(column)} columns are called {column!r}", "Give every column a name of its own") for column in twice
        )


def _parquet(path: Path) -> Stream:
    try:
        file = pq.ParquetFile(path, memory_map=True, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, "Parquet", error) from None
    different(path.name, file.schema_arrow.names)
    size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.num_row_groups))
    batch_rows = min(65_536, max(1, BATCH_BYTES * max(1, file.metadata.num_rows) // max(1, size)))
    return _plain(path, "Parquet", file.schema_arrow, file.iter_batches(batch_size=batch_rows))


def _arrow(path: Path) -> Stream:
    """An Arrow file (also called Feather), or an Arrow stream."""
    source = pa.memory_map(str(path))
    try:
        file = pa.ipc.open_file(source)
        return _plain(path, "Arrow", file.schema, (file.get_batch(i) for i in range(file.num_record_batches)))
    except pa.ArrowInvalid:
        source.seek(0)
    try:
        reader = pa.ipc.open_stream(source)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, "Arrow", error) from None
    return _plain(path, "Arrow", reader.schema, iter(reader))


def _plain(path: Path, kind: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Stream:
    """Without dictionaries, which an Arrow file holds once only, and with the names of classes where `datasets` left them."""

    def each() -> Iterator[pa.RecordBatch]:
        try:
            for batch in batches:
                columns = zip(change(batch).columns, plain, strict=True)
                yield pa.record_batch([column.cast(usual(column.type)).cast(field.type) for column, field in columns], schema=plain)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(path, kind, error) from None

    change = partial(with_names, features=_features(schema))
    changed = change(schema.empty_table()).schema
    plain = pa.schema([(field.name, usual(field.type.value_type if pa.types.is_dictionary(field.type) else field.type)) for field in changed])
    return plain, each()


def _features(schema: pa.Schema) -> dict[str, Any]:
    """What `datasets` wrote about the columns of a Parquet or Arrow file."""
    written = (schema.metadata or {}).get(b"huggingface")
    return dict(json.loads(written).get("info", {}).get("features", {})) if written else {}


def _damaged(path: Path, kind: str, error: Exception) -> Mistake:
    return Mistake(path.name, f"is no intact {kind} file: {error}", "Copy or write it again")


DELIMITED = {".csv", ".tsv"}
JSON = {".json", ".jsonl", ".ndjson"}
TEXTS = DELIMITED | JSON | {documents.ENDING}
ENDINGS: dict[str, Callable[[Path], Stream]] = {
    ".csv": delimited.stream, ".tsv": delimited.stream,
    ".json": json_files.stream, ".jsonl": json_files.stream, ".ndjson": json_files.stream,
    ".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow, ".ipc": _arrow,
    documents.ENDING: documents.stream,
}  # fmt: skip
