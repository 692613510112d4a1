"""Streams: all documents end to end, read in parallel from as many places, step by step, for models that remember (Transformer-XL, Dai et al.
2019, https://arxiv.org/abs/1901.02860).

Shape letters: B streams, L tokens of a step.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from omnitune.data.tokenised import Tokenised
from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Step:
    """What all streams read at once.

    Args:
        ids_BL: token numbers, int64; 0 where a stream has ended.
        starts_BL: where a document starts, bool: what was remembered before is not of it.
        real_BL: where a stream has a token, bool.
        next_BL: the token that follows in the same document, int64; -1 where none does.
    """

    ids_BL: Array
    starts_BL: Array
    real_BL: Array
    next_BL: Array


class Streams:
    """Ordered batches: row b of a step goes on where row b of the step before ended.

    Every token is read once, and is once a `next` one but for the first of each document. Any step can be made by itself, so a killed run
    goes on from (epoch, step) and the model's memories.

    Args:
        tokens: of documents.
        rows: B.
        length: L.
        seed: of the order of documents, new in every epoch; None keeps theirs.

    Raises:
        Mistake: there are fewer tokens than streams.
    """

    def __init__(self, tokens: Tokenised, rows: int, length: int, seed: int | None = None) -> None:
        if not 0 < rows <= tokens.total:
            raise Mistake("streams", f"{tokens.total:,} tokens cannot be read in {rows:,} streams", "Give fewer streams, or more text")
        assert length > 0, "a step reads something"
        self.tokens, self.rows, self.length, self.seed = tokens, rows, length, seed
        self.each = -(-tokens.total // rows)
        self.order = lru_cache(2)(self._order)

    def __len__(self) -> int:
        """Steps of an epoch."""
        return -(-self.each // self.length)

    def step(self, number: int, epoch: int = 0) -> Step:
        """Step `number` of an epoch; the last one may be shorter."""
        start = number * self.length
        width = min(self.length, self.each - start)
        assert width > 0, f"there are {len(self)} steps"
        ids, starts = np.zeros((self.rows, width + 1), np.int64), np.ones((self.rows, width + 1), bool)
        ends = np.minimum((np.arange(self.rows) + 1) * self.each, self.tokens.total)
        real_BL = np.arange(width) + start + (np.arange(self.rows) * self.each)[:, None] < ends[:, None]
        for row in range(self.rows):
            self._read(epoch, row * self.each + start, ids[row], starts[row])
        next_BL = np.where(real_BL & ~starts[:, 1:], ids[:, 1:], -1)
        return Step(np.where(real_BL, ids[:, :-1], 0), starts[:, :-1] & real_BL, real_BL, next_BL)

    def _read(self, epoch: int, place: int, ids: Array, starts: Array) -> None:
        """Fills in the tokens from `place` of all on, and where documents start; beyond the last token all stays as it is."""
        documents, ends = self.order(epoch)
        at, which = 0, int(np.searchsorted(ends, place, side="right"))
        while at < len(ids) and which < len(documents):
            document = int(documents[which])
            first = place + at - (int(ends[which]) - int(self.tokens.lengths[document]))
            found = self.tokens.ids(document)[first : first + len(ids) - at]
            ids[at : at + len(found)] = found
            starts[at : at + len(found)] = False
            starts[at] = first == 0
            at, which = at + len(found), which + 1

    def _order(self, epoch: int) -> tuple[Array, Array]:
        """Documents that have tokens, in the order of an epoch, and how many tokens there are up to the end of each."""
        documents = np.flatnonzero(self.tokens.lengths)
        if self.seed is not None:
            documents = np.random.default_rng([self.seed, epoch]).permutation(documents)
        return documents, np.cumsum(self.tokens.lengths[documents])
