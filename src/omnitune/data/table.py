"""Table: rows from any source, backed by Arrow. `read` takes a file, a folder, a sample, a data set of the hub, or an object in memory."""

import difflib
import hashlib
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from omnitune import samples
from omnitune.data import hub, rows, written
from omnitune.data.files import ENDINGS, Piece, checked, ending, read_file
from omnitune.data.folders import read_folder
from omnitune.data.memory import in_memory
from omnitune.errors import Mistake

Rows = np.ndarray[Any, np.dtype[np.int64]]
SEED = 0
TAKEN = 1024
"""Rows that are taken at once while a table is walked."""
TAKEN_BYTES = 1 << 24
"""Bytes of texts after which fewer are taken: a thousand books are no small thing in memory."""


class Rowed(Protocol):
    """Rows with named columns: a `Table`, or one that stands for another (`Pieced`)."""

    name: str
    root: Path | None

    def __len__(self) -> int: ...

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        ...

    @property
    def fingerprint(self) -> str:
        """See `Table`."""
        ...

    def take(self, column: str, numbers: Sequence[int] | np.ndarray[Any, Any]) -> list[Any]:
        """Values at these rows, as a modality or a task takes them; None where missing."""
        ...

    def blocks(self, column: str, numbers: Rows) -> Iterator[Rows]:
        """`numbers` in consecutive blocks, each of which may be taken at once."""
        ...

    def origin(self, numbers: Rows) -> Rows:
        """The rows of the source that these rows come from."""
        ...


