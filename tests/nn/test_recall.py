"""Pieces of texts through a memory that finds them: read side by side, in parts and in any order of rows, they are what each text alone gives."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from omnitune.data.streams import Streams
from omnitune.nn.encoder import Encoder
from omnitune.nn.memory import Memory
from omnitune.nn.recall import NONE, Place, Recall, joined
from omnitune.nn.transformer_xl import TransformerXL, TransformerXLConfig

LENGTHS, PIECE, VOCAB = [13, 4, 21, 1, 9, 5, 30], 4, 31
TEXTS = [torch.randint(1, VOCAB, (length,), generator=torch.Generator().manual_seed(length)) for length in LENGTHS]
PIECES = [piece for text in TEXTS for piece in text.split(PIECE)]
OF = np.repeat(np.arange(len(TEXTS)), [-(-length // PIECE) for length in LENGTHS])


def whole(streams: int) -> list[np.ndarray]:
    return Streams(np.arange(len(OF)), OF, streams, None).epoch(0)


def encoder(**more: Any) -> Encoder:
    torch.manual_seed(0)
    settings = {"width": 8, "heads": 2, "inner": 12, "context": PIECE, "memory": 99, "vocab": VOCAB, "pad": 0} | more
    model = TransformerXL(TransformerXLConfig.of(2, **settings))
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0.0, 0.5)
    return Encoder(model.double(), "last")


def place(pieces: np.ndarray) -> Place:
    before = [piece - 1 if piece and OF[piece - 1] == OF[piece] else NONE for piece in pieces.tolist()]
    after = [piece + 1 if piece + 1 < len(OF) and OF[piece + 1] == OF[piece] else NONE for piece in pieces.tolist()]
    return Place(torch.from_numpy(pieces), torch.tensor(before), torch.tensor(after))


def batch(pieces: np.ndarray) -> dict[str, Tensor]:
    rows = [PIECES[piece] for piece in pieces.tolist()]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


@torch.no_grad()
def read(reader: Encoder, batches: Any) -> dict[int, Tensor]:
    """What is made of each piece."""
    found = {}
    for pieces in batches:
        tokens = reader(place(pieces), **batch(pieces))
        found |= {int(piece): x[mask] for piece, x, mask in zip(pieces, tokens.x_BLD, tokens.mask_BL, strict=True)}
    return found


def alone(reader: Encoder) -> dict[int, Tensor]:
    """The same, a text at a time, its segments in order."""
    made: list[Tensor] = []
    for text in TEXTS:
        mems = None
        for segment in text.split(PIECE):
            with torch.no_grad():
                out = reader.model(segment[None], mems)
            mems = out.mems
            made.append(out.last_hidden_state[0])
    return dict(enumerate(made))


def parted(batches: list[np.ndarray], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Rows of each batch in any order, in parts."""
    for pieces in batches:
        yield from np.array_split(rng.permutation(pieces), min(len(pieces), int(rng.integers(1, 4))))


@pytest.mark.parametrize("memory", [99, 6, 3])
@pytest.mark.parametrize("streams", [1, 3, 7])
def test_side_by_side_is_one_by_one(memory: int, streams: int) -> None:
    reader = encoder(memory=memory)
    wanted = alone(reader)
    for batches in (whole(streams), list(parted(whole(streams), np.random.default_rng(0)))):
        found = read(reader, batches)
        assert found.keys() == wanted.keys()
        for piece, x in found.items():
            torch.testing.assert_close(x, wanted[piece], rtol=1e-9, atol=1e-9)
        assert reader.recall.memory is None and not len(reader.recall.pieces_N), "nothing is kept of texts that are over"


def test_a_memory_that_holds_all_gives_the_whole_text() -> None:
    reader = encoder()
    found = read(reader, whole(3))
    for number, text in enumerate(TEXTS):
        with torch.no_grad():
            x = reader.model(text[None]).last_hidden_state[0]
        torch.testing.assert_close(torch.cat([found[int(piece)] for piece in np.flatnonzero(number == OF)]), x, rtol=1e-9, atol=1e-9)


def test_what_is_cut_between_streams_begins_anew() -> None:
    reader = encoder()
    batches = Streams(np.arange(len(OF)), OF, 3, 1).epoch(0)
    cut = [int(piece) for piece in batches[0] if place(batches[0][batches[0] == piece]).before_B != NONE]
    assert cut, "or this proves nothing"
    found = read(reader, batches)
    for piece in cut:
        torch.testing.assert_close(found[piece], reader.model(PIECES[piece][None]).last_hidden_state[0])


def test_it_goes_on_from_what_was_saved() -> None:
    batches = whole(3)
    reader, other = encoder(), encoder()
    read(reader, batches[:3])
    assert reader.recall.memory is not None
    saved = {name: tensor.clone() for name, tensor in reader.recall.state().items()}
    wanted = read(reader, batches[3:])
    other.recall = Recall.restored(saved)
    assert all(torch.equal(x, wanted[piece]) for piece, x in read(other, batches[3:]).items())
    assert Recall.restored(Recall.empty().state()).memory is None


def test_reading_again_from_an_older_recall_gives_the_same() -> None:
    """As after memory ended in the middle of a batch."""
    reader, batches = encoder(), whole(4)
    read(reader, batches[:2])
    before = reader.recall
    read(reader, [batches[2][:2]])
    reader.recall = before
    again = read(reader, [batches[2]])
    reader.recall = before
    assert all(torch.equal(x, again[piece]) for piece, x in read(reader, [batches[2]]).items())


def test_no_place_no_memory() -> None:
    reader, pieces = encoder(), whole(3)[0]
    with torch.no_grad():
        reader(**batch(pieces))
    assert reader.recall.memory is None and not reader.went_on


def test_memories_of_unequal_size_are_joined_at_their_end() -> None:
    few, many = Memory([torch.ones(1, 2, 3)], torch.tensor([2])), Memory([torch.full((2, 4, 3), 2.0)], torch.tensor([4, 3]))
    made = joined([few, many])
    assert made.held_B.tolist() == [2, 4, 3] and made.layers[0].shape == (3, 4, 3)
    assert made.layers[0][0, :, 0].tolist() == [0, 0, 1, 1] and made.real_BM[0].tolist() == [False, False, True, True]
    assert joined([few]) is few


def test_more_is_remembered_outside_training() -> None:
    longer, same = encoder(memory=4, eval_memory=99), encoder(memory=99)
    wanted = read(same, whole(3))
    assert all(torch.equal(x, wanted[piece]) for piece, x in read(longer, whole(3)).items())
    sizes = []
    for training in (True, False):
        longer.train(training)
        read(longer, whole(1)[:4])
        assert longer.recall.memory is not None
        sizes.append(longer.recall.memory.size)
        longer.recall = Recall.empty()
    assert sizes == [4, 16]
    assert "told of up to 4 tokens before it in training, 99 after" in longer.path()["texts"]
