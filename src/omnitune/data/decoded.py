"""Decoded: a file is decoded once; later epochs, rounds of validation and runs read what `encode` needs of it from the store."""

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from omnitune.data.media import files_of, identity, open_media
from omnitune.data.store import Room, Store
from omnitune.data.table import Rows, Table
from omnitune.modalities import Decoder, Modality

Array = np.ndarray[Any, Any]
VERSION = 1
"""Of what is stored; a change of it leaves older files unused."""
VERDICT = 64
"""Bytes that are kept of a file which can be read, all included."""
SHAPE = np.dtype("<u4")
NOTHING = np.empty(0, np.uint8)


class Decoded:
    """The files of one input: which can be read, and what is decoded of them.

    Keys are the state of a file (see `identity`) and all that decides how it is decoded, so a changed file finds nothing.

    Args:
        modality: has a `decoder`.
        table, column: where the files are named.
        room: on disk.
    """

    def __init__(self, modality: Modality, table: Table, column: str, room: Room) -> None:
        self.modality, self.table, self.column, self.room, self.most = modality, table, column, room, getattr(modality, "most", 1)
        place = str(table.root or table.name)
        self.folder = hashlib.sha256(json.dumps([VERSION, place, column]).encode()).hexdigest()[:32]
        self.about = {"holds": "decoded files", "about": f"{table.name}, column {column}"}
        opened = room.open(self.folder, VERDICT * len(table), self.about, "u1")
        self.store: Store | None = None if isinstance(opened, str) else opened
        self.refusal = opened if isinstance(opened, str) else "nothing asked for it"
        self.read = self.computed = 0
        self.keys: dict[tuple[int, bool], tuple[list[bytes], bool]] = {}

    def problem(self, value: Any, check: Callable[[Any], str | None]) -> str | None:
        """What `check` says of a file's bytes; that it said nothing is kept."""
        files = files_of(value)
        if files is not None:
            return next((problem for file in files if (problem := self.problem(file, check))), None)
        key = self._key(value, self._decoder(False)) if self.store else b""
        if self.store and key in self.store:
            return None
        problem = check(open_media(value, self.table.root))
        if self.store and problem is None:
            self.store.write([key], [NOTHING])
        return problem

    def keep(self, parts: dict[str, Rows]) -> None:
        """From now on keeps what it decodes of these rows of the table, where there is room for it."""
        if self.store is None:
            return
        training = self._decoder(self.modality.augments).most
        wanted = sum(self._files(rows) * (training if part == "train" else self._decoder(False).most) for part, rows in parts.items())
        self.refusal = self.room.promise(self.folder, wanted + VERDICT * len(self.table)) or ""
        self.store.most = self.room.left(self.folder) - self.store.held

    def _files(self, rows: Rows) -> int:
        """How many there are."""
        cells = (value for some in self.table.blocks(self.column, rows) for value in self.table.take(self.column, some))
        return sum(len(files) if (files := files_of(value)) is not None else 1 for value in cells)

    @property
    def keeps(self) -> bool:
        """Whether it is of use to batches."""
        return not self.refusal

    def __call__(self, rows: Rows, augment: bool) -> list[Array | list[Array] | None]:
        """Of each row what `encode` takes in place of the file, or of several; None where it is missing."""
        augmented = augment and self.modality.augments
        found = {row: self._again(row, augmented) for row in rows.tolist()}
        lacks = [row for row, kept in found.items() if kept is None]
        if lacks:
            found |= self._anew(lacks, augmented)
        return [found[row] for row in rows.tolist()]

    def _again(self, row: int, augmented: bool) -> Array | list[Array] | None:
        """What is decoded of files that this run met before, whose names and state are not looked at twice."""
        assert self.store
        keys, several = self.keys.get((row, augmented), ([], False))
        kept = [_unpacked(one) for key in keys if (one := self.store.get(key)) is not None]
        if not kept or len(kept) < len(keys):
            return None
        self.read += len(kept)
        return kept if several else kept[0]

    def _anew(self, rows: list[int], augmented: bool) -> dict[int, Array | list[Array] | None]:
        """The same of files that it meets for the first time, or that were not kept."""
        decoder, made = self._decoder(augmented), dict[int, Array | list[Array] | None]()
        values = self.table.take(self.column, np.array(rows, np.int64))
        several = [files_of(value) for value in values]
        cells = [[] if value is None else [value] if files is None else files[: self.most] for value, files in zip(values, several, strict=True)]
        with ThreadPoolExecutor(min(max(1, sum(map(len, cells))), os.cpu_count() or 1)) as pool:
            found = iter(list(pool.map(lambda file: self._one(file, decoder), [file for files in cells for file in files])))
        for row, files, many in zip(rows, cells, several, strict=True):
            own = [next(found) for _ in files]
            self.keys[row, augmented] = [key for key, _, _ in own], many is not None
            known = sum(known for _, _, known in own)
            self.computed, self.read = self.computed + len(own) - known, self.read + known
            arrays = [array for _, array, _ in own]
            made[row] = arrays if many is not None else arrays[0] if arrays else None
        return made

    def _one(self, value: Any, decoder: Decoder) -> tuple[bytes, Array, bool]:
        """The key of a file, what is decoded of it, and whether that was known."""
        assert self.store
        key = self._key(value, decoder, b"decoded")
        kept = self.store.get(key)
        if kept is not None:
            return key, _unpacked(kept), True
        array = decoder.read(open_media(value, self.table.root))
        self.store.write([key], [_packed(array)])
        return key, array, False

    def _decoder(self, augment: bool) -> Decoder:
        decoder = self.modality.decoder(augment)
        assert decoder
        return decoder

    def _key(self, value: Any, decoder: Decoder, what: bytes = b"readable") -> bytes:
        settings = json.dumps([self.modality.kind, decoder.settings], sort_keys=True).encode()
        return hashlib.blake2b(identity(value, self.table.root) + what + settings, digest_size=16).digest()

    @property
    def fact(self) -> str:
        """What was decoded once, or why nothing was kept."""
        return f"nothing kept: {self.refusal}" if self.refusal else f"{self.computed:,} decoded, {self.read:,} read"

    def close(self) -> None:
        """Makes what was decoded known to later runs."""
        if self.store:
            self.store.close()


def _packed(array: Array) -> Array:
    """Number of dimensions, shape and numbers, as bytes."""
    head = np.array([array.ndim, *array.shape], SHAPE).view(np.uint8)
    return np.concatenate([head, array.reshape(-1)])


def _unpacked(row: Array) -> Array:
    n = int(row[:4].view(SHAPE)[0])
    return row[4 * (n + 1) :].reshape(row[4 : 4 * (n + 1)].view(SHAPE))
