"""Cache: rows of numbers that are dear to compute, kept on disk under keys of their content. What cannot be kept or read is computed again.

activations/
  FINGERPRINT/        of what made the numbers: weights, settings, versions
    about.json        for people, and for `omnitune cache`
    NAME.rows         numbers, one row after the other, float32
    NAME.npy          where each row lies: key, offset, length, checksum; renamed into place, so that it names whole rows only
"""

import contextlib
import json
import os
import shutil
import threading
import uuid
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
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
    """Where activations are."""
    return places.cache("activations")


@dataclass(frozen=True)
class Place:
    """Where a row lies: an open file, an offset and a size in bytes, and a checksum."""

    file: int
    offset: int
    size: int
    crc: int
    shard: Path


class Store:
    """Rows of float32 under keys of 16 bytes. Several processes may read and write one folder; each writes files of its own.

    Nothing here raises: where the disk fails, a warning says so once, and the store keeps nothing more.

    Args:
        path: the folder.
        about: of what it holds, for people.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self.path, self.lock = path, threading.Lock()
        self.places: dict[bytes, Place] = {}
        self.files: list[int] = []
        self.written: list[tuple[bytes, int, int, int]] = []
        self.flushed, self.end, self.out, self.broken = 0, 0, -1, False
        self.shard = path / f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        with self._or_without("opened"):
            path.mkdir(parents=True, exist_ok=True)
            os.utime(path)
            if not (path / "about.json").exists():
                (path / "about.json").write_text(json.dumps(about, indent=1), encoding="utf-8")
            for index in sorted(path.glob("*.npy")):
                self._read_index(index)

    def __contains__(self, key: bytes) -> bool:
        return key in self.places

    def read(self, keys: Sequence[bytes]) -> list[Array] | None:
        """The rows under `keys`; None where one is not there, or is not what was written."""
        rows = []
        for key in keys:
            place = self.places.get(key)
            row = None if place is None else self._row(place)
            if row is None:
                if place is not None:
                    self._forget(place)
                return None
            rows.append(row)
        return rows

    def write(self, keys: Sequence[bytes], rows: Sequence[Array]) -> None:
        """Keeps rows whose key is not there yet."""
        if self.broken:
            return
        with self._or_without("written"), self.lock:
            if self.out < 0:
                self.out = os.open(self.shard.with_suffix(".rows"), os.O_RDWR | os.O_CREAT | os.O_EXCL)
                self.files.append(self.out)
            for key, row in zip(keys, rows, strict=True):
                if key not in self.places:
                    data = np.ascontiguousarray(row, dtype="<f4").tobytes()
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
        """Flushes, and closes the files."""
        self.flush()
        for file in self.files:
            os.close(file)
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
            assert entries.dtype == INDEX
            file = os.open(index.with_suffix(".rows"), os.O_RDONLY)
        except (OSError, ValueError, AssertionError, EOFError):
            return  # of a shard that was damaged or is being deleted: its rows are computed again
        self.files.append(file)
        shard = index.with_suffix("")
        self.places |= {key.ljust(16, b"\0"): Place(file, offset, size, crc, shard) for key, offset, size, crc in entries.tolist()}

    def _row(self, place: Place) -> Array | None:
        data = os.pread(place.file, place.size, place.offset) if place.size else b""
        return np.frombuffer(data, dtype="<f4") if len(data) == place.size and zlib.crc32(data) == place.crc else None

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


def kept() -> list[Kept]:
    """What the cache holds, least recently used first."""
    found = []
    for path in folder().glob("*/"):
        with contextlib.suppress(OSError, ValueError):
            size = sum(file.stat().st_size for file in path.iterdir())
            found.append(Kept(path.name, json.loads((path / "about.json").read_text(encoding="utf-8")), size, path.stat().st_mtime))
    return sorted(found, key=lambda one: one.used)


def make_room(wanted: int, most: int, keep: str) -> bool:
    """Whether `wanted` bytes fit into `most` beside folder `keep`, the least recently used others being removed as far as that takes."""
    there = kept()
    mine = sum(one.bytes for one in there if one.name == keep)
    if max(wanted, mine) > most or wanted - mine > _free():
        return False
    total = max(wanted, mine) + sum(one.bytes for one in there if one.name != keep)
    for one in there:
        if total <= most:
            break
        if one.name != keep:
            shutil.rmtree(folder() / one.name, ignore_errors=True)
            total -= one.bytes
    return True


def empty() -> int:
    """Removes everything; the bytes that were freed."""
    freed = sum(one.bytes for one in kept())
    shutil.rmtree(folder(), ignore_errors=True)
    return freed


def _free() -> int:
    """Bytes free on the cache's disk, less a tenth of it."""
    there = next(path for path in (folder(), *folder().parents) if path.exists())
    usage = shutil.disk_usage(there)
    return usage.free - usage.total // 10
