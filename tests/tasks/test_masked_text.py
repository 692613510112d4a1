"""Hidden words: how many, which, whole ones, spans; other ones in every epoch, or always the same."""

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

import checkpoints
from omnitune.backbones._tokenizer import fast_tokenizer, learn_tokenizer
from omnitune.errors import Mistake
from omnitune.modalities._words import Words
from omnitune.modalities.text import Text
from omnitune.nn.tokens import Batch
from omnitune.tasks.masked_text import MaskedText

LONG = [f"{checkpoints.SENTENCES[i % 6]} {checkpoints.SENTENCES[(i + 2) % 6]} {i}" for i in range(40)]
MARKED = {"bpe": "Ġ", "wordpiece": "##", "unigram": "▁"}


@cache
def tokenizer(kind: Any) -> PreTrainedTokenizerFast:
    """Learned, with a mask token whatever its kind."""
    made = fast_tokenizer(learn_tokenizer(LONG, kind, 330 if kind != "wordpiece" else 220), 96)
    if made.mask_token is None:
        made.add_special_tokens({"mask_token": "<mask>"})
    return made


def batch(kind: str, texts: list[str] = LONG) -> tuple[Batch, dict[str, Any]]:
    """A batch as a text input encodes it, and what `masked_text` learned of it."""
    made = tokenizer(kind)
    words = Words(made, 96)
    ids, mask, places = (torch.tensor(values) for values in words.pad(words.read(texts)))
    inputs = {"input_ids": ids, "attention_mask": mask, "words": places, "present": torch.ones(len(texts), dtype=torch.bool)}
    facts = {"mask": made.mask_token_id, "special": sorted(made.all_special_ids), "words": len(made)}
    return Batch({"text": inputs}, np.arange(len(texts))), facts


def asked(task: MaskedText, given: Batch, facts: dict[str, Any], rng: Any = None) -> np.ndarray[Any, Any]:
    """Which tokens are asked for, (B, L) bool; what is asked and what is shown is right."""
    seen, target = task.prepare(given, {}, facts, rng)
    ids, hidden, labels = given.inputs["text"]["input_ids"], seen.inputs["text"]["input_ids"], target["labels"]
    chosen = labels >= 0
    assert torch.equal(labels[chosen], ids[chosen]) and torch.equal(hidden[~chosen], ids[~chosen])
    assert torch.equal(target["weight"], chosen.sum(1).float()) and torch.equal(target["y"][:, 0], chosen.sum(1))
    assert not (chosen & (given.inputs["text"]["words"] < 0)).any(), "added tokens and padding are not asked for"
    return chosen.numpy()


@pytest.mark.parametrize("span", [1.0, 3.0])
@pytest.mark.parametrize("kind", list(MARKED))
def test_whole_words_are_hidden_whole(kind: str, span: float) -> None:
    given, facts = batch(kind)
    chosen = asked(MaskedText("text", share=0.3, span=span, whole_words=True), given, facts)
    words, tokens, several = given.inputs["text"]["words"].numpy(), given.inputs["text"]["input_ids"].numpy(), 0
    for ids, places, hidden in zip(tokens, words, chosen, strict=True):
        names = np.array(tokenizer(kind).convert_ids_to_tokens(ids.tolist()))
        for word in set(places[hidden].tolist()):
            whole = places == word
            assert hidden[whole].all()
            several += whole.sum() > 1
            begins = [name.startswith(MARKED[kind]) for name in names[whole]]
            assert not any(begins[1:]) if kind != "wordpiece" else not begins[0] and all(begins[1:])
    assert several > 20
    real = words >= 0
    assert 0.28 < (chosen & real).sum() / real.sum() < 0.38
    assert ((chosen.sum(1) >= np.round(0.3 * real.sum(1))) & (chosen.sum(1) > 0)).all()


def test_single_tokens_part_words() -> None:
    given, facts = batch("wordpiece")
    chosen, words = asked(MaskedText("text", share=0.3), given, facts), given.inputs["text"]["words"].numpy()
    assert (chosen.sum(1) == np.round(0.3 * (words >= 0).sum(1))).all()
    assert any(0 < hidden[places == word].mean() < 1 for hidden, places in zip(chosen, words, strict=True) for word in set(places[hidden].tolist()))


