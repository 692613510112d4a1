"""Transformer-XL with adaptive input and softmax in a recipe: it learns, is measured, writes, resumes, and is the backbone of what comes next."""

import math
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from omnitune import Artifact, Mistake, Sampling, fit, generate, load
from omnitune.data.prepared import prepare
from omnitune.nn.adaptive_head import NAME, AdaptiveHead
from omnitune.recipe import Recipe, check, read
from omnitune.training.model import Model
from omnitune.training.step import Step

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
TASKS = {"language": {"kind": "generate", "of": "text"}}
XL = {
    "kind": "transformer_xl", "depth": 2, "width": 32, "heads": 2, "segment": 16, "memory": 16, "vocabulary": 400, "cutoffs": [20, 50], "divisor": 2,
}  # fmt: skip


def documents(n: int = 60) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    return [
        {
            "text": " ".join(f"item {i} is {' and '.join(rng.choice(WORDS, 2))} for {row}." for i in range(1 + 3 * (row % 5))),
            "mood": "ab"[row % 2],
        }
        for row in range(n)
    ]


def recipe(backbone: Any = XL, tasks: Any = TASKS, tuning: Any = "full", **train: Any) -> Recipe:
    text = {"kind": "text", "backbone": backbone, "pieces": True}
    settings = {"epochs": 8, "batch": 8, "lr": 3e-3} | train
    return read({"data": {"from": documents()}, "inputs": {"text": text}, "tasks": tasks, "tuning": tuning, "train": settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("xl") / "run")


def speaking(made: Artifact) -> tuple[Any, Any]:
    folder = made.path / "inputs" / "text_"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def bits(made: Artifact, model: str = "after") -> float:
    found: float = made.report.tasks["language"]["metrics"]["models"][model]["bits_per_byte"]["value"]
    return found


def test_it_learns_with_every_weight(run: Artifact) -> None:
    assert bits(run) < bits(run, "no memory") < bits(run, "constant") < bits(run, "before")
    encoder = run.model.backbones["text"]
    assert isinstance(encoder.lm_head, AdaptiveHead)
    assert [table.weight.shape[1] for table in encoder.model.embeddings.words.tables] == [32, 16, 8]
    prepared = prepare(run.recipe.replace(data=run.recipe.data.replace(source=documents())))
    torch.manual_seed(run.recipe.train.seed)
    fresh = Model(prepared.recipe, prepared.schema).backbones["text"]
    new = dict(fresh.named_parameters())
    still = [name for name, weight in encoder.named_parameters() if torch.equal(weight, new[name])]
    assert new.keys() == dict(encoder.named_parameters()).keys() and not still


def test_tokens_are_numbered_by_frequency(run: Artifact) -> None:
    _, tokenizer = speaking(run)
    prepared = prepare(run.recipe.replace(data=run.recipe.data.replace(source=documents())))
    texts = [documents()[row]["text"] for row in prepared.sources()["train"].tolist()]
    times = np.bincount([i for text in texts for i in tokenizer(text).input_ids[1:]], minlength=len(tokenizer))
    assert (np.diff(times) <= 0).all() and times[50] > 0
    assert tokenizer.eos_token_id == tokenizer(".").input_ids[0] > 0


@torch.no_grad()
def test_transformers_measures_the_same_over_all_words(run: Artifact) -> None:
    """By its log-probabilities of the whole vocabulary, which sum to one."""
    model, tokenizer = speaking(run)
    prepared = prepare(run.recipe.replace(data=run.recipe.data.replace(source=documents())))
    nats = bytes_ = right = tokens = 0.0
    for row in prepared.sources()["test"].tolist():
        text = documents()[row]["text"]
        ids, mems = tokenizer(text, return_tensors="pt").input_ids, None
        for here, behind in zip(ids[:, :-1].split(16, 1), ids[:, 1:].split(16, 1), strict=True):
            out = model(here, mems)
            assert out.logits.shape[-1] == len(tokenizer)
            torch.testing.assert_close(out.logits.exp().sum(-1), torch.ones(here.shape), atol=1e-4, rtol=0)
            nats -= float(out.logits.gather(-1, behind[..., None]).sum())
            right += int((out.logits.argmax(-1) == behind).sum())
            tokens, mems = tokens + behind.numel(), out.mems
        bytes_ += len(text.encode())
    assert bits(run) == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)
    assert run.report.value("language", "accuracy") == pytest.approx(right / tokens)


