"""Token files: the token numbers of some documents on disk, memory-mapped, whole or not there at all.

NAME.ids      numbers, one document after the other, of one type
NAME.index    of each document its tokens, UTF-8 bytes and checksum; then a checksum of all that. It is written last, so where it is, all is
about.json    for people, and for `omnitune cache`
"""

import contextlib
import json
import os
import time
import uuid
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import places

Array = np.ndarray[Any, Any]
INDEX = np.dtype([("tokens", "<u8"), ("bytes", "<u8"), ("crc", "<u4")])
ABANDONED_SECONDS = 86_400


def home() -> Path:
    """Where all token files are."""
    return places.cache("tokens")


@dataclass(frozen=True, eq=False)
class Shard:
    """Tokens of consecutive documents.

    Args:
        ids: of all of them, end to end.
        index: a row a document, see `INDEX`.
    """

    ids: Array
    index: Array

    @classmethod
    def of(cls, ids: list[Array], sizes: list[int], dtype: np.dtype[Any]) -> "Shard":
        """Of the tokens of each document, and its bytes."""
        rows = [(len(one), size, zlib.crc32(one.tobytes())) for one, size in zip(ids, sizes, strict=True)]
        return cls(np.concatenate([*ids, np.zeros(0, dtype)]), np.array(rows, INDEX))

    def document(self, number: int) -> Array:
        """Its tokens."""
        return self.ids[self._ends[number] : self._ends[number + 1]]

    def whole(self, number: int) -> bool:
        """Whether a document's tokens are those that were written."""
        return zlib.crc32(self.document(number).data) == int(self.index["crc"][number])

    @cached_property
    def _ends(self) -> Array:
        return np.concatenate([[0], np.cumsum(self.index["tokens"])]).astype(np.int64)


def read(place: Path, dtype: np.dtype[Any]) -> Shard | None:
    """The shard at `place`, memory-mapped; None where there is none, or its files do not fit together."""
    try:
        data = place.with_suffix(".index").read_bytes()
        index = np.frombuffer(data[:-4], INDEX)
        size = place.with_suffix(".ids").stat().st_size
        if zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:] or int(index["tokens"].sum()) * dtype.itemsize != size:
            return None
        return Shard(np.asarray(np.memmap(place.with_suffix(".ids"), dtype, "r")) if size else np.zeros(0, dtype), index)
    except (OSError, ValueError):
        return None


def write(place: Path, shard: Shard) -> None:
    """Keeps a shard; raises `OSError` where the disk refuses."""
    place.parent.mkdir(parents=True, exist_ok=True)
    index = shard.index.tobytes()
    _put(place.with_suffix(".ids"), shard.ids.data)
    _put(place.with_suffix(".index"), index + zlib.crc32(index).to_bytes(4, "little"))


def note(folder: Path, about: str) -> None:
    """Says in `folder` what it holds, and that it is used."""
    with contextlib.suppress(OSError):  # a folder that cannot be written is read all the same
        folder.mkdir(parents=True, exist_ok=True)
        _put(folder / "about.json", json.dumps({"holds": "token files", "about": about}, indent=1).encode())


def clean(folder: Path) -> None:
    """Removes what killed processes left behind."""
    old = time.time() - ABANDONED_SECONDS
    with contextlib.suppress(OSError):
        for half in folder.glob("*.half"):
            if half.stat().st_mtime < old:
                half.unlink(missing_ok=True)


def _put(path: Path, data: Any) -> None:
    half = path.with_name(f"{uuid.uuid4().hex}.half")
    try:
        with half.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            half.unlink()
