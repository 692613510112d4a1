"""Store: rows of numbers that are dear to compute, kept on disk under keys of their content. What cannot be kept or read is computed again.

kept/
  FINGERPRINT/        of what made the numbers: weights, settings, versions
    about.json        for people, and for `omnitune cache`
    NAME.rows         numbers, one row after the other, all of one type
    NAME.npy          where each row lies: key, offset, length, checksum; renamed into place, so that it names whole rows only
"""

import contextlib
import json
import math
import os
import shutil
import threading
import uuid
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import places

Array = np.ndarray[Any, Any]
INDEX = np.dtype([("key", "S16"), ("offset", "<u8"), ("size", "<u8"), ("crc", "<u4")])
FLUSH = 1024
"""Rows after which an index is written, so that a killed run loses few."""
GIB = 2**30


def folder() -> Path:
    """Where everything is kept."""
    return places.cache("kept")


@dataclass(frozen=True)
class Place:
    """Where a row lies: an open file, an offset and a size in bytes, and a checksum."""

    file: int
    offset: int
    size: int
    crc: int
    shard: Path


class Store:
    """Rows of one type under keys of 16 bytes. Several processes may read and write one folder; each writes files of its own.

    Nothing here raises: where the disk fails, a warning says so once, and the store keeps nothing more. A row's checksum is looked at when it is
    read for the first time.

    Args:
        path: the folder.
        about: of what it holds, for people: `holds`, `about`.
        dtype: of the numbers.
        most: bytes of all rows, after which nothing more is kept.

    Attributes:
        held: bytes of rows that were there before.
    """

    def __init__(self, path: Path, about: dict[str, Any], dtype: str = "<f4", most: float = math.inf) -> None:
        self.path, self.lock, self.dtype, self.most = path, threading.Lock(), np.dtype(dtype), most
        self.places: dict[bytes, Place] = {}
        self.files: list[int] = []
        self.written: list[tuple[bytes, int, int, int]] = []
        self.flushed, self.end, self.out, self.broken, self.full = 0, 0, -1, False, False
        self.unread, self.held, self.sure = set[bytes](), 0, set[bytes]()
        self.shard = path / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with self._or_without("opened"):
            path.mkdir(parents=True, exist_ok=True)
            for index in sorted(path.glob("*.npy")):
                self._read_index(index)
            self.unread, self.held = set(self.places), sum(place.size for place in self.places.values())
            self.most -= self.held
            with contextlib.suppress(PermissionError):  # a folder of someone else's is read all the same
                os.utime(path)
            if not (path / "about.json").exists():
                (path / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")

    def __contains__(self, key: bytes) -> bool:
        return key in self.places

    def read(self, keys: Sequence[bytes]) -> list[Array] | None:
        """The rows under `keys`; None where one is not there, or is not what was written."""
        rows = []
        for key in keys:
            row = self.get(key)
            if row is None:
                return None
            rows.append(row)
        return rows

    def get(self, key: bytes) -> Array | None:
        """The row under `key`, as `read`."""
        place = self.places.get(key)
        row = None if place is None else self._row(place, key in self.sure)
        if row is not None:
            self.sure.add(key)
        if row is None and place is not None:
            self._forget(place)
        self.unread.discard(key)
        return row

    def write(self, keys: Sequence[bytes], rows: Sequence[Array]) -> None:
        """Keeps rows whose key is not there yet."""
        if self.broken:
            return
        with self._or_without("written"), self.lock:
            if self.out < 0:
                self.out = os.open(self.shard.with_suffix(".rows"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
                self.files.append(self.out)
            for key, row in zip(keys, rows, strict=True):
                data = np.ascontiguousarray(row, dtype=self.dtype).tobytes()
                self.full |= key not in self.places and self.end + len(data) > self.most
                if key not in self.places and not self.full:
                    _write_all(self.out, data)
                    self.written.append((key, self.end, len(data), zlib.crc32(data)))
                    self.places[key] = Place(self.out, self.end, len(data), zlib.crc32(data), self.shard)
                    self.end += len(data)
            if len(self.written) - self.flushed >= FLUSH:
                self._write_index()

    def flush(self) -> None:
        """Makes what was written known to other runs."""
        if not self.broken and len(self.written) > self.flushed:
            with self._or_without("written"), self.lock:
                self._write_index()

    def close(self) -> None:
        """Flushes, and closes the files. A store that became full while it holds rows that no one asked for goes, so that the next is of use."""
        self.flush()
        for file in self.files:
            os.close(file)
        if self.full and self.unread:
            shutil.rmtree(self.path, ignore_errors=True)
        self.files, self.places, self.broken = [], {}, True

    def _write_index(self) -> None:
        half = self.shard.with_suffix(".half")
        with half.open("wb") as file:
            np.save(file, np.array(self.written, dtype=INDEX), allow_pickle=False)
        os.replace(half, self.shard.with_suffix(".npy"))
        self.flushed = len(self.written)

    def _read_index(self, index: Path) -> None:
        try:
            entries = np.load(index, allow_pickle=False)
            file = os.open(index.with_suffix(".rows"), os.O_RDONLY)
        except (OSError, ValueError, EOFError):
            return  # of a shard that was damaged or is being deleted: its rows are computed again
        self.files.append(file)
        if entries.dtype == INDEX and (entries["offset"] + entries["size"] <= os.fstat(file).st_size).all():
            shard = index.with_suffix("")
            self.places |= {key.ljust(16, b"\0"): Place(file, offset, size, crc, shard) for key, offset, size, crc in entries.tolist()}

    def _row(self, place: Place, sure: bool) -> Array | None:
        data = np.empty(place.size, np.uint8)
        try:
            whole = not place.size or os.preadv(place.file, [data.data], place.offset) == place.size
        except OSError:  # of a failing disk
            return None
        return data.view(self.dtype) if whole and (sure or zlib.crc32(data.data) == place.crc) else None

    def _forget(self, place: Place) -> None:
        """Drops a shard with a damaged row, here and on disk."""
        warnings.warn(f"{place.shard}.rows was damaged; what it held is computed again", stacklevel=2)
        with self.lock:
            self.places = {key: other for key, other in self.places.items() if other.shard != place.shard}
        self.broken |= place.shard == self.shard  # this disk cannot be trusted with more
        for suffix in (".npy", ".rows"):
            with contextlib.suppress(OSError):
                place.shard.with_suffix(suffix).unlink()

    @contextlib.contextmanager
    def _or_without(self, what: str) -> Any:
        try:
            yield
        except OSError as error:
            self.broken = True
            warnings.warn(f"{self.path} could not be {what} ({error.strerror}); the run goes on, and computes what it cannot keep", stacklevel=3)


def _write_all(file: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]


@dataclass(frozen=True)
class Kept:
    """One folder of the cache: its name, what it is about, its bytes, and when it was last used."""

    name: str
    about: dict[str, Any]
    bytes: int
    used: float


def kept(where: Path | None = None) -> list[Kept]:
    """What the cache holds, or another folder of folders that say what they hold, least recently used first."""
    found = []
    for path in (where or folder()).glob("*/"):
        with contextlib.suppress(OSError, ValueError):
            size = sum(file.stat().st_size for file in path.iterdir())
            found.append(Kept(path.name, json.loads((path / "about.json").read_text(encoding="utf-8")), size, path.stat().st_mtime))
    return sorted(found, key=lambda one: one.used)


def make_room(wanted: int, most: int, keep: str, promised: Mapping[str, int] | None = None) -> bool:
    """Whether `wanted` bytes fit into `most` beside folder `keep`, the least recently used others being removed as far as that takes.

    Args:
        wanted: bytes in the end.
        most: bytes of all folders together.
        keep: a folder's name.
        promised: bytes of folders that stay, whatever they hold yet.
    """
    there, stay = {one.name: one.bytes for one in kept()}, dict(promised or {})
    mine, others = there.pop(keep, 0), sum(max(there.pop(name, 0), size) for name, size in stay.items() if name != keep)
    if max(wanted, mine) + others > most or wanted - mine > _free():
        return False
    over = max(wanted, mine) + others + sum(there.values()) - most
    for name, size in there.items():
        if over <= 0:
            break
        shutil.rmtree(folder() / name, ignore_errors=True)
        over -= size
    return True


@dataclass
class Room:
    """The room on disk that all stores of one run share.

    Args:
        most: bytes.
        promised: to folders that are open.
    """

    most: int
    promised: dict[str, int] = field(default_factory=dict)

    def open(self, name: str, wanted: int, about: dict[str, Any], dtype: str = "<f4") -> Store | str:
        """A store in folder `name`, or why there is none.

        Args:
            name: of the folder.
            wanted: bytes it will take in the end.
            about, dtype: see `Store`.
        """
        if sum(one.bytes for one in kept() if one.name == name) > self.left(name) >= wanted:
            shutil.rmtree(folder() / name, ignore_errors=True)  # it grew in runs that were allowed more
        why = self.promise(name, wanted)
        return why if why else Store(folder() / name, about, dtype, self.left(name))

    def promise(self, name: str, wanted: int) -> str | None:
        """Sets `wanted` bytes aside for folder `name`, less used ones being removed; why not, where that cannot be."""
        if not self.most:
            return "train.cache is 0"
        if not hasattr(os, "preadv"):
            return "this system cannot read files at a place"
        if not make_room(wanted, self.most, name, self.promised):
            return f"it would take {wanted / GIB:.1f} GiB on disk; train.cache allows {self.left(name) / GIB:.1f} GiB where that is free"
        self.promised[name] = wanted
        return None

    def left(self, name: str) -> int:
        """Bytes that folder `name` may take beside what is promised to others."""
        return self.most - sum(size for other, size in self.promised.items() if other != name)


def empty(where: Path | None = None) -> int:
    """Removes everything there; the bytes that were freed."""
    freed = sum(one.bytes for one in kept(where))
    shutil.rmtree(where or folder(), ignore_errors=True)
    return freed


def _free() -> int:
    """Bytes free on the cache's disk, less a tenth of it."""
    there = next(path for path in (folder(), *folder().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free - usage.total // 10
