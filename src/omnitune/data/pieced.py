"""Pieced: a table whose rows are the pieces of the documents of another. All that reads rows reads pieces without knowing of it."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.data.pieces import Pieces
from omnitune.data.table import TAKEN, Rows, Table
from omnitune.data.tokenised import Tokenised
from omnitune.modalities.text import Text

Array = np.ndarray[Any, Any]
UNKNOWN = NONE = -1


class Pieced:
    """Rows that are pieces.

    The value of the documents' column is what `Text.encode` takes in place of a text, made of the piece's tokens alone. That of any other column
    is the document's; but answers stand at the first piece of a document only, so that a document counts once, and is measured by what
    predictions will read of it.

    Args:
        table: of documents.
        documents: their row numbers there, rising.
        column: where they stand.
        modality, facts: the input that reads them, and what it learned.
        answers: columns that tasks read.
        firsts: whether the first piece of a document alone is read, where nothing is asked of the others.

    Attributes:
        pieces: see `Pieces`; its documents are places in `documents`.
        tokens: of `documents`.

    Raises:
        Mistake: there is no text, or the context has no room for a token.
    """

    def __init__(
        self, table: Table, documents: Rows, column: str, modality: Text, facts: dict[str, Any], answers: Collection[str], firsts: bool = False
    ) -> None:
        self.source, self.documents, self.column, self.answers, self.firsts = table, documents, column, frozenset(answers), firsts
        self.name: str = table.name
        self.root: Path | None = table.root
        self.frame = modality.frame(facts)
        self.tokens = Tokenised(table, column, documents, modality.backbone.tokenizer(facts))
        self.pieces = Pieces(self.frame.length(self.tokens.lengths), self.frame.limit, self.frame.special)
        self._missing = table.missing(column, documents)
        self._bytes = np.full(len(self.pieces), UNKNOWN, np.int64)

    def __len__(self) -> int:
        return len(self.pieces)

    @property
    def columns(self) -> list[str]:
        """Names of the columns, those of the documents."""
        return self.source.columns

    @property
    def fingerprint(self) -> str:
        """That of the documents: pieces follow from them and from the recipe."""
        return self.source.fingerprint

    def take(self, column: str, numbers: Sequence[int] | Array) -> list[Any]:
        """See `Rowed.take`."""
        rows = np.asarray(numbers, np.int64)
        if column == self.column:
            return [self._piece(row) for row in rows.tolist()]
        origin = self.origin(rows)
        if column not in self.answers:
            return self.source.take(column, origin)
        first = self.pieces.starts[rows] == 0
        values = iter(self.source.take(column, origin[first]))
        return [next(values) if asked else None for asked in first]

    def blocks(self, column: str, numbers: Rows) -> Iterator[Rows]:
        """See `Rowed.blocks`; pieces are short, and the values of other columns may not be."""
        if column == self.column:
            yield from (numbers[start : start + TAKEN] for start in range(0, len(numbers), TAKEN))
            return
        start = 0
        for block in self.source.blocks(column, self.origin(numbers)):
            yield numbers[start : start + len(block)]
            start += len(block)

    def origin(self, numbers: Rows) -> Rows:
        """See `Rowed.origin`."""
        return self.documents[self.pieces.documents[numbers]]

    def parts(self, parts: Mapping[str, Rows]) -> dict[str, Rows]:
        """The pieces of the documents of each part that are read."""
        read = self.pieces.starts == 0 if self.firsts else np.ones(len(self), dtype=bool)
        return {part: np.flatnonzero(np.isin(self.documents, rows)[self.pieces.documents] & read) for part, rows in parts.items()}

    def _piece(self, number: int) -> Any:
        document = int(self.pieces.documents[number])
        if self._missing[document]:
            return None
        start, stop = int(self.pieces.starts[number]), int(self.pieces.stops[number])
        row, of = self.frame.row(self.tokens.ids(document), start, stop, self._bytes_of(document, number)), self.pieces.of(document)
        if self.firsts:
            return row
        place = (number, number - 1 if number > of.start else NONE, number + 1 if number + 1 < of.stop else NONE)
        return replace(row, place=place)

    def _bytes_of(self, document: int, number: int) -> int:
        """UTF-8 bytes of what a piece is asked for; those of a document sum to its own, less its first token's where none stands before it.

        A character of several tokens in two pieces counts in the second, or, of byte-level tokenizers, byte by byte in both.
        """
        if self._bytes[number] == UNKNOWN:
            of, n = self.pieces.of(document), int(self.tokens.lengths[document])
            shift = 1 - len(self.frame.before) if self.frame.goes_on else 0
            places = (self.pieces.starts[of] + shift).clip(0, n)
            before = self.tokens.bytes_before(document, places)
            self._bytes[of] = np.diff(before, append=self.tokens.bytes[document])
        return int(self._bytes[number])
