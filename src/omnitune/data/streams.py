"""Streams: texts in pieces, several read side by side, for models that remember (Transformer-XL, Dai et al. 2019,
https://arxiv.org/abs/1901.02860): row b of a batch goes on where row b of the batch before ended.

Every piece is in exactly one batch, and all pieces of a text follow one another in one stream. A piece is of one text alone: the last one of a
text is shorter, and so each row of figures is of one text.
"""

from heapq import heapify, heapreplace
from typing import Any

import numpy as np

from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]


def even(documents: Array, streams: int, rng: np.random.Generator) -> list[Array]:
    """Batches for training: all of `streams` pieces, but for the last. Texts are shuffled, laid end to end and cut into equal streams.

    A text that is cut there begins anew in the next stream: of the first batch no piece has one before it.

    Args:
        documents: the number of the text of each piece, rising; pieces are in the order of their text.
        streams: pieces of a batch.
        rng: decides the order of texts.

    Raises:
        Mistake: there are fewer pieces than streams.
    """
    if len(documents) < streams:
        wrong = f"{len(documents):,} pieces of text cannot be read in {streams:,} streams, side by side"
        raise Mistake("train.batch", wrong, "Give a smaller batch, or more text")
    firsts, counts = _texts(documents)
    order = rng.permutation(len(firsts))
    return _side_by_side(np.array_split(_joined(firsts[order], counts[order]), streams))


def whole(documents: Array, streams: int) -> list[Array]:
    """Batches for measuring, at most `streams` pieces each: no text is cut, so what is measured does not depend on `streams`.

    Texts with more pieces come first, each in the stream that is shortest by then (Graham 1969), so that few batches are small.

    Args:
        documents: see `even`.
        streams: texts that are read side by side.
    """
    firsts, counts = _texts(documents)
    rooms = [(0, stream) for stream in range(min(streams, len(firsts)))]
    heapify(rooms)
    texts: list[list[int]] = [[] for _ in rooms]
    for text in np.argsort(-counts, kind="stable").tolist():
        length, stream = rooms[0]
        texts[stream].append(text)
        heapreplace(rooms, (length + int(counts[text]), stream))
    return _side_by_side([_joined(firsts[chosen], counts[chosen]) for chosen in texts])


def _texts(documents: Array) -> tuple[Array, Array]:
    """Of each text the place of its first piece, and how many it has."""
    firsts = np.flatnonzero(np.diff(documents, prepend=-1))
    return firsts, np.diff(firsts, append=len(documents))


def _joined(firsts: Array, counts: Array) -> Array:
    """Places of the pieces of some texts, one text behind the other."""
    ends = np.cumsum(counts)
    found: Array = np.repeat(firsts - (ends - counts), counts) + np.arange(counts.sum())
    return found


def _side_by_side(streams: list[Array]) -> list[Array]:
    """Batch t is of piece t of every stream that has one, longer streams first."""
    streams = sorted(streams, key=len, reverse=True)
    return [np.array([stream[t] for stream in streams if t < len(stream)]) for t in range(len(streams[0]) if streams else 0)]