def test_spans_are_longer() -> None:
    given, facts = batch("bpe")

    def runs(span: float) -> float:
        chosen = asked(MaskedText("text", share=0.3, span=span), given, facts)
        return float(chosen.sum() / (np.diff(chosen.astype(int), prepend=0, axis=1) == 1).sum())

    assert runs(1.0) < 2 < runs(4.0)


def test_most_become_the_mask_some_another_and_some_stay() -> None:
    given, facts = batch("bpe", LONG * 20)
    seen, target = MaskedText("text", share=0.5).prepare(given, {}, facts, None)
    chosen = target["labels"] >= 0
    shown, right = seen.inputs["text"]["input_ids"][chosen], target["labels"][chosen]
    shares = [float(found.float().mean()) for found in (shown == facts["mask"], shown == right)]
    assert shares == [pytest.approx(0.8, abs=0.02), pytest.approx(0.1, abs=0.02)]


@pytest.mark.parametrize("whole_words", [False, True])
def test_dynamic_and_static(whole_words: bool) -> None:
    given, facts = batch("wordpiece")
    dynamic, static = (MaskedText("text", whole_words=whole_words, dynamic=dynamic) for dynamic in (True, False))
    rng = np.random.default_rng
    assert (asked(dynamic, given, facts, rng(0)) != asked(dynamic, given, facts, rng(1))).any()
    assert (asked(static, given, facts, rng(0)) == asked(static, given, facts, rng(1))).all()
    assert (asked(static, given, facts, rng(0)) == asked(dynamic, given, facts)).all(), "both are measured by the same questions"
    part = Batch({"text": {name: tensor[5:9] for name, tensor in given.inputs["text"].items()}}, np.arange(5, 9))
    assert (asked(static, part, facts, rng(2)) == asked(static, given, facts)[5:9]).all(), "whatever stands beside it"


@pytest.mark.parametrize("settings", [{}, {"whole_words": True}, {"span": 3.0}, {"whole_words": True, "span": 3.0}])
@pytest.mark.parametrize("kind", list(MARKED))
def test_short_empty_and_missing_texts(kind: str, settings: dict[str, Any]) -> None:
    given, facts = batch(kind, ["", "soft", "   ", "a soft jumper for cold evenings"])
    given.inputs["text"]["present"][3] = False
    chosen = asked(MaskedText("text", **settings), given, facts)
    assert chosen[1].any() and not chosen[[0, 3]].any()


def test_any_text_input_tells_the_words_of_its_tokens() -> None:
    for name in ("bert", "roberta", "modernbert"):
        made = Text(str(checkpoints.TEXT[name]())).encode(["lovely colour", "x"], {"max_tokens": 96})
        words, mask = made["words"], made["attention_mask"].bool()
        assert words.shape == made["input_ids"].shape and (words[~mask] == -1).all()
        assert sorted(set(words[0].tolist())) == [-1, 0, 1] and words[0, 0] == -1
    dropped = Text(str(checkpoints.tiny_gpt2()), token_dropout=0.5).encode(["lovely colour " * 9], {"max_tokens": 96}, np.random.default_rng(0))
    assert dropped["words"].shape == dropped["input_ids"].shape


def test_words_that_are_said_by_a_table_of_their_own_are_not_asked_for() -> None:
    facts = {"mask": 4, "special": [4], "words": 9, "causal": False, "tied": False}
    with pytest.raises(Mistake, match="says words by a table of its own"):
        MaskedText("text").learn_from(facts)
    facts |= {"tied": True, "parted": False, "pieces": False}
    assert MaskedText("text").learn_from(facts) == {"mask": 4, "special": [4], "words": 9}
    with pytest.raises(Mistake, match="does not part texts into words"):
        MaskedText("text", whole_words=True).learn_from(facts)
    with pytest.raises(Mistake, match="not where words begin"):
        MaskedText("text", whole_words=True).learn_from(facts | {"parted": True, "pieces": True})


def test_tokenizers_that_part_texts_into_words_are_told_from_those_that_do_not(tmp_path: Path) -> None:
    shutil.copytree(checkpoints.tiny_roberta(), tmp_path / "whole")
    path = tmp_path / "whole" / "tokenizer.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"pre_tokenizer": None}))
    parted = [Text(str(folder)).language({"max_tokens": 96})["parted"] for folder in (checkpoints.tiny_roberta(), tmp_path / "whole")]
    assert parted == [True, False]