@pytest.mark.parametrize("prompt", ["item 7 is", "", "item 1 is red and soft for 9. " * 4])
def test_it_writes_what_the_likeliest_words_are(run: Artifact, prompt: str) -> None:
    model, tokenizer = speaking(run)
    ids, mems, written = tokenizer(prompt, return_tensors="pt").input_ids[:, :-1], None, list[int]()
    while len(written) < 12 and tokenizer.eos_token_id not in written:
        for segment in ids.split(16, 1):
            with torch.no_grad():
                out = model(segment, mems)
            mems = out.mems
        ids = out.logits[:, -1:].argmax(-1)
        written.append(int(ids))
    wanted = [tokenizer.decode(written, skip_special_tokens=True)]
    for made in (run, load(run.path)):
        assert generate(made, prompt, Sampling(max_new_tokens=12, temperature=0)) == wanted
    assert len(generate(run, prompt, Sampling(max_new_tokens=12, top_p=0.9, seed=1))) == 1


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def stop(step: Step) -> None:
        if step.step == 11:
            signal.raise_signal(signal.SIGINT)

    whole = fit(recipe(epochs=2), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(recipe(epochs=2), tmp_path / "cut", watch=stop)
    after = fit(recipe(epochs=2), tmp_path / "cut", resume=True)
    states = [made.model.state_dict() for made in (whole, after)]
    assert states[0].keys() == states[1].keys() and all(torch.equal(t, states[1][name]) for name, t in states[0].items())
    assert any(name.endswith(f"lm_head.{NAME}") for name in states[0])
    assert bits(whole) == bits(after)


@pytest.mark.parametrize("tuning", ["full", "probe", "bias", {"kind": "lora", "rank": 2}, {"kind": "freeze", "blocks": 1}])
def test_a_run_is_the_backbone_of_the_next(run: Artifact, tuning: Any, tmp_path: Path) -> None:
    tasks = {"mood": {"kind": "classify", "target": "mood"}} | ({} if tuning == "probe" else TASKS)
    made = fit(recipe(str(run.path), tasks, tuning, epochs=1), tmp_path / "next")
    saved = load_file(tmp_path / "next" / "inputs" / "text_" / "model.safetensors")
    assert (NAME in saved) == ("language" in tasks), "what no task asks for is not there"
    if "language" in tasks:
        assert bits(made, "before") == pytest.approx(bits(run), rel=1e-4)
        again, sampling = load(tmp_path / "next"), Sampling(max_new_tokens=6, temperature=0)
        assert generate(again, "item 7", sampling) == generate(made, "item 7", sampling)
    assert set(made.predict([{"text": "item 9 is red."}])[0]) == {"mood"}


def test_what_was_tuned_without_its_head_says_no_words(run: Artifact, tmp_path: Path) -> None:
    fit(recipe(str(run.path), {"mood": {"kind": "classify", "target": "mood"}}, "probe", epochs=1), tmp_path / "next")
    with pytest.raises(Mistake, match=r"the checkpoint holds no softmax\.clusters\.weight, with which it says words"):
        fit(recipe(str(tmp_path / "next"), epochs=1), tmp_path / "after")


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"cutoffs": [80, 40]}, r"cutoffs \[80, 40\] do not cut 400 words\. Choose rising numbers between 1 and 399"),
        ({"cutoffs": [40, 40]}, "do not cut 400 words"),
        ({"cutoffs": [0, 40]}, "do not cut 400 words"),
        ({"cutoffs": [40, 400]}, "do not cut 400 words"),
        ({"cutoffs": [10, 20, 30], "divisor": 4}, "divisor width 32 cannot be divided by 4 3 times"),
        ({"cutoffs": [10, 20, 30], "divisor": None}, "cannot be divided by 4 3 times"),
        ({"cutoffs": [40], "divisor": 0}, "divisor"),
        ({"cutoffs": []}, "divisor is of clusters, and there are none"),
        ({"cutoffs": ["many"]}, "cutoffs"),
    ],
)
def test_clusters_that_cannot_be_are_refused(settings: Any, wrong: str) -> None:
    with pytest.raises(Mistake, match=wrong):
        check(recipe(XL | settings))


def test_clusters_of_more_tokens_than_the_texts_hold_are_refused(tmp_path: Path) -> None:
    wrong = r"backbone\.cutoffs: \[40, 3900\] do not cut the \d+ tokens that were learned from the training rows"
    with pytest.raises(Mistake, match=wrong):
        fit(recipe(XL | {"vocabulary": 4000, "cutoffs": [40, 3900]}), tmp_path / "run")


def test_tokens_cannot_be_added_to_words_in_clusters(run: Artifact) -> None:
    from omnitune.nn import checkpoints

    base = checkpoints.read(run.path / "inputs" / "text_", "there")
    assert checkpoints.widen(base, base.config.vocab_size) == 0
    with pytest.raises(Mistake, match="numbered by frequency"):
        checkpoints.widen(base, base.config.vocab_size + 1)
    assert isinstance(base.embeddings.words.projections[1], nn.Linear)
