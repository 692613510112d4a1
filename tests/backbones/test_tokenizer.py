"""Learned tokenizers: the same in every run, exact round trips, special tokens, saved and read again."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.backbones._tokenizer import PART, fast_tokenizer, learn_tokenizer
from omnitune.errors import Mistake

ROOT = Path(__file__).parents[2]
WORDS = ["the fabric is soft", "It shrank after one wash, didn't it?", "zwei weitere gekauft", "ein Café für 你好", "x = f(y)[3]"]
TEXTS = [f"{WORDS[i % 5]} {WORDS[(i * 7 + 3) % 5]} {i * i}\n" for i in range(300)]
SPECIAL = {
    "bpe": ["<|endoftext|>"],
    "wordpiece": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "unigram": ["<pad>", "</s>", "<unk>"],
}
LEARN = """
import sys
sys.path.insert(0, "tests/backbones")
from omnitune.backbones._tokenizer import learn_tokenizer
from test_tokenizer import TEXTS
print(*(learn_tokenizer(iter(TEXTS), kind, 400) for kind in ("bpe", "wordpiece")), sep="\\n")
"""
BPE = fast_tokenizer(learn_tokenizer(TEXTS, "bpe", 400), 128)


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_special_tokens_come_first_and_every_text_is_read(kind: Any) -> None:
    text = learn_tokenizer(iter(TEXTS), kind, 400)
    made = fast_tokenizer(text, 128)
    assert made.convert_ids_to_tokens(range(len(SPECIAL[kind]))) == SPECIAL[kind]
    assert {token["content"] for token in json.loads(text)["added_tokens"]} == set(SPECIAL[kind])
    assert len(made) <= 400 and set(made.get_vocab().values()) == set(range(len(made)))
    assert (made.model_max_length, made.padding_side, made.pad_token) == (128, "right", SPECIAL[kind][0])
    ids = made("the fabric shrank")["input_ids"]
    plain = made("the fabric shrank", add_special_tokens=False)["input_ids"]
    around = {"bpe": plain, "wordpiece": [2, *plain, 3], "unigram": [*plain, 1]}[kind]
    assert ids == around and 1 < len(plain) < 18
    assert made.decode(ids, skip_special_tokens=True) == "the fabric shrank"


def test_pairs_of_bert() -> None:
    made = fast_tokenizer(learn_tokenizer(TEXTS, "wordpiece", 400), 128)
    read = made("soft", "wash", return_token_type_ids=True)
    ids = [made(word, add_special_tokens=False)["input_ids"] for word in ("soft", "wash")]
    assert read["input_ids"] == [2, *ids[0], 3, *ids[1], 3]
    assert read["token_type_ids"] == [0] * (len(ids[0]) + 2) + [1] * (len(ids[1]) + 1)
    assert made.mask_token_id == 4 and made.convert_tokens_to_ids("🙂") == made.unk_token_id == 1


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_bpe_gives_every_text_back(text: str) -> None:
    assert BPE.decode(BPE(text)["input_ids"]) == text


@pytest.mark.parametrize("kind", list(SPECIAL))
def test_saved_and_read_again(kind: Any, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    made = fast_tokenizer(learn_tokenizer(TEXTS, kind, 400), 128)
    made.save_pretrained(str(tmp_path))
    again = AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS[:50], "", "  two  spaces ", "🙂 unknown", "a [MASK] <|endoftext|></s>"]:
        assert again(text)["input_ids"] == made(text)["input_ids"]
        assert again.decode(made(text)["input_ids"]) == made.decode(made(text)["input_ids"])
    assert again.special_tokens_map == made.special_tokens_map
    assert (again.model_max_length, again.padding_side, len(again)) == (128, "right", len(made))
    assert json.loads(again.backend_tokenizer.to_str()) == json.loads(made.backend_tokenizer.to_str())


def test_the_same_in_every_run() -> None:
    here = [learn_tokenizer(TEXTS, "bpe", 400), learn_tokenizer(TEXTS, "wordpiece", 400)]
    for parallel in ("true", "false", "true"):
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "TOKENIZERS_PARALLELISM": parallel}
        there = subprocess.run([sys.executable, "-c", LEARN], cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert list(map(json.loads, there.stdout.splitlines())) == list(map(json.loads, here))


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_lowercase(kind: Any) -> None:
    made = fast_tokenizer(learn_tokenizer(TEXTS, kind, 400, lowercase=True), 128)
    assert made("THE Cafe")["input_ids"] == made("the café")["input_ids"]
    cased = fast_tokenizer(learn_tokenizer(TEXTS, kind, 400), 128)
    assert cased("It")["input_ids"] != cased("it")["input_ids"]


def test_rare_characters_are_unknown_where_the_room_is_small() -> None:
    texts = ["".join(chr(0x4E00 + i) for i in range(200)), "the the the of of"]
    made = fast_tokenizer(learn_tokenizer(texts, "wordpiece", 60), 128)
    assert len(made) <= 60 and "[UNK]" not in made.tokenize("the of") and made.tokenize(chr(0x4E00 + 150)) == ["[UNK]"]


def test_long_texts_are_read_in_parts() -> None:
    words = "some words and more of them " * (PART // 10)
    made = fast_tokenizer(learn_tokenizer([words], "bpe", 300), 128)
    assert made.tokenize(" words more") == ["Ġwords", "Ġmore"]
    assert "xxxx" in fast_tokenizer(learn_tokenizer(["x" * (3 * PART)], "bpe", 260), 128).get_vocab()


def test_halves_of_characters() -> None:
    assert learn_tokenizer(["a \ud800 b \ud83c\udf89"] * 3, "bpe", 300) == learn_tokenizer(["a \ufffd b 🎉"] * 3, "bpe", 300)


def test_a_failing_source_is_told_as_it_is() -> None:
    def texts() -> Any:
        yield "a"
        raise Mistake("t.csv row 2", "is damaged")

    for kind in SPECIAL:
        with pytest.raises(Mistake, match=r"t\.csv row 2: is damaged"):
            learn_tokenizer(texts(), kind, 300)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("texts", "kind", "size", "words"),
    [
        ([], "bpe", 300, "no text to learn from"),
        (["", " \n"], "wordpiece", 300, "no text to learn from"),
        ([], "unigram", 300, "no text to learn from"),
        (TEXTS, "bpe", 256, "256 tokens have no room for the 256 bytes and special tokens. Give 257 or more"),
        (TEXTS, "wordpiece", 6, "no room for a letter"),
        (TEXTS, "unigram", 10, "not large enough"),
        (TEXTS, "bep", 300, "no kind 'bep'. Did you mean 'bpe'"),
    ],
)
def test_mistakes(texts: list[str], kind: Any, size: int, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        learn_tokenizer(texts, kind, size)


def test_bpe_is_not_lowercased() -> None:
    with pytest.raises(Mistake, match="capitals too"):
        learn_tokenizer(TEXTS, "bpe", 300, lowercase=True)
