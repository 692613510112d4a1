"""Pieces: documents cut to the context of a model, and batches of them that are full.

Every token of every document is in exactly one piece; pieces of one batch are rows of their own, laid end to end (`nn.flat`), so documents
never see each other and no padding is multiplied.
"""

from bisect import bisect_left, insort
from typing import Any

import numpy as np

from omnitune.data.tokenised import Tokenised
from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]
OPEN = 64
"""Batches that are filled at a time: each piece goes to the one it fills best (Ding et al. 2024, https://arxiv.org/abs/2404.10830)."""


class Pieces:
    """Consecutive tokens of one document each, in the order of documents.

    A model that foretells tokens needs the one at `stop` too, where the document goes on: else the first token of later pieces is never asked for.

    Args:
        lengths: tokens of each document; one without tokens has no piece.
        context: tokens of a piece at most, special ones included. A longer document gives full pieces and the rest.
        special: tokens that the model's reader adds to every piece (2 of BERT).

    Attributes:
        documents, starts, stops: of each piece its document, its first token there and the one after its last, int64.
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
        firsts = np.cumsum(counts) - counts
        self.starts = (np.arange(len(self.documents)) - np.repeat(firsts, counts)) * room
        self.stops = np.minimum(self.starts + room, np.asarray(lengths, np.int64)[self.documents])
        self.sizes = self.stops - self.starts + special

    def __len__(self) -> int:
        return len(self.documents)

    def batches(self, epoch: int, seed: int, tokens: int) -> list[Array]:
        """Numbers of the pieces of every batch of an epoch, by (epoch, seed) alone; within a batch shorter pieces first, as in `nn.flat`.

        Args:
            epoch, seed: of the order.
            tokens: of a batch at most, special ones included.

        Raises:
            Mistake: a piece does not fit into a batch.
        """
        if tokens < self.context:
            raise Mistake(
                "tokens", f"a batch of {tokens} has no room for a piece of {self.context}", "Give more tokens a batch, or a shorter context"
            )
        rng = np.random.default_rng([seed, epoch])
        filled = _filled(rng.permutation(len(self)), self.sizes, tokens)
        return [self._by_size(filled[i]) for i in rng.permutation(len(filled))]

    def bytes(self, tokens: Tokenised) -> Array:
        """UTF-8 bytes of each piece, int64; those of a document sum to its bytes.

        A character of several tokens in two pieces counts in the second, or, of byte-level tokenizers, byte by byte in both.
        """
        first = self.starts == 0
        last = np.append(first[1:], True)[: len(self)]
        before = np.zeros(len(self), np.int64)
        for document in np.unique(self.documents[~first]):
            low, high = np.searchsorted(self.documents, [document, document + 1])
            before[low:high] = tokens.starts(document)[self.starts[low:high]]
        before[first] = 0
        after = np.append(before[1:], 0)[: len(self)]
        return np.where(last, tokens.bytes[self.documents], after) - before

    def _by_size(self, numbers: list[int]) -> Array:
        found = np.array(numbers, np.int64)
        return found[np.lexsort((found, self.sizes[found]))]


def _filled(order: Array, sizes: Array, tokens: int) -> list[list[int]]:
    """Batches of up to `tokens`, best fit: a piece goes to the open batch that it leaves least room in."""
    least, done = int(sizes.min(initial=tokens)), list[list[int]]()
    rooms: list[tuple[int, int]] = []  # of open batches, the smallest first
    for number, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        place = bisect_left(rooms, (size, -1))
        if place == len(rooms):
            if len(rooms) == OPEN:
                rooms.pop(0)
            room, batch = tokens, len(done)
            done.append([])
        else:
            room, batch = rooms.pop(place)
        done[batch].append(number)
        if room - size >= least:
            insort(rooms, (room - size, batch))
    return done
