"""Documents: plain text files, a row each, with columns `text` and `file` (its path below the folder).

UTF-8 and UTF-16 with their marks are told by those; what is neither is read as Windows-1252 or Latin-1, which never fails, and a warning
counts and names such files. Null bytes, which no text holds, are removed and counted. Nothing else is changed, line ends included.
"""

import codecs
import hashlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from omnitune.data import cached
from omnitune.data.cached import Stream
from omnitune.data.text_files import UNREADABLE, open_binary, refused
from omnitune.errors import Mistake

ENDING = ".txt"
SCHEMA = pa.schema([("text", pa.large_string()), ("file", pa.string())])
BATCH_BYTES = 1 << 26
"""Characters after which a batch is written; a larger text is a batch of its own."""
SHOWN = 3


def stream(path: Path, files: Sequence[Path] | None = None) -> Stream:
    """The row of a text file, or of `files` below a folder, compressed or not.

    Raises:
        Mistake: while the rows are read, where all texts are empty or a file cannot be read.
    """
    return SCHEMA, _batches(path, files)


def state_of(folder: Path, files: Sequence[Path]) -> str:
    """A digest of names, sizes and times of change."""
    facts = [f"{path.relative_to(folder).as_posix()}\0{cached.state_of(path)}\0" for path in files]
    return hashlib.sha256("".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:24]


def decoded(data: bytes) -> tuple[str, str]:
    """The text of a file, and what is odd about its encoding, for people; empty where nothing is."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16"), ""
        except UnicodeDecodeError:
            return data.decode("utf-16", "replace"), "damaged UTF-16, unreadable characters replaced"
    for encoding, odd in (("utf-8-sig", ""), ("cp1252", "not UTF-8, read as Windows-1252")):
        try:
            return data.decode(encoding), odd
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "not UTF-8, read as Latin-1"


def _batches(path: Path, files: Sequence[Path] | None) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[str, str]] = []
    odd: dict[str, list[str]] = {}
    empty, held = True, 0
    for file in files or [path]:
        name = file.relative_to(path).as_posix() if files else path.name
        text = _text(file, name, odd)
        empty, held = empty and not text.strip(), held + len(text)
        rows.append((text, _sound(name)))
        if held >= BATCH_BYTES:
            yield _batch(rows)
            rows, held = [], 0
    if empty:
        raise Mistake(path.name, "there is no text" if files is None else "there is no text in any file", "Give a text that is not empty")
    if rows:
        yield _batch(rows)
    _warn(path.name, len(files or [path]), odd)


def _text(file: Path, name: str, odd: dict[str, list[str]]) -> str:
    try:
        with open_binary(file) as opened:
            text, strange = decoded(opened.read())
    except UNREADABLE as error:
        raise refused(file, error) or error from None
    if strange:
        odd.setdefault(strange, []).append(name)
    if nulls := text.count("\0"):
        odd.setdefault("with null bytes, which were removed", []).append(f"{name}: {nulls:,}")
    return text.replace("\0", "")


def _sound(name: str) -> str:
    """A name that is no UTF-8 on disk, with the replacement character where it is not."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _batch(rows: list[tuple[str, str]]) -> pa.RecordBatch:
    return pa.record_batch([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA)


def _warn(name: str, files: int, odd: dict[str, list[str]]) -> None:
    for what, found in odd.items():
        more = ", ..." if len(found) > SHOWN else ""
        warnings.warn(f"{name}: {len(found):,} of {files:,} files {what} ({_sound(', '.join(found[:SHOWN]))}{more})", stacklevel=2)
