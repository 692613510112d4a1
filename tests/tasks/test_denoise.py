"""Holes in texts and what is to be written: sentinels of T5, masks of BART; the same ones when it is measured, others in training."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoTokenizer

import checkpoints
from omnitune.errors import Mistake
from omnitune.modalities.text import Text
from omnitune.nn.tokens import Batch
from omnitune.tasks.denoise import Denoise

LONG = [" ".join([checkpoints.SENTENCES[i % 5], checkpoints.SENTENCES[(i + 2) % 5]] * (1 + i % 3)) + f" {i}" for i in range(60)]
FOLDERS = {"t5": checkpoints.tiny_sentinel_t5, "bart": checkpoints.tiny_bart}
every = pytest.mark.parametrize("name", list(FOLDERS))


def batch(name: str, values: list[str | None] = LONG, max_tokens: int = 96, **settings: Any) -> tuple[Batch, dict[str, Any], Denoise]:
    """A batch as a text input encodes it, and what `denoise` learned of it."""
    made, task, facts = Text(str(FOLDERS[name]()), max_tokens=max_tokens), Denoise("text", **settings), {"max_tokens": max_tokens}
    return Batch({"text": made.encode(values, facts)}, np.arange(len(values))), task.learn_from(made.language(facts)), task


def real(batch: Batch, i: int) -> list[int]:
    """The tokens of a row."""
    inputs = batch.inputs["text"]
    found: list[int] = inputs["input_ids"][i][inputs["attention_mask"][i].bool()].tolist()
    return found


def written(target: dict[str, torch.Tensor], i: int) -> list[int]:
    found: list[int] = target["labels"][i][target["labels"][i] >= 0].tolist()
    return found


def parts(ids: list[int], marks: list[int]) -> dict[int, list[int]]:
    """What stands behind each mark."""
    found: dict[int, list[int]] = {}
    for token in ids:
        if token in marks:
            found[token] = []
        else:
            found[[*found][-1]].append(token)
    return found


@pytest.mark.parametrize("settings", [{}, {"rate": 0.3, "span": 4.0}])
def test_spans_stand_behind_the_sentinels_that_stand_for_them(settings: dict[str, Any]) -> None:
    given, facts, task = batch("t5", **settings)
    seen, target = task.prepare(given, {}, facts, None)
    tokenizer = AutoTokenizer.from_pretrained(FOLDERS["t5"]())
    marks = tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(20)])
    assert facts["sentinels"] == marks and facts["start"] == 0
    for i in range(len(LONG)):
        text, shown, asked = real(given, i), real(seen, i), written(target, i)
        assert shown[-1] == asked[-1] == tokenizer.eos_token_id, "both end as texts do"
        hidden, ends = parts(asked[:-1], marks), [token for token in shown if token in marks]
        assert [*hidden] == marks[: len(hidden)] and ends == [*hidden][:-1] and not hidden[[*hidden][-1]]
        again = [token for one in shown for token in hidden.get(one, [one])]
        assert again == text, "nothing is lost"
        lost, own = sum(map(len, hidden.values())), len(text) - 1
        assert lost == max(1, round((task.rate or 0.15) * own)) and len(ends) == max(1, round(lost / task.span))
        assert target["weight"][i] == target["y"][i, 0] == len(asked) and target["y"][i, 1] == 0


def test_masks_stand_for_spans_and_the_whole_text_is_asked_for() -> None:
    given, facts, task = batch("bart")
    seen, target = task.prepare(given, {}, facts, None)
    assert facts["sentinels"] == [] and facts["mask"] == 4 and facts["start"] == 2
    several = False
    for i in range(len(LONG)):
        text, shown = real(given, i), real(seen, i)
        assert written(target, i) == (text[:-1] if given.inputs["text"]["cut"][i] else text) and (shown[0], shown[-1]) == (text[0], text[-1]) == (
            0,
            2,
        )
        assert len(shown) <= len(text)
        own = len(text) - 2
        assert len([token for token in shown if token != 4]) - 2 == own - round(0.3 * own)
        several |= any(a == b == 4 for a, b in itertools.pairwise(shown))
    assert several, "two spans may touch"


@every
def test_other_holes_in_training_and_the_same_ones_when_it_is_measured(name: str) -> None:
    given, facts, task = batch(name)
    ids = [task.prepare(given, {}, facts, luck)[0].inputs["text"]["input_ids"] for luck in (None, None, *map(np.random.default_rng, (0, 0, 1)))]
    assert torch.equal(ids[0], ids[1]) and torch.equal(ids[2], ids[3]), "chance comes from the generator alone"
    assert not torch.equal(ids[2], ids[4]) and not torch.equal(ids[0], ids[2])
    part = Batch({"text": {key: tensor[5:9] for key, tensor in given.inputs["text"].items()}}, np.arange(5, 9))
    alone, together = task.prepare(part, {}, facts, None)[0], task.prepare(given, {}, facts, None)[0]
    assert [real(alone, i) for i in range(4)] == [real(together, i) for i in range(5, 9)], "whatever stands beside it"
    rows = [real(task.prepare(Batch(given.inputs, np.arange(60) + n), {}, facts, None)[0], 0) for n in (0, 1)]
    assert rows[0] != rows[1], "each row has its own"


@every
def test_short_empty_missing_and_cut_texts(name: str) -> None:
    values = ["", "soft", None, "a", "the fabric feels cheap", LONG[2]]
    given, facts, task = batch(name, values, max_tokens=16)
    seen, target = task.prepare(given, {}, facts, None)
    weight, one = target["weight"].tolist(), [i for i in range(6) if int((given.inputs["text"]["words"][i] >= 0).sum()) < 2]
    assert {0, 2} <= set(one) and [i for i in range(6) if weight[i] == 0] == one
    for i in one:
        assert real(seen, i) == real(given, i) and not written(target, i), "read as it is, and not asked about"
    assert torch.equal(seen.inputs["text"]["present"], given.inputs["text"]["present"]) and bool(given.inputs["text"]["cut"][5])
    ends = [written(target, i)[-1] == real(given, i)[-1] for i in (4, 5)]
    assert ends == [True, name == "t5"], "the end of a text that was cut is not one to learn"


@every
def test_a_batch_of_nothing_but_short_texts(name: str) -> None:
    given, facts, task = batch(name, ["a", None, ""][1:])
    seen, target = task.prepare(given, {}, facts, None)
    assert target["labels"].shape == (2, 1) and not target["weight"].any() and seen.size == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decodes": False, "causal": True}, "has no decoder.*or ask generate of this one"),
        ({"decodes": False}, "has no decoder.*Choose a T5 or a BART, or ask masked_text"),
        ({"says": False}, "hold its encoder alone.*saved with its decoder"),
        ({"start": None}, "names no decoder_start_token_id.*T5 begins with its padding token"),
        ({"sentinels": []}, "has no <extra_id_0>, <extra_id_1>, ... and no mask token.*add_special_tokens.*resize: true"),
        ({"sentinels": [7, 8, 9, 10, 11]}, "a text of 96 tokens has up to 5 spans, and the tokenizer of .* only 5 sentinels.*Lower rate"),
    ],
)
def test_what_cannot_be_asked_is_said(change: dict[str, Any], words: str) -> None:
    facts = {"decodes": True, "causal": False, "says": True, "start": 0, "mask": None, "sentinels": [*range(6)], "limit": 96, "padding": 0}
    task = Denoise("text")
    assert task.learn_from(facts) == {"sentinels": [*range(6)], "mask": None, "start": 0, "padding": 0}
    assert task.learn_from(facts | {"mask": 4, "sentinels": []})["mask"] == 4
    with pytest.raises(Mistake, match=words):
        task.learn_from(facts | change)


def test_any_text_input_tells_whether_it_can_be_asked(tmp_path: Path) -> None:
    told = {name: Text(str(folder())).language({"max_tokens": 96}) for name, folder in checkpoints.TEXT.items()}
    assert {name for name, facts in told.items() if facts["decodes"]} == {"t5", "bart"}
    assert told["t5"]["start"] is None and told["bart"]["start"] == 2 and told["t5"]["says"] and not any(f["sentinels"] for f in told.values())
    config = AutoConfig.from_pretrained(checkpoints.tiny_t5())
    assert getattr(config, "decoder_start_token_id", None) is None
