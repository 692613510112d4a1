"""The second part of a text or that of another: well-formed pairs, which tell nothing by their lengths, endings or places."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

import checkpoints
from omnitune.errors import Mistake
from omnitune.modalities.text import Text
from omnitune.nn.language import NextSentenceHead
from omnitune.nn.tokens import Batch, Tokens, View
from omnitune.tasks.next_sentence import LEAST, NextSentence

SENTENCE = ["the fabric feels cheap.", "I love it!", "sent it back the next day.", "too small", "it shrank after one wash.", "why?"]
TASK = NextSentence("text")


def texts(n: int, seed: int = 0) -> list[str]:
    """One to six sentences."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(SENTENCE, rng.integers(1, 7))) for _ in range(n)]


def batch(values: list[str | None], name: str = "bert", max_tokens: int = 96) -> tuple[Batch, dict[str, Any]]:
    made = Text(str(checkpoints.TEXT[name]()), max_tokens=max_tokens)
    facts = {"max_tokens": max_tokens}
    return Batch({"text": made.encode(values, facts)}, np.arange(len(values))), TASK.learn_from(made.language(facts))


def parts(inputs: dict[str, torch.Tensor], i: int, separator: int) -> tuple[list[int], list[int]]:
    """Both texts of a pair without what stands around them."""
    ids = inputs["input_ids"][i][inputs["attention_mask"][i].bool()].tolist()
    first = ids.index(separator)
    rest = ids[first + 1 : -1]
    return ids[1:first], rest[1:] if rest[:1] == [separator] else rest


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert", "distilbert"])
def test_pairs_stand_as_the_tokenizer_puts_them(name: str) -> None:
    given, facts = batch(texts(64), name)
    seen, target = TASK.prepare(given, {}, facts, np.random.default_rng(0))
    inputs, y = seen.inputs["text"], target["y"].numpy()
    tokenizer = Text(str(checkpoints.TEXT[name]())).backbone.tokenizer()
    assert ("token_type_ids" in inputs) == (name == "bert")
    own = [ids[words >= 0].tolist() for ids, words in zip(given.inputs["text"]["input_ids"], given.inputs["text"]["words"], strict=True)]
    assert set(y.tolist()) == {-1, 0, 1} and (y >= 0).mean() > 0.6 and 0.3 < y[y >= 0].mean() < 0.7
    assert torch.equal(target["weight"], (target["y"] >= 0).float())
    for i in range(64):
        ids = inputs["input_ids"][i][inputs["attention_mask"][i].bool()].tolist()
        assert len(ids) <= int(given.inputs["text"]["attention_mask"][i].sum()), "never longer than the text was"
        if y[i] < 0:
            assert ids == given.inputs["text"]["input_ids"][i][: len(ids)].tolist()
            continue
        first, second = parts(inputs, i, tokenizer.sep_token_id)
        assert ids == facts["pair"]["start"] + first + facts["pair"]["between"] + second + facts["pair"]["end"]
        assert own[i][: len(first)] == first and second
        follows = own[i][len(first) : len(first) + len(second)] == second
        assert follows or y[i] == 1
        if y[i] == 1:
            assert any(second == other[k : k + len(second)] for other in own for k in range(len(other)))
        if "token_type_ids" in inputs:
            types = inputs["token_type_ids"][i].tolist()
            assert types == [0] * (len(first) + 2) + [1] * (len(second) + 1) + [0] * (len(types) - len(ids))


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_pairs_are_read_flat_as_padded(name: str) -> None:
    given, facts = batch(texts(8), name)
    inputs = TASK.prepare(given, {}, facts, None)[0].inputs["text"]
    reader: Any = Text(str(checkpoints.TEXT[name]())).encoder({"max_tokens": 96})
    with torch.no_grad():
        flat = reader(inputs)
        reader.backbone.padding.flat = False
        padded = reader(inputs)
        plain = reader({key: tensor for key, tensor in inputs.items() if key != "token_type_ids"})
    assert name == "modernbert" or reader.backbone.padding.positions_from is not None
    torch.testing.assert_close(flat.x_BLD, padded.x_BLD * padded.mask_BL[..., None], rtol=1e-4, atol=1e-4)
    assert torch.equal(plain.x_BLD, padded.x_BLD) == (name != "bert"), "types are read where there are any"


