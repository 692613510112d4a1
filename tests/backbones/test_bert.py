"""A BERT from nothing in the same loop: pre-trained on texts without labels, measured, saved, read by transformers, gone on with."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM, AutoTokenizer

import checkpoints
from omnitune import Artifact, Mistake, compare, fit, load
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model
from omnitune.training.optim import groups

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
TASKS = {"words": {"kind": "masked_text", "of": "text", "whole_words": True}, "order": {"kind": "next_sentence", "of": "text"}}
BERT = {"kind": "bert", "depth": 2, "width": 32, "heads": 2, "context": 32, "vocabulary": 300}


def texts(n: int = 200) -> list[dict[str, Any]]:
    """Sentences of a grammar that can be learned, each of its own; some missing, some long."""
    rng = np.random.default_rng(0)
    rows = [{"text": f"Item {i} is {' and '.join(rng.choice(WORDS, 2 + i % 4))}. We sent it back.", "mood": "ab"[i % 2]} for i in range(n)]
    rows[3]["text"] = None
    rows[5]["text"] = "very " * 60 + "long"
    return rows


def recipe(tasks: Any = TASKS, backbone: Any = BERT, more: Any = None, **train: Any) -> Recipe:
    values = {"data": {"from": texts()}, "inputs": {"text": {"kind": "text", "backbone": backbone, "max_tokens": 32}}, "tasks": tasks}
    return read(values | {"train": {"epochs": 4, "batch": 8, "lr": 3e-3} | train} | (more or {}))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(epochs=8), tmp_path_factory.mktemp("language") / "bert")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    words = trained.report.tasks["words"]["metrics"]["models"]
    assert set(words) == {"constant", "before", "after"}
    assert words["after"]["perplexity"]["value"] < words["constant"]["perplexity"]["value"] < words["before"]["perplexity"]["value"]
    order = trained.report.tasks["order"]
    assert order["form"] == "classes" and set(order["metrics"]["models"]) == {"constant", "before", "after"}
    assert order["metrics"]["models"]["constant"]["accuracy"]["value"] == pytest.approx(0.5, abs=0.25)
    assert [row["name"] for row in order["details"]["classes"]] == ["next", "other"]
    assert order["details"]["calibration"]["after"] is None, "no temperature was fitted, so none is reported"
    assert 0 < order["metrics"]["rows"] <= len(trained.report.tasks["words"]["metrics"]) + 40
    assert "order" not in trained.report.data["classes"]


def test_transformers_reads_what_is_saved_and_says_the_same_words(trained: Artifact) -> None:
    folder = trained.path / "inputs" / "text_"
    theirs, tokenizer = AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    assert type(theirs).__name__ == "BertForMaskedLM" and (tokenizer.mask_token, tokenizer.model_max_length) == ("[MASK]", 32)
    prepared = prepare(trained.recipe.replace(data=trained.recipe.data.replace(source=texts())))
    nats = asked = 0.0
    for question in prepared.batches("test", 8).epoch():
        batch, target = question.asked["words"]
        inputs = batch.inputs["text"]
        with torch.no_grad():
            logits = theirs(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        there = target["labels"] >= 0
        nats += float(cross_entropy(logits[there], target["labels"][there], reduction="sum"))
        asked += float(there.sum())
    assert trained.report.value("words", "perplexity") == pytest.approx(math.exp(nats / asked), rel=1e-4)


def test_it_is_loaded_as_it_was(trained: Artifact) -> None:
    again = load(trained.path)
    assert all(torch.equal(t, trained.model.state_dict()[name]) for name, t in again.model.state_dict().items())
    with pytest.raises(Mistake, match="no task of this model answers rows"):
        again.predict({"text": "a"})


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    one, two = (fit(recipe(epochs=1), tmp_path / name) for name in ("one", "two"))
    assert all(torch.equal(t, two.model.state_dict()[name]) for name, t in one.model.state_dict().items())
    assert compare(one.path, two.path)["tasks"].keys() == {"words", "order"}


def test_flat_rows_learn_what_padded_rows_learn() -> None:
    prepared = prepare(recipe())
    found = []
    for flat in (True, False):
        torch.manual_seed(0)
        model = Model(prepared.recipe.replace(train=prepared.recipe.train.replace(flat=flat)), prepared.schema)
        losses = model.losses(prepared.batches("train", 16).question(prepared.parts["train"][:16]))
        sum(loss.mean for loss in losses.values()).backward()  # type: ignore[union-attr]
        found.append(({name: loss.mean.detach() for name, loss in losses.items()}, {n: p.grad for n, p in model.named_parameters()}))
    (one, grads), (other, same) = found
    assert set(one) == {"words", "order"}
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    without = {name for name, gradient in grads.items() if gradient is None}
    assert without == {name for name in grads if name.startswith("fusion.")} == {name for name, gradient in same.items() if gradient is None}
    for name in grads.keys() - without:
        gradient = grads[name]
        torch.testing.assert_close(gradient, same[name], rtol=1e-3, atol=1e-6)


def test_going_on_starts_from_all_that_was_learned(trained: Artifact, tmp_path: Path) -> None:
    asked = recipe({"words": TASKS["words"]}, str(trained.path), epochs=1, lr=1e-4)
    made = fit(asked, tmp_path / "next")
    before = made.report.tasks["words"]["metrics"]["models"]["before"]["perplexity"]["value"]
    assert before == pytest.approx(trained.report.value("words", "perplexity"), rel=1e-4)
    model = Model(asked.replace(train=made.recipe.train), made.schema)
    rates = {id(p): group["lr"] for group in groups(model, made.recipe.train) for p in group["params"]}
    assert {rates[id(p)] for p in model.heads.parameters()} == {1e-4}, "what says words was trained too, and learns no faster than the rest"


@pytest.mark.parametrize("tuning", ["full", {"kind": "lora", "rank": 2}, "probe"])
def test_a_run_is_the_backbone_of_the_next(trained: Artifact, tuning: Any, tmp_path: Path) -> None:
    tasks = {"mood": {"kind": "classify", "target": "mood"}}
    made = fit(recipe(tasks, str(trained.path), {"tuning": tuning}, epochs=1), tmp_path / "next")
    (answer,) = load(tmp_path / "next").predict([{"text": "item 9 is red."}])
    assert set(answer) == {"mood"} and made.report.cost["steps"] > 0


def test_a_real_checkpoint_goes_on_by_the_same_recipe(tmp_path: Path) -> None:
    tasks = {"words": TASKS["words"], "mood": {"kind": "classify", "target": "mood"}}
    made = fit(recipe(tasks, str(checkpoints.tiny_roberta()), {"tuning": {"kind": "lora", "rank": 2}}, epochs=1), tmp_path / "run")
    theirs = AutoModelForMaskedLM.from_pretrained(checkpoints.tiny_roberta())
    assert not torch.equal(made.model.words("text").layers[0].weight, theirs.lm_head.dense.weight)  # type: ignore[union-attr]
    assert set(load(tmp_path / "run").predict({"text": "soft"})) == {"mood"}
    assert type(AutoModelForMaskedLM.from_pretrained(tmp_path / "run" / "inputs" / "text_")).__name__ == "RobertaForMaskedLM"


@pytest.mark.parametrize(
    ("change", "words"),
    [({"heads": 3}, "3 heads do not divide the width 32"), ({"depth": 0}, "depth"), ({"vocabulary": 3}, "vocabulary")],
)
def test_wrong_sizes_are_refused_before_anything_is_loaded(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=words):
        fit(recipe(backbone=BERT | change), tmp_path / "run")