class Table:
    """Rows with named columns, in the order of their source.

    Args:
        name: for messages, such as `reviews.csv`.
        pieces: where the rows come from, one after the other.
        root: folder that paths of pictures and sound are relative to; None where the rows came from memory.
        sample: take so many rows, by a draw that depends on their number alone; a smaller sample is part of a larger one.

    Attributes:
        arrow: the rows, memory-mapped where they come from a file (a sample is in memory).
        parts: row numbers of the parts that the source itself has (`train`, `validation`, `test`); None where it has none.
    """

    def __init__(self, name: str, pieces: Sequence[Piece], root: Path | None = None, sample: int | None = None) -> None:
        self.name, self.pieces, self.root = name, tuple(pieces), root
        whole = _joined(name, self.pieces)
        self._ends = np.cumsum([len(piece.arrow) for piece in self.pieces])
        self._origin = np.sort(np.random.default_rng(SEED).permutation(len(whole))[:sample]) if sample else np.arange(len(whole))
        self.arrow = _picked(whole, self._origin) if sample else whole
        self._starts = {column: _starts(self.arrow[column]) for column in self.columns}
        self._sizes: dict[str, Rows] = {}

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self.arrow.column_names)

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Of columns of numbers, true/false or texts, which of them they hold; see `written`."""
        found = {field.name: written.kind_of(field.type) for field in self.arrow.schema}
        return {name: kind for name, kind in found.items() if kind}

    @cached_property
    def parts(self) -> dict[str, Rows] | None:
        """Row numbers by part."""
        if not all(piece.part for piece in self.pieces):
            return None
        of_piece = np.array([piece.part for piece in self.pieces])[np.searchsorted(self._ends, self._origin, side="right")]
        return {part: np.flatnonzero(of_piece == part) for part in dict.fromkeys(str(piece.part) for piece in self.pieces)}

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, types, values and parts, shortened. Files that values point at do not count."""
        digest = hashlib.sha256(repr([(field.name, str(field.type)) for field in self.arrow.schema]).encode())
        for part, numbers in (self.parts or {}).items():
            digest.update(part.encode() + numbers.tobytes())
        sizes = sum((self._size(column) for column in self.columns), np.zeros(len(self), np.int64))
        for numbers in _blocks(np.arange(len(self)), sizes):  # of the rows alone: how the source was cut into chunks must not count
            block = self.arrow.slice(int(numbers[0]), len(numbers)).combine_chunks()
            digest.update(block.take(pa.array(range(len(block)))).to_batches()[0].serialize())
        return digest.hexdigest()[:16]

    def take(self, column: str, numbers: Sequence[int] | np.ndarray[Any, Any]) -> list[Any]:
        """Plain Python values of `column` at these rows, in their order; None where missing, which NaN is too."""
        places = np.asarray(numbers, dtype=np.int64)
        chunks, starts = self.arrow[column].chunks, self._starts[column]
        of_chunk = np.searchsorted(starts, places, side="right") - 1
        values: list[Any] = [None] * len(places)
        for chunk in np.unique(of_chunk):
            here = np.flatnonzero(of_chunk == chunk)
            found = _in_microseconds(chunks[chunk].take(pa.array(places[here] - starts[chunk]))).to_pylist()
            for place, value in zip(here.tolist(), found, strict=True):
                values[place] = value
        if pa.types.is_floating(_value_type(self.arrow.schema.field(column).type)):
            return [None if value != value else value for value in values]
        return values

    def blocks(self, column: str, numbers: Rows) -> Iterator[Rows]:
        """`numbers` in consecutive blocks of up to `TAKEN` rows and, of texts, `TAKEN_BYTES`; a larger text is a block of its own."""
        return _blocks(numbers, self._size(column)[numbers])

    def _size(self, column: str) -> Rows:
        """Bytes of every row, where they are texts or bytes."""
        if column not in self._sizes:
            kind = self.arrow.schema.field(column).type if column in self.columns else pa.null()
            long = any(test(kind) for test in (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary))
            sizes = pc.fill_null(pc.binary_length(self.arrow[column]), 0).to_numpy() if long else np.zeros(len(self))
            self._sizes[column] = sizes.astype(np.int64)
        return self._sizes[column]

    def missing(self, column: str, numbers: Rows) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of these rows have no value, (n,)."""
        found: np.ndarray[Any, np.dtype[np.bool_]] = pc.is_null(self.arrow[column], nan_is_null=True).to_numpy()[numbers]
        return found

    def origin(self, numbers: Rows) -> Rows:
        """The same: this is the source."""
        return numbers

    def where(self, row: int, column: str = "") -> str:
        """The place of row number `row` in its source, for messages: 'reviews.csv row 17 (line 18), column age', rows counted from 1."""
        place = self.places([row])[row]
        return f"{place}, column {column}" if column else place

    def places(self, numbers: Collection[int]) -> dict[int, str]:
        """As `where`, of many rows; a file is walked once."""
        of_piece: dict[int, dict[int, int]] = {}
        for number in numbers:
            origin = int(self._origin[number])
            piece = int(np.searchsorted(self._ends, origin, side="right"))
            of_piece.setdefault(piece, {})[number] = origin - int(self._ends[piece] - len(self.pieces[piece].arrow))
        found: dict[int, str] = {}
        for piece, rows_of in of_piece.items():
            places = self.pieces[piece].places(rows_of.values())
            found |= {number: places[row] for number, row in rows_of.items()}
        return found


def read(source: Any, *, name: str = "", texts: Collection[str] = ()) -> Table:
    """The table that `source` names or is.

    Args:
        source: a file (CSV, TSV, JSON lines, JSON, Parquet, Arrow, plain text), a folder (see `folders`), `sample:NAME` or the name of a data
            set on the hub, each with `#500` at its end for a sample of so many rows; a pandas or Arrow table or anything with the Arrow interface; a
            `Dataset` or `DatasetDict`; a list of rows; a mapping of columns to lists.
        name: for messages, in place of the source's own.
        texts: columns that files without types (CSV) give as they are written.

    Raises:
        Mistake: it is not there, cannot be read, has no rows, two columns of one name or a column of mixed types.
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, Path)):
        return _named(str(source), name, texts)
    if hub.is_dataset(source):
        name = name or "data set"
        return Table(name, hub.from_object(source, name), Path(Path.cwd().anchor))  # its paths were made by the library, for this machine
    name = name or ("rows" if isinstance(source, (list, tuple, Mapping)) else type(source).__name__)
    return Table(name, [Piece(name, checked(name, in_memory(name, source)))])


