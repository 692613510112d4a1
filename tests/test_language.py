"""Language models in the same loop: pre-trained from nothing on texts without labels, measured, saved, read by transformers, gone on with."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

import checkpoints
from omnitune import Artifact, Mistake, Sampling, compare, fit, generate, load
from omnitune.cli import app
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model

WORDS = ["soft", "tight", "lovely", "red", "blue", "warm", "cheap", "thin", "small", "large", "naïve", "größer"]
TASKS = {"language": {"kind": "generate", "of": "text"}}


def texts(n: int = 160) -> list[dict[str, Any]]:
    """Sentences of a grammar that can be learned, each of its own; some missing, some long."""
    rng = np.random.default_rng(0)
    rows = [{"text": f"item {i} is {' and '.join(rng.choice(WORDS, 1 + i % 4))}.", "mood": "ab"[i % 2]} for i in range(n)]
    rows[3]["text"] = None
    rows[5]["text"] = "very " * 60 + "long"
    return rows


def recipe(generation: str = "gpt2", tasks: Any = TASKS, **train: Any) -> Recipe:
    gpt = {"kind": "gpt", "generation": generation, "depth": 2, "width": 32, "heads": 2, "context": 32, "vocabulary": 300}
    settings = {"epochs": 4, "batch": 8, "lr": 3e-3} | train
    return read(
        {"data": {"from": texts()}, "inputs": {"text": {"kind": "text", "backbone": gpt, "max_tokens": 32}}, "tasks": tasks, "train": settings}
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("language") / "gpt")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    metrics = trained.report.tasks["language"]["metrics"]["models"]
    assert set(metrics) == {"constant", "before", "after"}
    assert metrics["after"]["bits_per_byte"]["value"] < metrics["constant"]["bits_per_byte"]["value"] < metrics["before"]["bits_per_byte"]["value"]
    assert metrics["after"]["accuracy"]["value"] > 0.3


@pytest.mark.parametrize("generation", ["gpt1", "gpt2", "gpt3", "modern"])
def test_transformers_reads_what_is_saved_and_measures_the_same(generation: str, tmp_path: Path) -> None:
    made = fit(recipe(generation, epochs=1), tmp_path / "run")
    folder = tmp_path / "run" / "inputs" / "text_"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    prepared = prepare(made.recipe.replace(data=made.recipe.data.replace(source=texts())))
    nats = bytes_ = 0.0
    for row in prepared.parts["test"].tolist():
        text = texts()[row]["text"]
        if text is not None:
            ids = tokenizer(text, return_tensors="pt", truncation=True, max_length=32).input_ids
            cut = len(tokenizer(text).input_ids) > 32
            ids = ids[:, :-1] if cut else ids
            with torch.no_grad():
                nats += float(model(ids, labels=ids).loss) * (ids.shape[1] - 1)
            bytes_ += len((tokenizer.decode(ids[0], skip_special_tokens=True) if cut else text).encode())
    assert made.report.value("language", "bits_per_byte") == pytest.approx(nats / bytes_ / math.log(2), rel=1e-4)


def test_the_same_seed_gives_the_same_bits(trained: Artifact, tmp_path: Path) -> None:
    again = fit(recipe(), tmp_path / "again")
    assert all(torch.equal(t, again.model.state_dict()[name]) for name, t in trained.model.state_dict().items())


def test_flat_rows_learn_what_padded_rows_learn() -> None:
    prepared = prepare(recipe())
    losses = []
    for flat in (True, False):
        torch.manual_seed(0)
        model = Model(prepared.recipe.replace(train=prepared.recipe.train.replace(flat=flat)), prepared.schema)
        question = prepared.batches("train", 16).question(prepared.parts["train"][:16])
        loss = model.losses(question)["language"]
        loss.mean.backward()
        losses.append((loss.mean.detach(), [p.grad for p in model.parameters() if p.grad is not None]))
    (one, grads), (other, same) = losses
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    assert len(grads) == len(same) > 10
    for a, b in zip(grads, same, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_nothing_is_asked_of_missing_texts_nor_of_the_end_of_cut_ones() -> None:
    prepared = prepare(recipe())
    batch, target = prepared.batches("train", 8).question(np.array([3, 5, 7])).asked["language"]
    assert target["weight"].tolist()[0] == 0 and (target["labels"][0] == -1).all()
    ids, labels = batch.inputs["text"]["input_ids"], target["labels"]
    assert ids[1, -1] == ids[1, 0] and labels[1, -2] == -1 and labels[1, -3] == ids[1, -2]
    end = int(batch.inputs["text"]["attention_mask"][2].sum()) - 1
    assert labels[2, end - 1] == ids[2, end] == ids[2, 0] and (labels[2, end:] == -1).all()
    assert target["y"][2].tolist() == [end, len(texts()[7]["text"].encode())]


def test_it_writes_the_same_with_one_prompt_and_with_several(trained: Artifact) -> None:
    prompts, greedy = ["item 7 is", "", "item"], Sampling(max_new_tokens=8, temperature=0)
    together = generate(trained, prompts, greedy)
    assert together == [generate(trained, prompt, greedy)[0] for prompt in prompts]
    assert len(set(together)) > 1
    long = Sampling(max_new_tokens=10_000, temperature=0)
    ends = ["item 7 is soft and tight and lovely", "", "item"]
    assert generate(trained, ends, long) == [generate(trained, prompt, long)[0] for prompt in ends], "each has the room that its prompt leaves"
    drawn = [generate(trained, "item", Sampling(max_new_tokens=12, top_k=20, top_p=0.9, min_p=0.01, seed=seed))[0] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    said: list[str] = []
    assert (
        generate(trained, "item", Sampling(max_new_tokens=12, seed=1, top_k=20, top_p=0.9, min_p=0.01), said.append) == ["".join(said)] == [drawn[0]]
    )
    beams = generate(trained, "item 7 is", Sampling(max_new_tokens=8, temperature=0, num_beams=3, stop_strings=("and",), repetition_penalty=1.1))
    assert len(beams) == 1 and beams[0].count("and") <= 1


def test_greedy_writing_is_the_likeliest_token_of_the_whole_text_each_time(trained: Artifact) -> None:
    folder = trained.path / "inputs" / "text_"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("item 7 is").input_ids[:-1]
    start = len(ids)
    for _ in range(8):
        with torch.no_grad():
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        if ids[-1] == tokenizer.eos_token_id:
            break
    assert generate(trained, "item 7 is", Sampling(max_new_tokens=8, temperature=0)) == [tokenizer.decode(ids[start:], skip_special_tokens=True)]


def test_what_cannot_be_written_is_said(trained: Artifact, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"(?s)temperature.*top_p"):
        generate(trained, "a", Sampling(temperature=-1, top_p=0))
    with pytest.raises(Mistake, match="leave no room in a context of 32"):
        generate(trained, "word " * 60)
    with pytest.raises(Mistake, match="no task of this model answers rows"):
        trained.predict({"text": "a"})
    other = recipe(tasks={"mood": {"kind": "classify", "target": "mood"}}, epochs=1)
    with pytest.raises(Mistake, match="no task of this run writes texts"):
        generate(fit(other, tmp_path / "other"), "a")


def test_a_run_is_the_backbone_of_the_next_which_answers_and_writes(trained: Artifact, tmp_path: Path) -> None:
    tasks = {"mood": {"kind": "classify", "target": "mood"}, **TASKS}
    values = recipe(tasks=tasks, epochs=1).to_dict() | {"data": {"from": texts()}, "tuning": {"kind": "lora", "rank": 2}}
    values["inputs"]["text"]["backbone"] = str(trained.path)
    made = fit(read(values), tmp_path / "next")
    before = made.report.tasks["language"]["metrics"]["models"]["before"]["bits_per_byte"]["value"]
    assert before == pytest.approx(trained.report.value("language", "bits_per_byte"), rel=1e-4)
    assert set(made.predict([{"text": "item 9 is red."}])[0]) == {"mood"}
    assert len(generate(load(tmp_path / "next"), ["item", "it"], Sampling(max_new_tokens=4))) == 2
    assert set(compare(trained.path, tmp_path / "next")["tasks"]) == {"language"}


def test_words_are_hidden_and_asked_for(tmp_path: Path) -> None:
    values = recipe(tasks={"words": {"kind": "masked_text", "of": "text", "share": 0.3, "span": 2}}, epochs=2).to_dict() | {"data": {"from": texts()}}
    values["inputs"]["text"]["backbone"] = str(checkpoints.tiny_bert())
    asked = read(values)
    prepared = prepare(asked)
    rows = prepared.parts["train"][:8]
    plain, (batch, target) = prepared.batches("train", 8).encoded(rows, None, 0, {}), prepared.batches("train", 8).question(rows).asked["words"]
    ids, hidden, labels = plain.inputs["text"]["input_ids"], batch.inputs["text"]["input_ids"], target["labels"]
    assert torch.equal(labels[labels >= 0], ids[labels >= 0]) and torch.equal(ids[labels < 0], hidden[labels < 0])
    assert not set(labels.unique().tolist()) & set(prepared.schema.tasks["words"]["special"])
    assert 0.15 < float((labels >= 0).sum() / plain.inputs["text"]["attention_mask"].sum()) < 0.35
    again = prepared.batches("train", 3).question(rows[2:5]).asked["words"][1]["labels"]
    wide = again.shape[1]
    assert torch.equal(again, labels[2:5, :wide]), "one draw a row, whatever stands beside it"
    first, second = (prepared.batches("train", 8, seed=0).question(rows, np.random.default_rng(i)).asked["words"][1]["labels"] for i in (0, 1))
    assert not torch.equal(first, second)
    made = fit(asked, tmp_path / "run")
    figures = made.report.tasks["words"]["metrics"]["models"]
    assert figures["after"]["perplexity"]["value"] < figures["before"]["perplexity"]["value"]


@pytest.mark.parametrize(
    ("tasks", "backbone", "wrong"),
    [
        ({"x": {"kind": "generate", "of": "txt"}}, None, "'txt' is no text input.*Did you mean 'text'"),
        ({"x": {"kind": "masked_text", "of": "text"}}, None, "reads from left to right"),
        ({"x": {"kind": "generate", "of": "text"}}, "bert", "sees the words that it would be asked for"),
    ],
)
def test_what_cannot_be_asked_is_said(tasks: Any, backbone: str | None, wrong: str) -> None:
    values = recipe().to_dict() | {"data": {"from": texts()}, "tasks": tasks}
    if backbone:
        values["inputs"]["text"]["backbone"] = str(checkpoints.tiny_bert())
    with pytest.raises(Mistake, match=wrong):
        prepare(read(values))


def test_the_command_writes(trained: Artifact) -> None:
    done = CliRunner().invoke(app, ["generate", str(trained.path), "--prompt", "item 7 is", "--temperature", "0", "--tokens", "8"])
    assert done.exit_code == 0, done.output
    assert done.output.strip() == generate(trained, "item 7 is", Sampling(max_new_tokens=8, temperature=0))[0].strip()
    both = CliRunner().invoke(app, ["generate", str(trained.path), "-p", "a", "-p", "b", "--json"])
    assert both.exit_code == 0 and '"prompt": "b"' in both.output
