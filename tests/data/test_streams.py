"""Streams: ordered, nothing lost, document starts where they are, targets within documents, any step by itself."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.data.streams import Streams
from omnitune.data.table import read
from omnitune.data.tokenised import Tokenised
from omnitune.errors import Mistake


@dataclass
class Numbered:
    """Documents whose tokens are 100 times their number and counting on."""

    lengths: np.ndarray

    @property
    def total(self) -> int:
        return int(self.lengths.sum())

    def ids(self, document: int) -> np.ndarray:
        return (document * 100 + np.arange(self.lengths[document])).astype(np.uint16)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(1, 5), st.integers(1, 9), st.sampled_from([None, 0, 1]))
def test_every_token_once_in_order(lengths: list[int], rows: int, length: int, seed: int | None) -> None:
    source = Numbered(np.array(lengths, np.int64))
    if source.total < rows:
        return
    streams = Streams(source, rows, length, seed)  # type: ignore[arg-type]
    steps = [streams.step(number, epoch=2) for number in range(len(streams))]
    real = np.concatenate([step.real_BL for step in steps], 1).reshape(-1)
    ids, starts, nexts = (np.concatenate([getattr(step, name) for step in steps], 1).reshape(-1)[real] for name in ("ids_BL", "starts_BL", "next_BL"))
    order = ids[starts] // 100
    assert sorted(order.tolist()) == [document for document, length in enumerate(lengths) if length]
    assert seed is not None or (np.diff(order) > 0).all()
    assert ids.tolist() == [token for document in order for token in source.ids(document)]
    assert starts.tolist() == (ids % 100 == 0).tolist()
    last = ids % 100 == np.array(lengths)[ids // 100] - 1
    assert nexts.tolist() == np.where(last, -1, ids + 1).tolist()
    assert all(step.ids_BL.shape == (rows, length) for step in steps[:-1])
    assert all((step.next_BL[~step.real_BL] == -1).all() and not step.starts_BL[~step.real_BL].any() for step in steps)


def test_the_order_changes_with_epoch_and_seed_alone() -> None:
    source = Numbered(np.full(50, 7))
    made = lambda seed, epoch: Streams(source, 3, 8, seed).step(0, epoch).ids_BL.tolist()  # type: ignore[arg-type]  # noqa: E731
    assert made(0, 0) == made(0, 0) and made(0, 0) != made(0, 1) and made(0, 0) != made(1, 0)
    assert made(None, 0) == made(None, 1)


def test_streams_of_tokens_from_a_table() -> None:
    texts = ["the fabric is soft", "it shrank after one wash", "two more were bought"] * 4
    tokenizer = fast_tokenizer(learn_tokenizer(texts, "bpe", 300), 128)
    tokens = Tokenised(read([{"text": text} for text in texts]), "text", np.arange(len(texts)), tokenizer, end=0)
    streams = Streams(tokens, 1, 16)
    steps = [streams.step(number) for number in range(len(streams))]
    ids = np.concatenate([step.ids_BL[0] for step in steps])
    assert tokenizer.decode(ids) == "<|endoftext|>".join([*texts, ""])
    assert np.flatnonzero(np.concatenate([step.starts_BL[0] for step in steps])).tolist() == (np.cumsum(tokens.lengths) - tokens.lengths).tolist()


def test_mistakes() -> None:
    with pytest.raises(Mistake, match="6 tokens cannot be read in 7 streams"):
        Streams(Numbered(np.array([6])), 7, 4)  # type: ignore[arg-type]
