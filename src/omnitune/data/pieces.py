"""Pieces: documents cut to the context of a model; every token of every document is in exactly one piece."""

from typing import Any

import numpy as np

from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]


class Pieces:
    """Consecutive tokens of one document each, in the order of documents.

    Args:
        lengths: tokens of each document; one without tokens has no piece.
        context: tokens of a piece at most, special ones included. A longer document gives full pieces and the rest.
        special: tokens that the model's reader adds to every piece (2 of BERT).

    Attributes:
        documents, starts, stops: of each piece its document, its first token there and the one after its last, int64.
        firsts: of each document its first piece.
        sizes: tokens of each piece, special ones included.

    Raises:
        Mistake: the context has no room for a token.
    """

    def __init__(self, lengths: Array, context: int, special: int = 0) -> None:
        if context <= special:
            raise Mistake("context", f"{context} tokens have no room for text beside {special} special tokens", f"Give {special + 1} or more")
        self.context, room = context, context - special
        counts = -(-np.asarray(lengths, np.int64) // room)
        self.documents = np.repeat(np.arange(len(counts)), counts)
        self.firsts = np.cumsum(counts) - counts
        self.starts = (np.arange(len(self.documents)) - np.repeat(self.firsts, counts)) * room
        self.stops = np.minimum(self.starts + room, np.asarray(lengths, np.int64)[self.documents])
        self.sizes = self.stops - self.starts + special

    def __len__(self) -> int:
        return len(self.documents)

    def of(self, document: int) -> slice:
        """The numbers of a document's pieces."""
        last = document + 1 == len(self.firsts)
        return slice(int(self.firsts[document]), len(self) if last else int(self.firsts[document + 1]))
