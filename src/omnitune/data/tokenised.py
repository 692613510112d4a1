"""Tokenised: documents as token numbers, made once and kept for all later runs, memory-mapped.

Documents are kept in shards, each under a digest of its texts and of the tokenizer: a killed run goes on after the last whole shard, and of a
table that grew at its end only the new documents are read.
"""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.data import token_files
from omnitune.data.table import Table
from omnitune.data.token_files import Array, Shard
from omnitune.data.token_reader import TokenReader
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values as cells

VERSION = 1
"""Of what is done to documents; a change of it leaves older files unused."""
SHARD = 1 << 24
"""Characters of a shard."""


class Tokenised:
    """The tokens of documents, by their number in `rows`. Special tokens are none among them but `end`.

    Args:
        table: where they are.
        column: that holds them; a missing document has no tokens.
        rows: row numbers, one a document.
        tokenizer: a fast one of transformers.
        end: a token that is put after every document.

    Attributes:
        lengths: tokens of each document, `end` included, int64.
        bytes: UTF-8 bytes of each document, int64.
        total: tokens of all.

    Raises:
        Mistake: the tokenizer is not a fast one, there is no such column, or no text in it.
    """

    def __init__(self, table: Table, column: str, rows: Array, tokenizer: Any, end: int | None = None) -> None:
        if column not in table.columns:
            raise Mistake(table.name, f"there is no column {column!r}", did_you_mean(column, table.columns))
        self.table, self.column, self.rows, self.reader = table, column, np.asarray(rows), TokenReader(tokenizer)
        self._end = np.array([] if end is None else [end], self.reader.dtype)
        self.folder = token_files.home() / hashlib.sha256(f"{VERSION} {end} {self.reader.digest}".encode()).hexdigest()[:24]
        self._kept = True
        token_files.clean(self.folder)
        token_files.note(self.folder, f"{table.name}, column {column}: {len(self.rows):,} documents")
        made = [(start, self._shard(documents)) for start, documents in self._planned()]
        self._starts, self._shards = [start for start, _ in made], [shard for _, shard in made]
        index = np.concatenate([np.zeros(0, token_files.INDEX), *(shard.index for shard in self._shards)])
        self.lengths, self.bytes = index["tokens"].astype(np.int64), index["bytes"].astype(np.int64)
        self.total = int(self.lengths.sum())
        self._sure = np.zeros(len(self.lengths), dtype=bool)
        if not self.bytes.any():
            raise Mistake(f"{table.name}, column {column}", "there is no text", "Name a column with texts")

    def __len__(self) -> int:
        return len(self.lengths)

    def ids(self, document: int) -> Array:
        """Its token numbers, uint16 or uint32, not to be written to. Damaged ones are made again."""
        which = int(np.searchsorted(self._starts, document, side="right")) - 1
        place = document - self._starts[which]
        if not self._sure[document] and not self._shards[which].whole(place):
            self._again(which)
        self._sure[document] = True
        return self._shards[which].document(place)

    def text(self, document: int) -> str | None:
        """What was read; None where it is missing."""
        return _text(self.table.take(self.column, self.rows[[document]])[0])

    def starts(self, document: int) -> Array:
        """UTF-8 bytes of the document before each of its tokens, int64, see `TokenReader.starts`; before `end` stand all."""
        text = self.text(document) or ""
        ids = self.ids(document)
        ends = min(len(self._end), len(ids))
        return np.concatenate([self.reader.starts(text, ids[: len(ids) - ends]), [len(text.encode())] * ends]).astype(np.int64)

    def bytes_before(self, document: int, places: Array) -> Array:
        """UTF-8 bytes of the document before its tokens at `places`, which rise and may be its length; int64. See `starts`."""
        ids = self.ids(document)
        found = self.reader.bytes_before(ids[: len(ids) - min(len(self._end), len(ids))], places, int(self.bytes[document]))
        return np.append(self.starts(document), self.bytes[document])[places] if found is None else found

    def _planned(self) -> Iterator[tuple[int, list[str | None]]]:
        """First document and texts of each shard."""
        start, held, size = 0, list[str | None](), 0
        for rows in self.table.blocks(self.column, self.rows):
            for value in self.table.take(self.column, rows):
                held.append(_text(value))
                size += len(held[-1] or "")
                if size >= SHARD:
                    yield start, held
                    start, held, size = start + len(held), [], 0
        if held:
            yield start, held

    def _shard(self, documents: list[str | None]) -> Shard:
        """Read where it is kept, else made and kept."""
        place = self._place(documents)
        found = token_files.read(place, self.reader.dtype)
        if found is not None:
            return found
        made = self._made(documents)
        self._keep(place, made)
        return token_files.read(place, self.reader.dtype) or made

    def _made(self, documents: list[str | None]) -> Shard:
        read = self.reader.read([document or "" for document in documents])
        ids = [made if text is None else np.concatenate([made, self._end]) for text, made in zip(documents, read, strict=True)]
        return Shard.of(ids, [len((text or "").encode()) for text in documents], self.reader.dtype)

    def _keep(self, place: Path, made: Shard) -> None:
        if not self._kept:
            return
        try:
            token_files.write(place, made)
        except OSError as error:
            self._kept = False
            warnings.warn(f"{self.folder} cannot be written ({error.strerror}); tokens stay in memory, for this run", stacklevel=5)

    def _again(self, which: int) -> None:
        warnings.warn(f"a token file in {self.folder} was damaged; it is made again", stacklevel=3)
        stop = ([*self._starts, len(self)])[which + 1]
        documents = [_text(value) for value in self.table.take(self.column, self.rows[self._starts[which] : stop])]
        self._shards[which] = self._made(documents)  # in memory, since the disk may do it again
        self._keep(self._place(documents), self._shards[which])

    def _place(self, documents: list[str | None]) -> Path:
        digest = hashlib.blake2b(digest_size=16)
        for text in documents:
            data = (text or "").encode()
            digest.update(b"missing;" if text is None else b"%d:" % len(data))
            digest.update(data)
        return self.folder / digest.hexdigest()


def _text(value: Any) -> str | None:
    return None if value is None else cells.name(value)
