"""Pieces and their batches: nothing lost, nothing twice, budgets kept, the same from (epoch, seed) alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.data.pieces import Pieces
from omnitune.data.table import read
from omnitune.data.tokenised import Tokenised
from omnitune.errors import Mistake

LENGTHS = st.lists(st.integers(0, 70), max_size=60)
TEXTS = ["the fabric is soft. " * 9, "", "它缩水了, 🙂🙂 über " * 5, "x", None, "a <|endoftext|> b"]


@given(LENGTHS, st.integers(3, 20), st.sampled_from([0, 2]))
def test_every_token_is_in_one_piece(lengths: list[int], context: int, special: int) -> None:
    pieces = Pieces(np.array(lengths, np.int64), context, special)
    found = [(int(d), t) for d, a, z in zip(pieces.documents, pieces.starts, pieces.stops, strict=True) for t in range(a, z)]
    assert found == [(document, token) for document, length in enumerate(lengths) for token in range(length)]
    assert len(pieces) == sum(-(-length // (context - special)) for length in lengths)
    assert (pieces.sizes <= context).all() and (pieces.sizes > special).all()


@given(LENGTHS, st.integers(3, 20), st.integers(0, 100), st.integers(0, 3), st.integers(0, 3))
def test_batches_hold_every_piece_once_within_budget(lengths: list[int], context: int, more: int, epoch: int, seed: int) -> None:
    pieces, tokens = Pieces(np.array(lengths, np.int64), context, 2), context + more
    batches = pieces.batches(epoch, seed, tokens)
    assert sorted(np.concatenate([[], *batches]).tolist()) == list(range(len(pieces)))
    for batch in batches:
        assert 0 < pieces.sizes[batch].sum() <= tokens
        assert (np.diff(pieces.sizes[batch]) >= 0).all()
    again = Pieces(np.array(lengths, np.int64), context, 2).batches(epoch, seed, tokens)
    assert list(map(list, again)) == list(map(list, batches))


def test_batches_are_full_and_shuffled() -> None:
    lengths = np.random.default_rng(0).lognormal(4, 1, 5000).astype(np.int64)
    pieces = Pieces(lengths, 256)
    for tokens in (256, 4096):
        epochs = [pieces.batches(epoch, seed, tokens) for epoch, seed in [(0, 0), (1, 0), (0, 1)]]
        for batches in epochs:
            assert pieces.sizes.sum() / (len(batches) * tokens) > 0.98
        firsts = [tuple(batches[0].tolist()) for batches in epochs]
        assert len(set(firsts)) == 3
    means = [float(np.mean(batch)) for batch in pieces.batches(0, 0, 4096)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.3
    sizes = [float(pieces.sizes[batch].mean()) for batch in pieces.batches(0, 0, 4096)]
    assert abs(np.corrcoef(np.arange(len(sizes)), sizes)[0, 1]) < 0.3


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
@pytest.mark.parametrize("context", [1, 3, 7, 1000])
def test_bytes_of_pieces_are_exact(kind: str, context: int) -> None:
    tokenizer = fast_tokenizer(learn_tokenizer([t or "" for t in TEXTS] * 5, kind, 300), 128)  # type: ignore[arg-type]
    tokens = Tokenised(read([{"text": text} for text in TEXTS]), "text", np.arange(len(TEXTS)), tokenizer, end=0)
    pieces = Pieces(tokens.lengths, context)
    found = pieces.bytes(tokens)
    assert (found >= 0).all()
    sums = np.bincount(pieces.documents, found, len(TEXTS))
    assert sums.tolist() == [len((text or "").encode()) for text in TEXTS]
    if kind == "bpe":
        for number in np.flatnonzero(pieces.documents == 0):
            ids = tokens.ids(0)[pieces.starts[number] : pieces.stops[number]]
            assert found[number] == len(tokenizer.decode(ids, skip_special_tokens=True))


def test_mistakes() -> None:
    with pytest.raises(Mistake, match=r"2 tokens have no room for text beside 2 special tokens\. Give 3 or more"):
        Pieces(np.array([3]), 2, 2)
    with pytest.raises(Mistake, match="a batch of 7 has no room for a piece of 8"):
        Pieces(np.array([3]), 8).batches(0, 0, 7)
