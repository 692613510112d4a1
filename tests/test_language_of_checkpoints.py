"""Language models that were trained before, in the loop: they start from their own words, learn, are saved, and transformers says the same."""

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

import checkpoints
from omnitune import Artifact, Mistake, Sampling, fit, generate, load
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import Recipe, read

ROWS = [{"text": f"{line} {i}", "mood": "ab"[i % 2]} for i in range(12) for line in checkpoints.SENTENCES]
SAY = {"language": {"kind": "generate", "of": "text"}}
FILL = {"words": {"kind": "masked_text", "of": "text"}}


def recipe(folder: Path, tasks: Any = SAY, tuning: Any = "full", **train: Any) -> Recipe:
    settings = {"epochs": 1, "batch": 8, "lr": 3e-3} | train
    inputs = {"text": {"kind": "text", "backbone": str(folder), "max_tokens": 64}}
    return read({"data": {"from": ROWS}, "inputs": inputs, "tasks": tasks, "tuning": tuning, "train": settings})


def prepared(made: Artifact) -> Prepared:
    return prepare(made.recipe.replace(data=made.recipe.data.replace(source=ROWS)))


def nats(model: Any, data: Prepared, task: str) -> float:
    """Of a word of the test rows, by transformers alone."""
    total = count = 0.0
    for question in data.batches("test", 4).epoch():
        batch, target = question.asked[task]
        inputs, labels = batch.inputs["text"], target["labels"]
        with torch.no_grad():
            logits = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
        total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-1, reduction="sum"))
        count += int((labels >= 0).sum())
    return total / count


@pytest.mark.parametrize(("kind", "tuning"), [("llama", "full"), ("phi", "full"), ("gemma2", "full"), ("gpt_neox", {"kind": "lora", "rank": 2})])
def test_decoders_go_on_and_transformers_says_the_same(kind: str, tuning: Any, tmp_path: Path) -> None:
    folder = checkpoints.tiny_llama() if kind == "llama" else checkpoints.tiny_speaking(kind)
    made = fit(recipe(folder, tuning=tuning, epochs=3), tmp_path / "run")
    models, saved = made.report.tasks["language"]["metrics"]["models"], tmp_path / "run" / "inputs" / "text_"
    data = prepared(made)
    before = nats(AutoModelForCausalLM.from_pretrained(folder).eval(), data, "language")
    after = AutoModelForCausalLM.from_pretrained(saved).eval()
    assert math.log(models["before"]["perplexity"]["value"]) == pytest.approx(before, rel=1e-4)
    assert (
        math.log(models["after"]["perplexity"]["value"]) == pytest.approx(nats(after, data, "language"), rel=1e-4) != pytest.approx(before, rel=1e-2)
    )
    before_table, table = AutoModelForCausalLM.from_pretrained(folder).get_output_embeddings().weight, after.get_output_embeddings().weight
    assert torch.equal(table, before_table) == (tuning != "full")


def test_an_untied_model_writes_as_transformers_does_and_is_the_backbone_of_the_next(tmp_path: Path) -> None:
    made = fit(recipe(checkpoints.tiny_llama()), tmp_path / "run")
    folder = tmp_path / "run" / "inputs" / "text_"
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("the fabric", return_tensors="pt").input_ids
    wanted = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
    assert generate(load(tmp_path / "run"), "the fabric", Sampling(max_new_tokens=6, temperature=0)) == [
        tokenizer.decode(wanted, skip_special_tokens=True)
    ]
    tasks = SAY | {"mood": {"kind": "classify", "target": "mood"}}
    following = fit(recipe(tmp_path / "run", tasks, {"kind": "freeze", "blocks": 1}), tmp_path / "next")
    before = following.report.tasks["language"]["metrics"]["models"]["before"]["bits_per_byte"]["value"]
    assert before == pytest.approx(made.report.value("language", "bits_per_byte"), rel=1e-4)
    assert following.predict(ROWS[:3], int8=True)[0].keys() == {"mood"}
    assert len(generate(following, "a", Sampling(max_new_tokens=3))) == 1


