"""Pieced: rows that are pieces of documents, as a model reads them: every word asked for once, every byte counted once."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import checkpoints
from omnitune.data import tokenised
from omnitune.data.columns import Column
from omnitune.data.pieced import Pieced
from omnitune.data.table import read
from omnitune.modalities._words import Frame, Row
from omnitune.modalities.text import Text
from omnitune.nn.tokens import Batch
from omnitune.tasks.generate import Generate

SENTENCES = ["the fabric is soft. ", "它缩水了, 🙂🙂 über ", "it shrank after one wash\n", "a <|endoftext|> b "]
TEXTS: list[str | None] = [SENTENCES[i % 4] * (1 + 7 * i % 23) + str(i) for i in range(40)]
TEXTS[3:6] = ["", "x", None]
GPT = {"kind": "gpt", "depth": 1, "width": 16, "heads": 1, "context": 96, "vocabulary": 300}
BACKBONES = {"gpt": lambda: GPT, "gpt2": lambda: str(checkpoints.tiny_gpt2()), "bert": lambda: str(checkpoints.tiny_bert())}


def pieced(limit: int, name: str = "gpt", texts: list[str | None] = TEXTS) -> tuple[Pieced, Text, dict[str, Any]]:
    made = Text(BACKBONES[name](), max_tokens=limit, pieces=True)  # type: ignore[arg-type]
    facts = made.learn([text for text in TEXTS if text is not None] * 2)
    table = read([{"text": text, "label": f"of {i}", "price": i} for i, text in enumerate(texts)])
    return Pieced(table, np.arange(len(texts)), "text", made, facts, ["label"]), made, facts


def rows_of(table: Pieced, document: int) -> list[Row | None]:
    return table.take("text", np.flatnonzero(table.pieces.documents == document))


def sequence(table: Pieced, document: int) -> list[int]:
    """A document's tokens among the special ones."""
    return [*table.frame.before, *table.tokens.ids(document).tolist(), *table.frame.after]


@pytest.mark.parametrize("name", ["gpt", "gpt2"])
@pytest.mark.parametrize("limit", [4, 7, 64, 96])
def test_every_token_but_the_first_is_asked_for_once(name: str, limit: int) -> None:
    table, made, facts = pieced(limit, name)
    batch = Batch({"text": made.encode(table.take("text", np.arange(len(table))), facts)}, np.arange(len(table)))
    target = Generate(of="text").prepare(batch, {}, {"ends": name == "gpt"}, None)[1]
    for document, text in enumerate(TEXTS):
        of = np.flatnonzero(table.pieces.documents == document)
        asked = [label for row in of for label in target["labels"][row].tolist() if label >= 0]
        assert asked == (sequence(table, document)[1:] if text is not None else [])
        tokens, size = target["y"][of].sum(0).tolist()
        first = 0 if name == "gpt" or not text else len(made.backbone.tokenizer().convert_ids_to_tokens(int(table.tokens.ids(document)[0])))
        assert tokens == len(asked) and size == len((text or "").encode()) - first
    assert table.pieces.sizes.max() <= limit and int(batch.inputs["text"]["attention_mask"].sum(1).max()) <= limit
    assert not batch.inputs["text"]["cut"].any()


@pytest.mark.parametrize("name", ["gpt", "bert"])
def test_a_document_that_fits_is_one_piece_as_it_would_be_read_whole(name: str) -> None:
    table, made, facts = pieced(96, name)
    whole = made.replace(pieces=False)
    for document, text in enumerate(TEXTS):
        if text is None or "<|" in text or len(sequence(table, document)) > 96:
            continue
        (piece,) = rows_of(table, document)
        for key, tensor in whole.encode([text], facts).items():
            assert key == "words" or (key == "bytes" and name == "bert") or tensor.tolist() == made.encode([piece], facts)[key].tolist()


def test_each_piece_of_a_model_that_sees_both_ways_is_a_text_of_its_own() -> None:
    table, _, _ = pieced(8, "bert")
    for document, text in enumerate(TEXTS):
        ids = table.tokens.ids(document).tolist()
        found = rows_of(table, document)
        if text is None:
            assert found == [None]
            continue
        assert [row.ids for row in found if row] == [[2, *ids[i : i + 6], 3] for i in range(0, max(1, len(ids)), 6)]
        assert all(row and row.words == [-1, *range(len(row.ids) - 2), -1] and row.next == -1 for row in found)
        assert sum(row.bytes for row in found if row) == len(text.encode())


@pytest.mark.parametrize("name", ["gpt", "gpt2", "bert"])
def test_predictions_read_the_first_piece(name: str) -> None:
    table, made, facts = pieced(9, name)
    read_now = made.encode(TEXTS, facts)
    firsts = made.encode([rows_of(table, document)[0] for document in range(len(TEXTS))], facts)
    for key in ("input_ids", "attention_mask", "present", "next"):
        assert read_now[key].tolist() == firsts[key].tolist()


def test_other_columns_are_the_documents_and_answers_stand_once() -> None:
    table, _, _ = pieced(16)
    every = np.arange(len(table))
    assert table.take("price", every) == table.pieces.documents.tolist()
    labels = [f"of {document}" if start == 0 else None for document, start in zip(table.pieces.documents, table.pieces.starts, strict=True)]
    assert table.take("label", every) == labels == list(Column(table, "label", every))
    assert list(Column(table, "price", every)) == table.pieces.documents.tolist()
    assert [row and row.ids for row in Column(table, "text", every)] == [row and row.ids for row in table.take("text", every)]
    parts = table.parts({"train": np.array([0, 2]), "test": np.array([1])})
    assert {part: sorted(set(table.origin(rows).tolist())) for part, rows in parts.items()} == {"train": [0, 2], "test": [1]}


def test_a_piece_is_read_without_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    table, _, _ = pieced(16)
    monkeypatch.setattr(table.source, "take", lambda *_: pytest.fail("the text was read"))
    monkeypatch.setattr(tokenised.TokenReader, "read", lambda *_: pytest.fail("the text was tokenised again"))
    assert all(row is None or row.ids for row in table.take("text", np.arange(len(table))))


@given(st.integers(0, 30), st.integers(4, 9), st.integers(0, 2), st.integers(0, 2), st.booleans())
def test_pieces_lie_in_their_frame(n: int, limit: int, before: int, after: int, goes_on: bool) -> None:
    frame = Frame(tuple(range(100, 100 + before)), tuple(range(200, 200 + after)), limit + 4, goes_on, 99)
    ids = np.arange(n)
    length, room = int(frame.length(np.array([n]))[0]), frame.limit - frame.special
    rows = [frame.row(ids, start, min(start + room, length), 1) for start in range(0, length, room)]
    whole = [*frame.before, *range(n), *frame.after]
    if goes_on and len(whole) > 1:
        assert [token for row in rows for token in [*row.ids[1:], *([row.next] if row.next >= 0 else [])]] == whole[1:]
        assert all(row.next == after.ids[0] for row, after in pairwise(rows))
    elif not goes_on:
        assert [token for row in rows for token in row.ids if token < 99] == list(range(n))
    assert all(0 < len(row.ids) == len(row.words) <= frame.limit for row in rows)
    assert all((word < 0) == (token >= 99) for row in rows for token, word in zip(row.ids, row.words, strict=True))
