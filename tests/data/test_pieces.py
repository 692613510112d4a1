"""Pieces: nothing lost, nothing twice, no longer than the context."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.pieces import Pieces
from omnitune.errors import Mistake

LENGTHS = st.lists(st.integers(0, 70), max_size=60)


@given(LENGTHS, st.integers(3, 20), st.sampled_from([0, 2]))
def test_every_token_is_in_one_piece(lengths: list[int], context: int, special: int) -> None:
    pieces = Pieces(np.array(lengths, np.int64), context, special)
    found = [(int(d), t) for d, a, z in zip(pieces.documents, pieces.starts, pieces.stops, strict=True) for t in range(a, z)]
    assert found == [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    assert len(pieces) == sum(-(-length // (context - special)) for length in lengths)
    assert (pieces.sizes <= context).all() and (pieces.sizes > special).all()


@given(LENGTHS, st.integers(3, 20))
def test_the_pieces_of_a_document(lengths: list[int], context: int) -> None:
    pieces = Pieces(np.array(lengths, np.int64), context)
    for document in range(len(lengths)):
        assert np.arange(len(pieces))[pieces.of(document)].tolist() == np.flatnonzero(pieces.documents == document).tolist()


def test_mistakes() -> None:
    with pytest.raises(Mistake, match=r"2 tokens have no room for text beside 2 special tokens\. Give 3 or more"):
        Pieces(np.array([3]), 2, 2)
