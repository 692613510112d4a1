"""Texts: cut exactly, padded, masked; long ones read no further than needed."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import CanineTokenizer

import checkpoints
from omnitune.errors import Mistake
from omnitune.modalities._words import Words, sound
from omnitune.modalities.text import Text

NAMES = list(checkpoints.TEXT)


def text(name: str = "bert", **more: Any) -> Text:
    return Text(str(checkpoints.TEXT[name]()), **more)


@cache
def words(name: str, limit: int) -> Words:
    return Words(text(name).backbone.tokenizer(), limit)


def ids(modality: Text, values: list[Any], rng: np.random.Generator | None = None) -> list[list[int]]:
    made = modality.encode(values, modality.learn(values), rng)
    return [row[mask.bool()].tolist() for row, mask in zip(made["input_ids"], made["attention_mask"], strict=True)]


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_those_of_transformers(name: str) -> None:
    values = [*checkpoints.SENTENCES, "fits " * 200]
    made = text(name, max_tokens=24).encode(values, {"max_tokens": 24})
    wanted = text(name).backbone.tokenizer()(values, truncation=True, max_length=24, padding=True, return_tensors="pt")
    assert torch.equal(made["attention_mask"], wanted["attention_mask"])
    assert torch.equal(made["input_ids"], wanted["input_ids"])


def test_a_tokenizer_that_changed_under_the_same_name_is_read_again(tmp_path: Path) -> None:
    """In a notebook, a backbone is trained again into the same folder."""
    folder = shutil.copytree(checkpoints.tiny_bert(), tmp_path / "backbone")
    reads = Text(str(folder))
    before = ids(reads, ["soft to true"])
    assert ids(reads, ["soft to true"]) == before
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["soft"], vocabulary["true"] = vocabulary["true"], vocabulary["soft"]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    first, soft, *between, true, last = before[0]
    assert soft != true and ids(reads, ["soft to true"]) == [[first, true, *between, soft, last]]


def test_the_batch_is_as_long_as_its_longest() -> None:
    made = text().encode(["a", "a b c"], {"max_tokens": 96})
    assert made["input_ids"].shape == (2, 5) and made["attention_mask"].sum(1).tolist() == [3, 5]


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_text_is_a_text_and_a_missing_one_is_not(name: str) -> None:
    modality = text(name)
    facts = modality.learn([""])
    made = modality.encode(["", None, ""], facts)
    assert made["present"].tolist() == [True, False, True]
    assert made["input_ids"].shape[1] > 0 and (made["attention_mask"].sum(1) > 0).all()
    with torch.no_grad():
        tokens = modality.encoder(facts)(made)
    assert tokens.present.tolist() == [True, False, True]
    assert tokens.pooled()[0].any() and torch.allclose(tokens.pooled()[0], tokens.pooled()[2], atol=1e-5)


def test_the_limit_is_the_lower_one_and_cuts_are_counted() -> None:
    values = ["a b", "a " * 50, None, "a " * 500, "a " * 100_000]
    assert text().learn(values) == {"max_tokens": 96, "cut": 0.5}
    assert text(max_tokens=20).learn(values) == {"max_tokens": 20, "cut": 0.75}
    assert text(max_tokens=20).encode(values, {"max_tokens": 20})["input_ids"].shape == (5, 20)


def test_cuts_of_many_rows_are_counted_on_some() -> None:
    values = (["short"] * 3 + ["long " * 100]) * 5_001
    assert text(max_tokens=16).learn(values)["cut"] == pytest.approx(0.25, abs=0.02)


def test_values_that_are_no_texts_are_read_as_written() -> None:
    assert ids(text(), [3, 3.0, 2.5, True]) == ids(text(), ["3", "3", "2.5", "true"])
    assert text().check(3.5) is None
    for value in (b"bytes", ["a"], {"a": 1}, float("inf")):
        assert text().check(value)


@pytest.mark.parametrize("name", ["bert", "gpt2", "roberta", "t5"])
@pytest.mark.parametrize(
    "piece", ["too small, poor quality. ", "服は素敵です", "a\n \n\t b  ", "word" * 9 + " "], ids=["English", "Japanese", "spaces", "long"]
)
def test_a_long_text_is_cut_exactly(name: str, piece: str) -> None:
    reader = words(name, 48)
    long = piece * (100_000 // len(piece.encode()))
    whole = reader.cutting.encode(long).ids
    row = reader.read([long])[0]
    assert (row.ids, row.cut) == (whole, True)


@pytest.mark.parametrize("name", ["bert", "gpt2", "roberta"])
def test_a_megabyte_is_not_read_whole(name: str) -> None:
    reader = words(name, 48)
    assert len(reader.start("sent it back. " * 70_000)) < 2_000
    assert len(reader.start(" " * 100_000 + "sent it back. " * 70_000)) < 500_000


pieces = st.sampled_from(
    ["a", " ", "\n", "\r\n", "  \n", "'s", "'", "12345", ".", "服", "é", "e\u0301", "🎉", "x" * 120, "\u00a0", "lovely ", "[SEP]", "<|endoftext|>"]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pieces, min_size=1, max_size=12), st.lists(pieces, max_size=700), st.sampled_from(["bert", "gpt2", "roberta"]))
def test_any_text_is_cut_exactly(start: list[str], rest: list[str], name: str) -> None:
    reader, long = words(name, 8), "".join(start) * 20 + "".join(rest)
    wanted = reader.cutting.encode(long)
    row = reader.read([long])[0]
    assert row.ids == (wanted.ids or [reader.empty]) and row.cut == bool(wanted.overflowing)


def test_halves_of_characters_are_replaced() -> None:
    assert sound("\ud83c\udf89 \ud800!") == "🎉 \ufffd!"
    assert ids(text(), ["a \ud800"]) == ids(text(), ["a \ufffd"])
    assert text().learn(["\ud83c\udf89"])["cut"] == 0


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_token_dropout_masks_but_never_special_tokens(name: str) -> None:
    modality, value = text(name, token_dropout=0.3), "too small, poor quality, sent it back the next day"
    tokenizer = modality.backbone.tokenizer()
    plain = np.array(ids(modality, [value] * 300))
    made = np.array(ids(modality, [value] * 300, np.random.default_rng(0)))
    hidden = made != plain
    assert (made[hidden] == tokenizer.mask_token_id).all()
    assert not hidden[:, [0, -1]].any() and hidden[:, 1:-1].mean() == pytest.approx(0.3, abs=0.03)


def test_token_dropout_leaves_tokens_out_where_there_is_no_mask() -> None:
    modality, value = text("gpt2", token_dropout=0.3), "too small, poor quality, sent it back the next day"
    plain = ids(modality, [value])[0]
    made = ids(modality, [value] * 300, np.random.default_rng(0))
    assert np.mean([len(row) for row in made]) == pytest.approx(0.7 * len(plain), rel=0.05)
    for row in made:
        rest = iter(plain)
        assert all(token in rest for token in row)
    assert all(ids(text("gpt2", token_dropout=0.99), ["a b"] * 20, np.random.default_rng(0)))


def test_no_dropout_no_difference() -> None:
    assert ids(text(), checkpoints.SENTENCES, np.random.default_rng(0)) == ids(text(), checkpoints.SENTENCES)


def test_threads_do_not_disturb_each_other() -> None:
    short, long = text(max_tokens=8), text(max_tokens=64)
    wanted = ids(short, checkpoints.SENTENCES), ids(long, checkpoints.SENTENCES)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda i: ids((short, long)[i % 2], checkpoints.SENTENCES), range(64)))
    assert all(rows == wanted[i % 2] for i, rows in enumerate(made))


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(Mistake, match="no fast tokenizer"):
        Words(CanineTokenizer(), 16)


def test_size_grows_with_the_text_and_ends_at_the_limit() -> None:
    sizes = [text(max_tokens=64).size(value) for value in ("", "a few words", "a few words " * 10, "a" * 10**6)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[1] < sizes[2] < sizes[3] <= 66