def test_a_run_that_only_answered_has_no_words_left(tmp_path: Path) -> None:
    fit(recipe(checkpoints.tiny_llama(), {"mood": {"kind": "classify", "target": "mood"}}), tmp_path / "run")
    with pytest.raises(Mistake, match="its files do not hold it"):
        prepare(recipe(tmp_path / "run"))


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert"])
def test_hidden_words_are_asked_of_the_head_that_was_trained_before(kind: str, tmp_path: Path) -> None:
    folder = checkpoints.tiny_bert() if kind == "bert" else checkpoints.tiny_speaking(kind)
    made = fit(recipe(folder, FILL), tmp_path / "run")
    models = made.report.tasks["words"]["metrics"]["models"]
    data = prepared(made)
    for when, where in (("before", folder), ("after", tmp_path / "run" / "inputs" / "text_")):
        wanted = nats(AutoModelForMaskedLM.from_pretrained(where).eval(), data, "words")
        assert math.log(models[when]["perplexity"]["value"]) == pytest.approx(wanted, rel=1e-4)


def with_more_words(folder: Path, out: Path) -> Path:
    """The same checkpoint with a tokenizer that was given four words more than its table has rows."""
    copy = shutil.copytree(folder, out)
    tokenizer = AutoTokenizer.from_pretrained(copy)
    tokenizer.add_tokens([f"new{i}" for i in range(304 - len(tokenizer))])
    tokenizer.save_pretrained(copy)
    return copy


def test_rows_of_a_table_that_are_no_words_are_never_said(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints.tiny_speaking("phi"), tmp_path / "padded")
    state = load_file(folder / "model.safetensors")
    state["lm_head.bias"][299] = 50.0  # the tokenizer knows 299 words
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    made = fit(recipe(folder, tuning={"kind": "lora", "rank": 2}), tmp_path / "run")
    models = made.report.tasks["language"]["metrics"]["models"]
    wanted = nats(AutoModelForCausalLM.from_pretrained(folder).eval(), prepared(made), "language")
    assert math.log(models["before"]["perplexity"]["value"]) == pytest.approx(wanted, rel=1e-4), "the loss knows them, as that of transformers does"
    assert all(generate(made, ["the", "a"], Sampling(max_new_tokens=4, temperature=temperature)) != ["", ""] for temperature in (0, 1))


@pytest.mark.parametrize(("kind", "tasks", "tuning"), [("phi", SAY, "full"), ("gemma2", SAY, {"kind": "lora", "rank": 2}), ("bert", FILL, "full")])
def test_a_table_grows_with_its_tokenizer_where_that_is_asked_for(kind: str, tasks: Any, tuning: Any, tmp_path: Path) -> None:
    folder = with_more_words(checkpoints.tiny_bert() if kind == "bert" else checkpoints.tiny_speaking(kind), tmp_path / "more")
    with pytest.raises(Mistake, match=r"knows 304 tokens, and its table of words has 300 rows.*resize: true"):
        prepare(recipe(folder, tasks))
    values = recipe(folder, tasks, tuning).to_dict() | {"data": {"from": [row | {"text": row["text"] + " new1"} for row in ROWS]}}
    values["inputs"]["text"]["backbone"] = {"kind": "pretrained", "name": str(folder), "resize": True}
    made = fit(read(values), tmp_path / "run")
    saved = (AutoModelForMaskedLM if kind == "bert" else AutoModelForCausalLM).from_pretrained(tmp_path / "run" / "inputs" / "text_").eval()
    assert saved.config.vocab_size == len(saved.get_input_embeddings().weight) == len(saved.get_output_embeddings().weight) == 304
    (name,) = tasks
    data = prepare(made.recipe.replace(data=made.recipe.data.replace(source=values["data"]["from"])))
    assert math.log(made.report.value(name, "perplexity")) == pytest.approx(nats(saved, data, name), rel=1e-4)
    if tuning != "full":
        rows = saved.get_input_embeddings().weight
        torch.testing.assert_close(rows[301], rows[:300].mean(0))