def test_texts_are_parted_behind_sentences_else_between_words() -> None:
    values = ["too small for me. sent it back the next day", "one two three four five six seven eight", "x" * 20, "12 34 56 78 90 12 34 56"]
    given, facts = batch(values * 8)
    tokenizer = Text(str(checkpoints.tiny_bert())).backbone.tokenizer()
    inputs = TASK.prepare(given, {}, facts, np.random.default_rng(0))[0].inputs["text"]
    for i in range(len(values * 8)):
        first = tokenizer.convert_ids_to_tokens(parts(inputs, i, tokenizer.sep_token_id)[0])
        after = tokenizer.convert_ids_to_tokens(given.inputs["text"]["input_ids"][i].tolist())[len(first) + 1]
        assert i % 4 == 2 or not after.startswith("##")
        assert i % 4 != 0 or first[-1] == "."


def test_lengths_endings_and_places_tell_nothing() -> None:
    rng, told, said = np.random.default_rng(0), [], []
    for seed in range(60):
        given, facts = batch(texts(32, seed))
        seen, target = TASK.prepare(given, {}, facts, rng)
        for i in np.flatnonzero(target["y"].numpy() >= 0):
            first, second = parts(seen.inputs["text"], i, 3)
            ends = [part[-1] in facts["stops"] for part in (first, second)]
            told.append([len(first), len(second), len(first) + len(second), len(first) - len(second), *ends, int(i)])
            said.append(int(target["y"][i]))
    assert len(said) > 1200 and np.mean(said) == pytest.approx(0.5, abs=0.04)
    forest = RandomForestClassifier(100, min_samples_leaf=10, random_state=0)
    assert cross_val_score(forest, np.array(told), said, cv=5, scoring="roc_auc").mean() == pytest.approx(0.5, abs=0.045)


def test_the_same_question_each_time_on_rows_that_are_measured() -> None:
    given, facts = batch(texts(16))
    one, again = (TASK.prepare(given, {}, facts, None) for _ in range(2))
    assert torch.equal(one[1]["y"], again[1]["y"]) and torch.equal(one[0].inputs["text"]["input_ids"], again[0].inputs["text"]["input_ids"])
    other, third = (TASK.prepare(given, {}, facts, np.random.default_rng(seed)) for seed in (1, 2))
    assert not torch.equal(other[0].inputs["text"]["input_ids"], third[0].inputs["text"]["input_ids"])


@pytest.mark.parametrize("values", [["too small"], texts(1, 3), ["", None, "a b", SENTENCE[0] * 9], [None] * 3])
def test_without_another_long_text_nothing_is_asked(values: list[str | None]) -> None:
    given, facts = batch(values)
    for rng in (None, np.random.default_rng(0)):
        seen, target = TASK.prepare(given, {}, facts, rng)
        assert (target["y"] == -1).all() and not target["weight"].any()
        mask = given.inputs["text"]["attention_mask"].bool()
        assert torch.equal(seen.inputs["text"]["input_ids"][mask], given.inputs["text"]["input_ids"][mask])
        head = NextSentenceHead("text", 8)
        x = torch.randn(len(values), 5, 8)
        loss = head.loss(View({"text": Tokens(x, torch.ones(len(values), 5, dtype=torch.bool))}, Tokens(x, x[..., 0] > -99)), target)
        assert loss.sum == 0 and loss.count == 0
    assert LEAST == 8


def test_the_head_learns_and_says_probabilities() -> None:
    torch.manual_seed(0)
    head, x = NextSentenceHead("text", 8), torch.randn(16, 3, 8)
    tokens, y = Tokens(x, torch.ones(16, 3, dtype=torch.bool)), (x[:, 0, 0] > 0).long()
    view, target = View({"text": tokens}, tokens), {"y": y, "weight": torch.ones(16)}
    p, loss = head.measure(view, target)
    torch.testing.assert_close(p.sum(1), torch.ones(16))
    assert float(loss.mean.detach()) == pytest.approx(np.log(2), abs=0.05)
    assert [answer["value"] for answer in TASK.decode(p.detach().numpy()[:2], {"classes": ["next", "other"]})] == [
        ["next", "other"][int(row[1] > row[0])] for row in p[:2]
    ]
    learner = torch.optim.Adam(head.parameters(), 0.05)
    for _ in range(100):
        learner.zero_grad()
        loss = head.loss(view, target)
        loss.mean.backward()
        learner.step()
    assert float(loss.mean.detach()) < 0.01


@pytest.mark.parametrize(("change", "words"), [({"causal": True}, "reads from left to right"), ({"types": 1}, "puts nothing between two texts")])
def test_what_cannot_be_asked_is_said(change: dict[str, Any], words: str) -> None:
    facts = {"causal": False, "types": 2, "single": 0, "padding": 0, "stops": [], "pair": {"start": [], "between": [], "end": []}}
    assert TASK.learn_from(facts)["types"]
    with pytest.raises(Mistake, match=words):
        TASK.learn_from(facts | change)
