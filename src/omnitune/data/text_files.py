"""Text files: their bytes, decompressed; where they are not UTF-8; on which line a row of a CSV file starts."""

import bz2
import gzip
import io
import lzma
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from omnitune.errors import Mistake

OPENING = re.compile(rb'(?:^|[,;\t])"')
CLOSING = re.compile(rb'[^"]*(?:""[^"]*)*+"')


def lines(path: Path, rows: Collection[int]) -> dict[int, int]:
    """Lines of a CSV file, from 1, where these row numbers (from 0) start, found in one walk; without those that are no longer there."""
    wanted = set(rows)
    try:
        with open_binary(path) as file:
            starts = enumerate(islice(records(file), 1, max(wanted, default=-1) + 2))
            return {row: start for row, (start, _, _) in starts if row in wanted}
    except (OSError, EOFError):
        return {}


def open_binary(path: Path) -> IO[bytes]:
    """The file's bytes, decompressed."""
    _, opener = COMPRESSED.get(path.suffix.lower(), ("", lambda path: path.open("rb")))
    opened: IO[bytes] = opener(path)
    return opened


def refused(path: Path, error: Exception) -> Mistake | None:
    """Of an error in reading, a `Mistake` where the file may not be read, or is not what its compressed ending says."""
    if isinstance(error, PermissionError):
        place = path.name if Path(error.filename or path) == path else str(error.filename)
        return Mistake(place, f"cannot be opened: {error.strerror}", "Give yourself the right to read it")
    name, _ = COMPRESSED.get(path.suffix.lower(), ("", None))
    if name and (not isinstance(error, OSError) or error.errno is None):  # an error of the system has a number
        return Mistake(path.name, f"is no intact {name} file: {error}", "Compress it again")
    return None


def _zstandard(path: Path) -> Any:
    return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))


def not_utf8(path: Path) -> Mistake | None:
    """Where a file is not UTF-8 text; None where it is."""
    with open_binary(path) as file:
        for number, text in enumerate(file, 1):
            try:
                text.decode()
            except UnicodeDecodeError as error:
                what = f"is not UTF-8 text (byte {text[error.start]:#04x} at position {error.start + 1})"
                return Mistake(f"{path.name} line {number}", what, f"Save the file as UTF-8, for example: iconv -f latin1 -t utf-8 {path.name}")
    return None


def records(file: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """(line number, text, whole) of every row, header included. A line end inside quotes does not end a row, empty lines are none, and a row
    is not whole where the file ends inside its quotes."""
    start, parts, quoted = 1, list[bytes](), False
    for number, text in enumerate(file, 1):
        start = start if parts else number
        parts.append(text)
        quoted = _quoted_after(text, quoted)
        if not quoted:
            if text.strip(b"\r\n") or len(parts) > 1:
                yield start, b"".join(parts), True
            parts = []
    if parts:
        yield start, b"".join(parts), False


def _quoted_after(text: bytes, quoted: bool) -> bool:
    """Whether the end of a line lies inside quotes, by whether its beginning does."""
    place = 0
    while found := (CLOSING.match if quoted else OPENING.search)(text, place):
        place, quoted = found.end(), not quoted
    return quoted


COMPRESSED: dict[str, tuple[str, Callable[[Path], Any]]] = {
    ".gz": ("gzip", gzip.open), ".bz2": ("bzip2", bz2.open), ".xz": ("xz", lzma.open), ".zst": ("zstandard", _zstandard),
}  # fmt: skip
"""Name and opener of compressed files by ending. Zstandard is opened by Arrow, since Python has it from 3.14 on only."""
UNREADABLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a file may raise."""
