"""Streams: every piece once, in the order of its text, side by side; training's are even, and measuring's cut no text."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.streams import Streams
from omnitune.errors import Mistake

COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=20)
FIRST = 1000
"""Row number of the first piece, as of a part of a table."""


def documents(counts: list[int]) -> np.ndarray:
    """Pieces of texts whose numbers leave gaps, as those of other parts do."""
    return np.repeat(3 * np.arange(len(counts)), counts)


def streams(of: np.ndarray, size: int, seed: int | None = None) -> Streams:
    return Streams(FIRST + np.arange(len(of)), of, size, seed)


def batches(order: Streams, epoch: int = 0) -> list[np.ndarray]:
    made = [batch - FIRST for batch in order.epoch(epoch)]
    assert len(made) == len(order)
    return made


def rows(made: list[np.ndarray]) -> list[list[int]]:
    """What each row reads, batch after batch."""
    return [[int(batch[row]) for batch in made if row < len(batch)] for row in range(len(made[0]))]


@given(COUNTS, st.integers(1, 6), st.integers(0, 2))
def test_training_reads_every_piece_once_in_order_and_in_full_batches(counts: list[int], size: int, seed: int) -> None:
    of = documents(counts)
    if len(of) < size:
        with pytest.raises(Mistake, match=rf"train\.batch: {len(of)} pieces of texts cannot be read in {size} streams"):
            streams(of, size, seed)
        return
    made = batches(streams(of, size, seed))
    assert [len(batch) for batch in made[:-1]] == [size] * (len(made) - 1)
    read = [piece for row in rows(made) for piece in row]
    assert sorted(read) == list(range(len(of)))
    breaks = [place for place in range(1, len(read)) if read[place] != read[place - 1] + 1 or of[read[place]] != of[read[place - 1]]]
    assert all(read[place] == 0 or of[read[place]] != of[read[place] - 1] for place in breaks), "only whole texts change places"


@given(COUNTS, st.integers(1, 6))
def test_measuring_cuts_no_text(counts: list[int], size: int) -> None:
    of = documents(counts)
    made = batches(streams(of, size))
    assert all(0 < len(after) <= len(batch) <= size for batch, after in pairwise(made))
    assert sorted(piece for batch in made for piece in batch.tolist()) == list(range(len(of)))
    for row in rows(made):
        for place, piece in enumerate(row):
            goes_on = piece > 0 and of[piece] == of[piece - 1]
            assert not goes_on or row[place - 1] == piece - 1
    assert len(made) <= -(-len(of) // size) + max(counts)


def test_the_order_is_new_in_every_epoch_and_the_same_again() -> None:
    of = documents([3] * 50)
    made = lambda seed, epoch: np.concatenate(batches(streams(of, 5, seed), epoch)).tolist()  # noqa: E731
    assert made(0, 0) == made(0, 0) and made(0, 0) != made(0, 1) and made(0, 0) != made(1, 0)
    assert made(None, 0) == made(None, 1)


def test_the_longest_text_is_begun_first() -> None:
    made = batches(streams(documents([1, 1, 6, 1, 1, 1]), 2))
    assert len(made) == 6 and [len(batch) for batch in made] == [2, 2, 2, 2, 2, 1]
    assert batches(streams(documents([]), 3)) == []
