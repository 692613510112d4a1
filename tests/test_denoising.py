"""denoise through the whole loop: measured, saved, read by transformers, resumed, and the backbone of the next run."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BartForConditionalGeneration, T5ForConditionalGeneration

import checkpoints
from omnitune import Artifact, Mistake, fit, load
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import Recipe, read
from omnitune.training.loop import Loop
from runs import cut_and_resumed, ready, same_weights

ROWS = [{"text": f"{line} {i}", "mood": "ab"[i % 2]} for i in range(16) for line in checkpoints.SENTENCES[:5]]
SHORT = [{"text": text, "mood": "a"} for text in ("", "a", None, "b")]
HOLES = {"holes": {"kind": "denoise", "of": "text"}}
MOOD = {"mood": {"kind": "classify", "target": "mood"}}
FOLDERS = {"t5": checkpoints.tiny_sentinel_t5, "bart": checkpoints.tiny_bart}
CLASSES = {"t5": T5ForConditionalGeneration, "bart": BartForConditionalGeneration}
every = pytest.mark.parametrize("name", list(FOLDERS))


def recipe(backbone: Any, tasks: Any = HOLES, tuning: Any = "full", rows: Any = ROWS, **train: Any) -> Recipe:
    settings = {"epochs": 2, "batch": 8, "lr": 3e-3} | train
    inputs = {"text": {"kind": "text", "backbone": backbone if isinstance(backbone, dict) else str(backbone), "max_tokens": 64}}
    return read({"data": {"from": rows}, "inputs": inputs, "tasks": tasks, "tuning": tuning, "train": settings})


def nats(folder: Path, data: Prepared) -> tuple[float, float]:
    """Of a token of the targets of the test rows, by transformers alone; and the share that is right."""
    model, total, right, count = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), 0.0, 0, 0
    for question in data.batches("test", 4).epoch():
        batch, target = question.asked["holes"]
        inputs, labels = batch.inputs["text"], torch.where(target["labels"] < 0, -100, target["labels"])
        asked = labels >= 0
        with torch.no_grad():
            out = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels)
        total += float(out.loss) * int(asked.sum())
        right, count = right + int((out.logits.argmax(-1) == labels)[asked].sum()), count + int(asked.sum())
    return total / count, right / count


def again(made: Artifact, rows: Any = ROWS) -> Prepared:
    return prepare(made.recipe.replace(data=made.recipe.data.replace(source=rows)))


def figures(made: Artifact, model: str) -> dict[str, float]:
    return {name: figure["value"] for name, figure in made.report.tasks["holes"]["metrics"]["models"][model].items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    folder = tmp_path_factory.mktemp("denoise")
    return {name: fit(recipe(made()), folder / name) for name, made in FOLDERS.items()}


@every
def test_it_learns_and_transformers_says_the_same(trained: dict[str, Artifact], name: str) -> None:
    made, data = trained[name], again(trained[name])
    for when, folder in (("before", FOLDERS[name]()), ("after", made.path / "inputs" / "text_")):
        wanted, right = nats(folder, data)
        assert math.log(figures(made, when)["perplexity"]) == pytest.approx(wanted, rel=1e-4)
        assert figures(made, when)["accuracy"] == pytest.approx(right, abs=1e-6)
    assert set(figures(made, "after")) == {"perplexity", "accuracy"}, "bits per byte would compare nothing"
    assert figures(made, "after")["perplexity"] < figures(made, "before")["perplexity"]
    after = made.report.tasks["holes"]["metrics"]["models"]["after"]["perplexity"]
    assert after["low"] < after["value"] < after["high"]
    assert made.report.tasks["holes"]["baselines"]["constant"].startswith("the share of each word in")
    told = made.report.cost
    assert told["texts of text"].startswith("padded: ") and told["targets of text"].startswith("padded: a decoder reads no flat rows; ")


@every
def test_it_is_saved_as_the_class_it_was_and_writes(trained: dict[str, Artifact], name: str) -> None:
    folder = trained[name].path / "inputs" / "text_"
    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    assert type(model) is CLASSES[name]
    inputs = tokenizer(checkpoints.SENTENCES[:2], padding=True, return_tensors="pt")
    inputs = {key: inputs[key] for key in ("input_ids", "attention_mask")}
    assert model.generate(**inputs, max_new_tokens=4, do_sample=False).shape[1] > 1
    encoder = load(trained[name].path).model.backbones["text"]
    decoder, read = encoder.decode(), encoder.model.get_input_embeddings()
    with torch.no_grad():
        tokens = encoder(**inputs)
        found = torch.nn.functional.linear(decoder(tokens.x_BLD, tokens.mask_BL, read(inputs["input_ids"])), read.weight, decoder.bias)
        wanted = model(**inputs, decoder_input_ids=inputs["input_ids"]).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@every
@pytest.mark.parametrize("tuning", ["full", {"kind": "lora", "rank": 2}])
def test_a_run_is_the_backbone_of_the_next(trained: dict[str, Artifact], name: str, tuning: Any, tmp_path: Path) -> None:
    made = fit(recipe(trained[name].path, MOOD, tuning, epochs=1), tmp_path / "next")
    assert set(made.predict([{"text": "the fabric"}])[0]) == {"mood"}
    assert made.model.backbones["text"].lm_head is None, "what pools is the encoder, and nobody reads the decoder"
    if tuning != "full":
        return
    with pytest.raises(Mistake, match="hold its encoder alone"):
        prepare(recipe(tmp_path / "next"))


@every
def test_it_goes_on_where_it_stopped(trained: dict[str, Artifact], name: str, tmp_path: Path) -> None:
    made = fit(recipe(trained[name].path, HOLES | MOOD), tmp_path / "next")
    before = made.report.tasks["holes"]["metrics"]["models"]["before"]["perplexity"]["value"]
    assert before == pytest.approx(figures(trained[name], "after")["perplexity"], rel=1e-4)
    assert figures(made, "after")["perplexity"] < before
    assert set(made.predict([{"text": "the fabric"}], int8=True)[0]) == {"mood"}


@every
@pytest.mark.parametrize("tuning", [{"kind": "lora", "rank": 2}, {"kind": "freeze", "blocks": 1}, "bias"])
def test_other_tunings_are_measured_as_they_are_saved(name: str, tuning: Any, tmp_path: Path) -> None:
    made = fit(recipe(FOLDERS[name](), tuning=tuning), tmp_path / "run")
    assert math.log(figures(made, "after")["perplexity"]) == pytest.approx(nats(made.path / "inputs" / "text_", again(made))[0], rel=1e-4)
    assert figures(made, "after")["perplexity"] < figures(made, "before")["perplexity"]
    before = AutoModelForSeq2SeqLM.from_pretrained(FOLDERS[name]()).get_decoder().state_dict()
    after = AutoModelForSeq2SeqLM.from_pretrained(made.path / "inputs" / "text_").get_decoder().state_dict()
    assert any("lora_" in key for key in after) == (not isinstance(tuning, str) and tuning["kind"] == "lora")
    after = {key.replace(".base_layer", ""): tensor for key, tensor in after.items()}
    learned = {key for key, tensor in before.items() if not torch.equal(tensor, after[key])}
    assert bool(learned) == (tuning if isinstance(tuning, str) else tuning["kind"] != "lora") or tuning == "bias"


def test_a_run_that_was_cut_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = fit(recipe(FOLDERS["t5"]()), tmp_path / "whole")
    resumed = cut_and_resumed(recipe(FOLDERS["t5"]()), tmp_path / "cut", 9)
    assert same_weights(whole, resumed) and any(".lm_head." in name for name in whole.model.state_dict())


@every
def test_accumulated_gradients_are_those_of_the_large_batch(name: str) -> None:
    weights = []
    for micro in (8, 3):
        model, data = ready(recipe(FOLDERS[name](), epochs=1, micro_batch=micro, optimizer="sgd", dropout=0.0, attention_dropout=0.0))
        model.backbones["text"].set_dropout(0.0, 0.0)
        settings = data.recipe.train
        for step in Loop(model, data.batches("train", settings.batch, settings.seed), settings, {"holes": 1.0}):
            if step.step == 4:
                break
        weights.append({key: p.detach().clone() for key, p in model.named_parameters()})
    for key, weight in weights[0].items():
        torch.testing.assert_close(weights[1][key], weight, rtol=1e-4, atol=1e-5)


@every
def test_texts_that_are_too_short_are_counted(name: str, tmp_path: Path) -> None:
    made = fit(recipe(FOLDERS[name](), rows=[*ROWS, *SHORT], epochs=1), tmp_path / "run")
    (told,) = [warning["text"] for warning in made.report.warnings if warning["name"] == "unasked"]
    short = again(made, [*ROWS, *SHORT])
    unasked = 0
    for part in short.parts:
        for question in short.batches(part, 8).epoch():
            unasked += int((question.asked["holes"][1]["weight"] == 0).sum())
    assert 2 <= unasked <= 4 and told.startswith(f"Of {len(ROWS) + len(SHORT)} texts {unasked} are missing or too short to be asked about")


def test_what_is_no_encoder_decoder_is_told_so() -> None:
    for folder, wrong in ((checkpoints.tiny_bert(), "ask masked_text of this one"), (checkpoints.tiny_gpt2(), "ask generate of this one")):
        with pytest.raises(Mistake, match=wrong):
            prepare(recipe(folder))
    with pytest.raises(Mistake, match="names no decoder_start_token_id"):
        prepare(recipe(checkpoints.tiny_t5()))


def test_it_is_refused_where_another_task_would_not_do(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="'txt' is no text input"):
        recipe(FOLDERS["t5"](), {"holes": {"kind": "denoise", "of": "txt"}})
    with pytest.raises(Mistake, match=r"tasks.holes.rate"):
        recipe(FOLDERS["t5"](), {"holes": {"kind": "denoise", "of": "text", "rate": 1.0}})
