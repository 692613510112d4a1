"""Streams: texts in pieces, several read side by side, for models that remember (Transformer-XL, Dai et al. 2019,
https://arxiv.org/abs/1901.02860): row b of a batch goes on where row b of the batch before ended.

Every piece is in exactly one batch, and all pieces of a text follow one another in one stream. A piece is of one text alone: the last one of a
text is shorter, and so each row of figures is of one text.
"""

from heapq import heapreplace
from typing import Any

import numpy as np

from omnitune.data.orders import Order, Rows
from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]


class Streams(Order):
    """Batches of pieces for training or for measuring.

    In training all batches but the last are full: texts are shuffled, laid end to end and cut into equal streams. A text that is cut there begins
    anew in the next stream. For measuring no text is cut, so that what is measured does not depend on how many are read side by side: longer ones
    come first, each in the stream that is shortest by then (Graham 1969), so that few batches are small.

    Args:
        rows: row numbers, rising.
        documents: of each row the number of its text, rising too.
        streams: rows of a batch.
        seed: of the order of texts, new in every epoch; None for measuring.

    Raises:
        Mistake: there are fewer training rows than streams.
    """

    def __init__(self, rows: Rows, documents: Array, streams: int, seed: int | None) -> None:
        if seed is not None and len(rows) < streams:
            wrong = f"{len(rows):,} pieces of texts cannot be read in {streams:,} streams side by side"
            raise Mistake("train.batch", wrong, "Give a smaller batch, or more text")
        self.rows, self.streams, self.seed = rows, streams, seed
        self.firsts = np.flatnonzero(np.diff(documents, prepend=-1))
        self.counts = np.diff(self.firsts, append=len(documents))

    def __len__(self) -> int:
        return len(self.epoch(0)) if self.seed is None else -(-len(self.rows) // self.streams)

    def epoch(self, number: int) -> list[Rows]:
        """See `Order.epoch`."""
        streams = self._whole() if self.seed is None else self._even(np.random.default_rng([self.seed, number]))
        streams = sorted(streams, key=len, reverse=True)
        longest = len(streams[0]) if streams else 0
        return [self.rows[[stream[place] for stream in streams if place < len(stream)]] for place in range(longest)]

    def _even(self, rng: np.random.Generator) -> list[Array]:
        return np.array_split(self._pieces(rng.permutation(len(self.firsts))), self.streams)

    def _whole(self) -> list[Array]:
        rooms = [(0, stream) for stream in range(min(self.streams, len(self.firsts)))]
        texts: list[list[int]] = [[] for _ in rooms]
        for text in np.argsort(-self.counts, kind="stable").tolist():
            length, stream = rooms[0]
            texts[stream].append(text)
            heapreplace(rooms, (length + int(self.counts[text]), stream))
        return [self._pieces(np.array(chosen)) for chosen in texts]

    def _pieces(self, texts: Array) -> Array:
        """Places of the pieces of some texts, one text behind the other."""
        firsts, counts = self.firsts[texts], self.counts[texts]
        found: Array = np.repeat(firsts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        return found