def _named(text: str, name: str, texts: Collection[str]) -> Table:
    place, sample = _sample(text)
    if not place:
        raise Mistake(text, "names no source", "Give a file, a folder, sample:NAME or the name of a data set")
    name = name or (place if ":" in place else Path(place).name or place)
    if place.startswith("sample:"):
        found = read_folder(samples.path(place.removeprefix("sample:")), texts)
        return Table(name, found.pieces, found.root, sample)
    path = Path(place).expanduser()
    if path.is_dir():
        found = read_folder(path, texts)
        return Table(name, found.pieces, found.root, sample)
    if path.exists():
        return Table(name, [read_file(path, texts=texts)], path.parent, sample)
    if _may_be_on_hub(place):
        pieces, root = hub.by_name(place, _nearest(path))
        return Table(name, pieces, root, sample)
    raise Mistake(place, "there is no such file", _nearest(path))


def _sample(text: str) -> tuple[str, int | None]:
    """`x.parquet#500` as the place and the number of rows."""
    place, sign, number = text.rpartition("#")
    if not sign or "/" in number or Path(text).expanduser().exists():
        return text, None
    if not re.fullmatch(r"[1-9][0-9_]*", number):
        raise Mistake(text, f"{number!r} after # is no number of rows", f"Write {place}#500 for a sample of 500 rows")
    return place, int(number)


def _may_be_on_hub(place: str) -> bool:
    """Names such as `imdb`, `owner/name` or `glue:sst2`; neither a path's look nor a table's ending."""
    return bool(re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]+)?", place)) and ending(Path(place)) not in ENDINGS


def _nearest(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no folder {folder}"
    near = difflib.get_close_matches(path.name, [found.name for found in folder.iterdir()], 1)
    return f"Did you mean {near[0]!r}?" if near else f"Look in {folder.resolve()}"


def _joined(name: str, pieces: Sequence[Piece]) -> pa.Table:
    """All pieces as one table; a column that one of them lacks is missing there."""
    try:
        return pa.concat_tables([piece.arrow.replace_schema_metadata() for piece in pieces], promote_options="permissive")
    except pa.ArrowException:
        known = pieces[0].arrow.schema
        mistakes = [
            Mistake(f"{piece.name}, column {field.name}", f"{field.type}, but {known.field(field.name).type} in {pieces[0].name}", rows.ONE_TYPE)
            for piece in pieces[1:]
            for field in piece.arrow.schema
            if field.name in known.names and field.type != known.field(field.name).type
        ]
        raise Mistake.together(mistakes or [Mistake(name, "the parts have columns of different types", rows.ONE_TYPE)]) from None


def _picked(table: pa.Table, numbers: Rows) -> pa.Table:
    """Rows in rising order, batch by batch: one Arrow array of text ends at 2 GB."""
    picked, start = [], 0
    for batch in table.to_batches():
        low, high = np.searchsorted(numbers, [start, start + len(batch)])
        picked += [batch.take(pa.array(numbers[low:high] - start))] if high > low else []
        start += len(batch)
    return pa.Table.from_batches(picked, table.schema)


def _blocks(numbers: Rows, sizes: Rows) -> Iterator[Rows]:
    """See `Table.blocks`; `sizes` are bytes of these rows."""
    ends, start = np.cumsum(sizes), 0
    while start < len(numbers):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, min(start + TAKEN, int(np.searchsorted(ends, before + TAKEN_BYTES, side="right"))))
        yield numbers[start:stop]
        start = stop


def _starts(column: pa.ChunkedArray) -> Rows:
    return np.cumsum([0] + [len(chunk) for chunk in column.chunks[:-1]])


def _in_microseconds(array: pa.Array) -> pa.Array:
    """What Python's own dates and durations can hold."""
    if pa.types.is_timestamp(array.type):
        return array.cast(pa.timestamp("us", array.type.tz), safe=False)
    if pa.types.is_duration(array.type):
        return array.cast(pa.duration("us"), safe=False)
    return array.cast(pa.time64("us"), safe=False) if pa.types.is_time64(array.type) else array


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind
