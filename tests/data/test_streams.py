"""Streams: every piece once, in the order of its text, side by side; training's are even, and measuring's cut no text."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.streams import even, whole
from omnitune.errors import Mistake

COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=20)


def documents(counts: list[int]) -> np.ndarray:
    """Pieces of texts whose numbers leave gaps, as those without a token do."""
    return np.repeat(3 * np.arange(len(counts)), counts)


def rows(batches: list[np.ndarray]) -> list[list[int]]:
    """What each row reads, batch after batch."""
    return [[int(batch[row]) for batch in batches if row < len(batch)] for row in range(len(batches[0]))]


@given(COUNTS, st.integers(1, 6), st.integers(0, 2))
def test_training_reads_every_piece_once_in_order_and_in_full_batches(counts: list[int], streams: int, seed: int) -> None:
    of = documents(counts)
    if len(of) < streams:
        with pytest.raises(Mistake, match=f"{len(of)} pieces of text cannot be read in {streams} streams"):
            even(of, streams, np.random.default_rng(seed))
        return
    batches = even(of, streams, np.random.default_rng(seed))
    assert [len(batch) for batch in batches[:-1]] == [streams] * (len(batches) - 1) and len(batches) == -(-len(of) // streams)
    read = [piece for row in rows(batches) for piece in row]
    assert sorted(read) == list(range(len(of)))
    breaks = [place for place in range(1, len(read)) if read[place] != read[place - 1] + 1 or of[read[place]] != of[read[place - 1]]]
    assert all(read[place] == 0 or of[read[place]] != of[read[place] - 1] for place in breaks), "only whole texts change places"


@given(COUNTS, st.integers(1, 6))
def test_measuring_cuts_no_text(counts: list[int], streams: int) -> None:
    of = documents(counts)
    batches = whole(of, streams)
    assert all(0 < len(after) <= len(batch) <= streams for batch, after in pairwise(batches))
    assert sorted(piece for batch in batches for piece in batch.tolist()) == list(range(len(of)))
    for row in rows(batches):
        for place, piece in enumerate(row):
            goes_on = piece > 0 and of[piece] == of[piece - 1]
            assert not goes_on or row[place - 1] == piece - 1
    assert len(batches) <= max(-(-len(of) // streams) + max(counts), max(counts))


def test_the_order_is_new_in_every_epoch_and_the_same_again() -> None:
    of = documents([3] * 50)
    made = lambda *seed: np.concatenate(even(of, 5, np.random.default_rng(seed))).tolist()  # noqa: E731
    assert made(0, 0) == made(0, 0) and made(0, 0) != made(0, 1) and made(0, 0) != made(1, 0)


def test_the_longest_text_is_begun_first() -> None:
    batches = whole(documents([1, 1, 6, 1, 1, 1]), 2)
    assert len(batches) == 6 and [len(batch) for batch in batches] == [2, 2, 2, 2, 2, 1]
    assert whole(documents([]), 3) == []
