"""Tokens numbered by frequency: the same parts of every text, under other numbers."""

import json
from collections import Counter
from typing import Any

from omnitune.backbones._frequency import by_frequency
from omnitune.backbones._tokenizer import PART, fast_tokenizer, learn_marked

WORDS = ["the fabric is soft", "It shrank after one wash, didn't it?", "zwei weitere gekauft", "ein Café für 你好", "x = f(y)[3]"]
TEXTS = [f"{WORDS[i % 5]} {WORDS[(i * 7 + 3) % 5]} {i * i}\n" for i in range(300)]
LEARNED = learn_marked(TEXTS, 400)


def made(learned: str) -> Any:
    return fast_tokenizer(learned, 128)


def test_the_more_frequent_has_the_smaller_number() -> None:
    before, after = made(LEARNED), made(by_frequency(LEARNED, TEXTS))
    times = Counter(token for text in TEXTS for token in after.tokenize(text)) | Counter({"<|endoftext|>": len(TEXTS)})
    counts = [times[token] for token in after.convert_ids_to_tokens(range(len(after)))]
    assert counts == sorted(counts, reverse=True) and counts[0] > counts[200] == 0
    assert sorted(after.get_vocab()) == sorted(before.get_vocab()) and set(after.get_vocab().values()) == set(range(len(after)))
    for text in (*TEXTS, "never seen: Ωμέγα", ""):
        assert after.convert_ids_to_tokens(after(text).input_ids) == before.convert_ids_to_tokens(before(text).input_ids)
        assert after.decode(after(text).input_ids, skip_special_tokens=True) == text
    assert after.eos_token_id == after.bos_token_id == after("a").input_ids[0] == after.get_vocab()["<|endoftext|>"]


def test_the_token_that_ends_a_text_has_the_number_of_its_frequency_too() -> None:
    after = made(by_frequency(LEARNED, TEXTS * 2 + ["a " * 1000]))
    assert after.eos_token_id == after.bos_token_id == after("a").input_ids[0] == after("a").input_ids[-1] > 0


def test_the_older_number_comes_first_of_two_as_frequent() -> None:
    before, after = (json.loads(text)["model"]["vocab"] for text in (LEARNED, by_frequency(LEARNED, TEXTS)))
    never = [token for token, number in sorted(after.items(), key=lambda pair: pair[1]) if number > len(after) - 50]
    assert [before[token] for token in never] == sorted(before[token] for token in never)


def test_long_texts_count_whole() -> None:
    long = ["the fabric is soft, " * (3 * PART // 20)]
    learned = learn_marked([*TEXTS, *long], 400)
    after = made(by_frequency(learned, long))
    most = [token for token, times in Counter(after.tokenize(long[0])).items() if times > PART // 10]
    assert len(most) > 3 and sorted(map(after.get_vocab().get, most)) == list(range(len(most)))
