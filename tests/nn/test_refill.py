"""Texts written beside others are those that `generate` of transformers writes for each prompt alone; slots are filled again and columns left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import checkpoints
import gpts
from omnitune.nn.choosing import Choosing, Over
from omnitune.nn.refill import Refill, Text, fits
from omnitune.nn.slots import AHEAD
from omnitune.nn.writing import Sampling

GREEDY = Sampling(temperature=0)
NAMES = ["gpt2", "llama", "qwen3", "gpt_neox", "gptj", "mixtral", "granite"]
ROOMS = [3, 9, 1, 12, 5, 7, 2, 90]


def model(name: str) -> Any:
    """Its weights large enough for texts to differ."""
    if name in gpts.GENERATIONS:
        lm: Any = gpts.language_model(name, context=300, window=None)
    else:
        place = checkpoints.TEXT[name]() if name in checkpoints.TEXT else checkpoints.tiny_speaking(name)
        lm = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in lm.parameters():
            noise = torch.randn(weight.shape, generator=random)
            weight.copy_(weight + 0.1 * noise if weight.ndim == 1 else 0.4 * noise)
    return lm


def prompts(lengths: Sequence[int] = (4, 17, 1, 9, 30, 9, 2, 5)) -> list[list[int]]:
    random = np.random.default_rng(0)
    return [random.integers(5, 60, length).tolist() for length in lengths]


def written(
    lm: Any, sampling: Sampling, rows: Sequence[Sequence[int]], rooms: Sequence[int], slots: int = 3, ends: Any = (), **more: Any
) -> list[Text]:
    texts = [Text(i, row, room) for i, (row, room) in enumerate(zip(rows, rooms, strict=True))]
    choose = Choosing(sampling, more.pop("numbers", range(len(rows))), (), None)
    with torch.inference_mode():
        Refill(lm, choose, Over(set(ends), sampling.stop_strings, more.get("tokenizer")), 0, slots)(texts)
    return texts


def alone(lm: Any, row: Sequence[int], room: int, ends: Sequence[int] = (), **options: Any) -> list[int]:
    ids, end = torch.tensor([row]), {"eos_token_id": list(ends) or None}
    lm.generation_config.eos_token_id = list(ends) or None
    made = lm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=room, pad_token_id=0, do_sample=False, **end, **options)
    found: list[int] = made[0, len(row) :].tolist()
    return found


@pytest.mark.parametrize("name", [*NAMES, "modern", "gpt3"])
def test_greedy_texts_are_those_of_generate_for_each_prompt_alone(name: str) -> None:
    lm = model(name)
    rows, rooms = prompts(), [min(room, 60) for room in ROOMS]
    free = [text.written for text in written(lm, GREEDY, rows, rooms)]
    assert len({tuple(some[:3]) for some in free}) > 3, "texts that are all one prove nothing"
    ends = sorted({some[min(2, len(some) - 1)] for some in free})[:2]
    for penalty in (1.0, 1.3):
        how = Sampling(temperature=0, repetition_penalty=penalty)
        for text in written(lm, how, rows, rooms, ends=ends):
            assert text.written == alone(lm, text.prompt, text.room, ends, repetition_penalty=penalty), text.number


def test_one_at_a_time_and_all_at_once_are_the_same_and_so_are_probabilities() -> None:
    lm, rows = model("llama"), prompts()
    some = [written(lm, GREEDY, rows, ROOMS, slots) for slots in (1, 2, len(rows))]
    for texts in some[1:]:
        assert [text.written for text in texts] == [text.written for text in some[0]]
        for text, other in zip(texts, some[0], strict=True):
            np.testing.assert_allclose(text.chances, other.chances, rtol=1e-4)
    text = some[1][3]
    with torch.no_grad():
        logits = lm(torch.tensor([[*text.prompt, *text.written]])).logits[0, len(text.prompt) - 1 : -1]
    np.testing.assert_allclose(text.chances, logits.softmax(1).gather(1, torch.tensor(text.written)[:, None])[:, 0], rtol=1e-4)


def test_a_text_that_outgrows_its_columns_goes_on() -> None:
    lm = model("modern")
    rooms = [2 * AHEAD + 5, 3, 70]
    for text in written(lm, GREEDY, prompts((3, 8, 5)), rooms, 2):
        assert text.written == alone(lm, text.prompt, text.room)


def test_slots_are_given_away_and_columns_that_nobody_reaches_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lm, shapes = model("llama"), []
    forward = lm.forward

    def watch(**given: Any) -> Any:
        shapes.append((*given["input_ids"].shape, given["attention_mask"].shape[1]))
        return forward(**given)

    lm.forward = watch  # `fits` looks at what it takes; here only `Refill` runs
    written(lm, GREEDY, prompts((30, 4, 4, 4, 4, 4)), [2, 8, 2, 2, 2, 2], 2)
    reads, steps = [shape for shape in shapes if shape[1] > 1], [shape for shape in shapes if shape[1] == 1]
    assert [shape[:2] for shape in reads] == [(2, 30), (1, 4), (1, 4), (1, 4), (1, 4)]
    assert len(steps) == 7, "as many as the longest text has tokens behind its first"
    assert sum(shape[0] for shape in steps) == 7 + 5, "no step of an empty slot"
    assert steps[0][2] == 31 and max(shape[2] for shape in steps[1:]) == 4 + 7


def test_draws_are_a_texts_own_and_come_as_often_as_generate_says() -> None:
    lm, how = model("gpt2"), Sampling(temperature=1.4, top_k=8, top_p=0.9, min_p=0.02, seed=5)
    rows = prompts((6,) * 1) * 600
    texts = written(lm, how, rows, [2] * len(rows), 64)
    lone = written(lm, how, rows[:1], [2], numbers=[77])[0]
    assert lone.written == texts[77].written
    assert [text.written for text in written(lm, Sampling(**vars(how) | {"seed": 6}), rows, [2] * len(rows), 64)] != [text.written for text in texts]
    torch.manual_seed(0)
    ids = torch.tensor(rows)
    options = {"do_sample": True, "temperature": 1.4, "top_k": 8, "top_p": 0.9, "min_p": 0.02, "pad_token_id": 0}
    theirs = lm.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=1, **options)[:, -1]
    ours = torch.tensor([text.written[0] for text in texts])
    assert set(ours.tolist()) <= set(theirs.tolist()) and len(set(ours.tolist())) > 2
    for token in set(theirs.tolist()):
        p, q = ((some == token).double().mean() for some in (ours, theirs))
        assert abs(p - q) < 4 * (2 * q * (1 - q) / len(rows)) ** 0.5 + 1e-9, token


def test_stop_strings_stop_each_text_where_generate_stops_it() -> None:
    tokenizer, lm = AutoTokenizer.from_pretrained(checkpoints.tiny_llama()), model("llama")
    rows, rooms = prompts(), [20] * 8
    free = [tokenizer.decode(text.written) for text in written(lm, GREEDY, rows, rooms)]
    stop = next(one for text in free for one in text if one.isascii() and one.isalpha() and sum(one in other for other in free) > 2)
    texts = written(lm, Sampling(temperature=0, stop_strings=(stop,)), rows, rooms, tokenizer=tokenizer)
    assert len({len(text.written) for text in texts}) > 2
    for text in texts:
        assert text.written == alone(lm, text.prompt, text.room, stop_strings=[stop], tokenizer=tokenizer)


def test_what_it_cannot_write_is_known_before() -> None:
    assert all(fits(model(name)) for name in NAMES)
    assert fits(gpts.language_model("gpt2")) and not fits(gpts.language_model("gpt3")), "a banded layer forgets"
    assert not fits(model("gemma2")), "its windows slide"
    asks = model("llama")
    asks.generation_config.no_repeat_ngram_size = 2
    assert not fits(asks)
