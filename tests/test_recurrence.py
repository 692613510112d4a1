"""Transformer-XL in the same loop: as any language model without a memory, and with one over texts that are read piece by piece, in order."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from omnitune import Artifact, Mistake, Sampling, fit, generate, load
from omnitune.recipe import Recipe, read

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
TASKS = {"language": {"kind": "generate", "of": "text"}}
XL = {"kind": "transformer_xl", "depth": 2, "width": 32, "heads": 2, "segment": 16, "memory": 16, "eval_memory": 64, "vocabulary": 300}


def texts(n: int = 160) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    return [{"text": f"item {i} is {' and '.join(rng.choice(WORDS, 1 + i % 4))}.", "mood": "ab"[i % 2]} for i in range(n)]


def recipe(rows: list[dict[str, Any]], text: dict[str, Any], tasks: Any = TASKS, **train: Any) -> Recipe:
    settings = {"epochs": 6, "batch": 8, "lr": 3e-3} | train
    return read({"data": {"from": rows}, "inputs": {"text": {"kind": "text", "backbone": XL} | text}, "tasks": tasks, "train": settings})


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Trained on texts of a segment at most, a row each, so without a memory."""
    return fit(recipe(texts(), {}), tmp_path_factory.mktemp("xl") / "short")


def speaking(made: Artifact) -> tuple[Any, Any]:
    folder = made.path / "inputs" / "text_"
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


@torch.no_grad()
def greedy(made: Artifact, prompt: str, tokens: int) -> str:
    """By the whole text anew for each token, with the model that transformers loads."""
    model, tokenizer = speaking(made)
    ids = tokenizer(prompt).input_ids[:-1]
    start = len(ids)
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    written: str = tokenizer.decode(ids[start:], skip_special_tokens=True)
    return written


def test_without_pieces_it_learns_as_any_language_model(short: Artifact) -> None:
    metrics = short.report.tasks["language"]["metrics"]["models"]
    assert set(metrics) == {"constant", "before", "after"}, "without a memory there is nothing to be without"
    assert metrics["after"]["bits_per_byte"]["value"] < metrics["constant"]["bits_per_byte"]["value"] < metrics["before"]["bits_per_byte"]["value"]


def test_transformers_loads_it_and_measures_the_same(short: Artifact) -> None:
    model, tokenizer = speaking(short)
    assert (model.config.context, model.config.memory, model.config.eval_memory) == (16, 16, 64)
    rows = read_test_rows(short)
    nats = bytes_ = 0.0
    for text in rows:
        ids = tokenizer(text, return_tensors="pt").input_ids
        cut = ids.shape[1] > 16
        ids = ids[:, :15] if cut else ids
        with torch.no_grad():
            nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
        bytes_ += len((tokenizer.decode(ids[0], skip_special_tokens=True) if cut else text).encode())
    assert short.report.value("language", "bits_per_byte") == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)


def read_test_rows(made: Artifact) -> list[str]:
    from omnitune.data.prepared import prepare

    rows = texts()
    prepared = prepare(made.recipe.replace(data=made.recipe.data.replace(source=rows)))
    return [rows[row]["text"] for row in prepared.parts["test"].tolist()]


@pytest.mark.parametrize("prompt", ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3])
def test_it_writes_through_its_memory_what_the_whole_text_gives(short: Artifact, prompt: str) -> None:
    assert generate(short, prompt, Sampling(max_new_tokens=12, temperature=0)) == [greedy(short, prompt, 12)]


def test_it_writes_on_beyond_its_segment_and_memory(short: Artifact) -> None:
    long = generate(short, "item", Sampling(max_new_tokens=100, temperature=1, seed=3, repetition_penalty=1.01))
    assert len(long) == 1
    together = generate(short, ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3], Sampling(max_new_tokens=6, temperature=0))
    assert together == [
        generate(short, prompt, Sampling(max_new_tokens=6, temperature=0))[0]
        for prompt in ["item 7 is", "", "item 7 is soft and tight and lovely. " * 3]
    ]


def test_the_other_ways_to_choose_a_token(short: Artifact) -> None:
    drawn = [generate(short, "item", Sampling(max_new_tokens=12, top_k=20, top_p=0.9, min_p=0.01, seed=seed))[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    said: list[str] = []
    assert generate(short, "item", Sampling(max_new_tokens=12, seed=1, top_k=20, top_p=0.9, min_p=0.01), said.append) == [drawn[0]] == ["".join(said)]
    beams = generate(short, "item 7 is", Sampling(max_new_tokens=8, temperature=0, num_beams=3, stop_strings=("and",), repetition_penalty=1.1))
    assert len(beams) == 1 and beams[0].count("and") <= 1


@pytest.mark.parametrize("tuning", [{"kind": "lora", "rank": 2}, {"kind": "probe"}, {"kind": "freeze", "blocks": 1}])
def test_a_run_is_the_backbone_of_the_next(short: Artifact, tuning: Any, tmp_path: Path) -> None:
    tasks = {"mood": {"kind": "classify", "target": "mood"}} | ({} if tuning["kind"] == "probe" else TASKS)
    values = recipe(texts(), {"backbone": str(short.path)}, tasks, epochs=1).to_dict() | {"data": {"from": texts()}, "tuning": tuning}
    made = fit(read(values), tmp_path / "next")
    if "language" in tasks:
        before = made.report.tasks["language"]["metrics"]["models"]["before"]["bits_per_byte"]["value"]
        assert before == pytest.approx(short.report.value("language", "bits_per_byte"), rel=1e-4)
        assert len(generate(load(tmp_path / "next"), "item", Sampling(max_new_tokens=4))) == 1
    assert set(made.predict([{"text": "item 9 is red."}])[0]) == {"mood"}


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"heads": 5}, "5 heads do not divide the width 32"),
        ({"width": 33, "heads": 3}, "width 33 is odd"),
        ({"segment": 3}, "segment"),
        ({"memory": -1}, "memory"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: Any, wrong: str) -> None:
    from omnitune.recipe import check

    with pytest.raises(Mistake, match=wrong):
        check(recipe(texts(), {"backbone": XL | settings}))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(t, other[name]) for name, t in one.items())


def test_without_any_memory_it_writes_as_far_as_its_segment(tmp_path: Path) -> None:
    backbone = {name: value for name, value in XL.items() if name != "eval_memory"} | {"memory": 0}
    made = fit(recipe(texts(), {"backbone": backbone}, epochs=1), tmp_path / "run")
    assert generate(made, "item 7", Sampling(max_new_tokens=99, temperature=0)) == [
        greedy(made, "item 7", 16 - len(speaking(made)[1]("item 7").input_ids) + 1)
    ]
    with pytest.raises(Mistake, match="leave no room in a context of 16"):
        generate(made, "word " * 60)
