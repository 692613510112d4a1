"""Split: the side of a row is decided by a hash of its content, so it stays when data grow, and copies of a row stand on one side."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, time
from decimal import Decimal
from hashlib import blake2b
from itertools import repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np

from omnitune.data.media import files_of, open_each
from omnitune.data.table import Rowed, Rows, Table
from omnitune.data.written import meaning
from omnitune.errors import Mistake

Shares = tuple[float, float, float] | Literal["given"]
Digests = np.ndarray[Any, np.dtype[np.uint64]]
SIDES = ("train", "validation", "test")
CARVED = 0.1
CHUNK = 1024
MISSING = b"n"


def split(
    table: Table, shares: Shares, by: Sequence[str], media: Collection[str] = (), rows: Rows | None = None, fallback: Sequence[str] | None = None
) -> dict[str, Rows]:
    """Row numbers of `train`, `validation` and `test`, each rising.

    Args:
        table: the rows.
        shares: of the three sides; `given` takes the parts of the source, and a validation or test part that it lacks out of its training
            part, a tenth each.
        by: columns whose values decide; rows equal in them stand on one side.
        media: columns that hold files, which count by their bytes.
        rows: only these rows; all by default.
        fallback: columns that decide for rows in which all of `by` are missing; every column by default.

    Raises:
        Mistake: a side with a share gets no row, or `given` parts are not there.
    """
    rows = np.arange(len(table)) if rows is None else np.sort(rows)
    if shares == "given":
        return _given(table, by, media, rows, fallback)
    sides = _sides(digests(table, rows, by, media, fallback), shares)
    parts = {side: rows[sides == i] for i, side in enumerate(SIDES)}
    _none_empty(table, parts, dict(zip(SIDES, shares, strict=True)))
    return parts


def leaks(
    table: Table, parts: Mapping[str, Rows], by: Sequence[str], media: Collection[str] = (), fallback: Sequence[str] | None = None
) -> dict[str, int]:
    """How many validation and test rows equal a training row in `by`; a split by hash has none, given parts may."""
    known = digests(table, parts["train"], by, media, fallback)
    return {side: int(np.isin(digests(table, parts[side], by, media, fallback), known).sum()) for side in SIDES[1:]}


def digests(table: Rowed, rows: Rows, by: Sequence[str], media: Collection[str] = (), fallback: Sequence[str] | None = None) -> Digests:
    """64 bits a row, equal where the values of `by` are equal, whatever file or library they come from; (len(rows),).

    A text counts as the number it writes, since one word in a later row makes a column of numbers in a CSV file one of texts.
    """
    columns, second = sorted(set(by)), sorted(set(table.columns if fallback is None else fallback))
    with ThreadPoolExecutor() as pool:

        def values(column: str, chunk: Rows) -> Iterator[bytes]:
            for block in table.blocks(column, chunk):
                taken = table.take(column, block)
                if column in media:
                    yield from pool.map(lambda value: _media(value, table.root), taken)
                else:
                    yield from map(_canonical, map(meaning, taken))

        found = [_chunk_digests(rows[start : start + CHUNK], columns, second, values) for start in range(0, len(rows), CHUNK)]
    return np.frombuffer(b"".join(found), dtype=">u8").astype(np.uint64)


def _chunk_digests(chunk: Rows, columns: list[str], second: list[str], values: Callable[[str, Rows], Iterator[bytes]]) -> bytes:
    found, blank = [], []
    for i, row in enumerate(_rows(chunk, columns, values)):
        key = b"".join(row)
        found.append(blake2b(key, digest_size=8).digest())
        if key == MISSING * len(columns):
            blank.append(i)
    if blank:
        for i, row in zip(blank, _rows(chunk[blank], second, values), strict=True):
            found[i] = blake2b(b"blank" + b"".join(row), digest_size=8).digest()
    return b"".join(found)


def _rows(chunk: Rows, columns: list[str], values: Callable[[str, Rows], Iterator[bytes]]) -> Iterator[tuple[bytes, ...]]:
    return zip(*[values(column, chunk) for column in columns], strict=True) if columns else repeat((), len(chunk))


def _media(value: Any, root: Path | None) -> bytes:
    """Files by their bytes, several of one cell in their order."""
    if value is None or files_of(value) == []:
        return MISSING
    opened = open_each(value, root)
    return _hashed(opened) if isinstance(opened, bytes) else b"l%d:%b" % (len(opened), b"".join(map(_hashed, opened)))


def _canonical(value: Any) -> bytes:
    """Bytes that say kind, length and value, so that no two rows read alike: 1 is 1.0 but not "1"; a date is its ISO text; an empty
    text is missing, since many programs write the two alike."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, str):
        data = value.encode()
        return b"s%d:%b" % (len(data), data)
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, (date, time)):
        return _canonical(str(value))
    if isinstance(value, Mapping):
        items = [_canonical(str(k)) + _canonical(v) for k, v in sorted(value.items()) if v is not None]
        return b"m%d:%b" % (len(items), b"".join(items))
    if isinstance(value, (list, tuple)):
        return b"l%d:%b" % (len(value), b"".join(map(_canonical, value)))
    return _hashed(value if isinstance(value, bytes) else repr(value).encode())


def _number(value: int | float | Decimal) -> bytes:
    whole = int(value) if isinstance(value, int) or (value % 1 == 0) else None
    return b"i%d;" % whole if whole is not None else b"f%b;" % repr(float(value)).encode()


def _hashed(data: bytes) -> bytes:
    return b"b" + blake2b(data, digest_size=16).digest()


def _sides(found: Digests, shares: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    """0, 1 or 2 a row: where its hash, as a number u in [0, 1), falls among the shares laid end to end."""
    u = (found >> np.uint64(11)).astype(np.float64) / 2.0**53
    first, second = shares[0], shares[0] + shares[1]
    sides = np.where(u < first, 0, np.where(u < second, 1, 2))
    last = max(i for i in range(3) if shares[i] > 0)  # shares that sum to 1 but for rounding
    return np.minimum(sides, last)


def _given(table: Table, by: Sequence[str], media: Collection[str], rows: Rows, fallback: Sequence[str] | None) -> dict[str, Rows]:
    given = table.parts or {}
    if "train" not in given:
        there = f"has only the parts {', '.join(given)}" if given else "has no parts of its own"
        raise Mistake("data.split", f"{table.name} {there}", "Give shares, such as [0.8, 0.1, 0.1], or a folder with train and test files")
    parts = {side: np.intersect1d(given[side], rows) if side in given else rows[:0] for side in SIDES}
    missing = [side for side in SIDES if side not in given]
    if missing:
        shares = (1 - CARVED * len(missing), *(CARVED if side in missing else 0.0 for side in SIDES[1:]))
        train = parts["train"]
        sides = _sides(digests(table, train, by, media, fallback), (shares[0], shares[1], shares[2]))
        parts |= {side: train[sides == SIDES.index(side)] for side in ("train", *missing)}
    _none_empty(table, parts, dict.fromkeys(SIDES, CARVED))
    return parts


def _none_empty(table: Table, parts: Mapping[str, Rows], shares: Mapping[str, float]) -> None:
    total = sum(map(len, parts.values()))
    empty = [side for side in SIDES if shares[side] > 0 and not len(parts[side])]
    if empty:
        alone = "a text file is one: give a folder of them, or JSON lines with a document each" if total == 1 else "equal rows stand on one side"
        raise Mistake(
            "data.split",
            f"{table.name} has {total:,} readable rows, of which none falls to {' and '.join(empty)}",
            f"Give more rows ({alone}), a larger share, or shares of 0 to do without",
        )
