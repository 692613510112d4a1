"""Tokens spell the bytes that they stand for, in every kind of vocabulary that writes texts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoTokenizer

import checkpoints
from omnitune import Mistake
from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.nn.signs import Signs, signs

TEXTS = ["a red dress, number 7", "  two  spaces\nand a line", "größe 服 🎈 \x00", "x_y-z"]


@pytest.mark.parametrize("folder", [checkpoints.tiny_llama, checkpoints.tiny_gpt2, checkpoints.tiny_bart])
def test_bytes_of_tokens_are_those_of_the_text(folder: Callable[[], Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder())
    known = signs(tokenizer, len(tokenizer) + 5, [tokenizer.eos_token_id])
    for text in TEXTS:
        assert known.decode_bytes(tokenizer(text, add_special_tokens=False)["input_ids"]).decode() == text
    assert known.vocab_size == len(tokenizer) + 5
    assert known.is_special_token(tokenizer.eos_token_id)


def test_a_vocabulary_of_pieces_marks_words_by_a_space() -> None:
    tokenizer = fast_tokenizer(learn_tokenizer([*TEXTS, "more words to learn from " * 9], "unigram", 60), 64)
    known = Signs(tokenizer, len(tokenizer), [tokenizer.eos_token_id])
    ids = tokenizer("red dress", add_special_tokens=False)["input_ids"]
    assert b"".join(known.tokens[number] for number in ids) == b" red dress"


def test_word_pieces_are_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoints.tiny_bert())
    with pytest.raises(Mistake, match="depends on those beside it"):
        Signs(tokenizer, len(tokenizer), [0])
