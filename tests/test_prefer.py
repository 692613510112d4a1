"""Preference tuning through whole runs, with a reference and without; and what is wrong is said."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from checkpoints import tiny_bart, tiny_llama
from instructions import rows as lights
from omnitune import Artifact, Mistake, Prefer, compare, fit, load
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read
from omnitune.training.reference import referred
from runs import ready

OTHER = {"stop here": "go on", "go on": "wait a little", "wait a little": "stop here"}


def rows(n: int = 120) -> list[dict[str, Any]]:
    return [row | {"worse": OTHER[row["means"]]} for row in lights(n)]


def recipe(source: Any = None, *overrides: str, backbone: Any = None, **task: Any) -> Recipe:
    asked = {"kind": "prefer", "of": "place", "prompt": "Light {light} at {place}:", "chosen": "means", "rejected": "worse", "samples": 4} | task
    values = {
        "data": {"from": rows() if source is None else source},
        "inputs": {"place": {"kind": "text", "backbone": str(backbone or tiny_llama()), "max_tokens": 64}},
        "tasks": {"better": asked},
        "train": {"epochs": 5, "batch": 16, "lr": 3e-3, "cache": 0.01},
    }
    return read(values, overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("prefer") / "run")


def test_it_learns_what_is_preferred_and_says_how_much(trained: Artifact) -> None:
    metrics = trained.report.tasks["better"]["metrics"]
    before, after = metrics["models"]["before"], metrics["models"]["after"]
    assert before["reward_accuracy"]["value"] == 0.5 and before["reward_margin"]["value"] == pytest.approx(0, abs=1e-4)
    assert after["accuracy"]["value"] > 0.9 > before["accuracy"]["value"] and after["reward_accuracy"]["value"] > 0.9
    gained = metrics["differences"]["before"]["margin"]["value"]
    assert after["reward_margin"]["value"] == pytest.approx(0.1 * gained, rel=1e-3), "the reward is beta times what was gained on the reference"
    assert metrics["models"]["simple"]["accuracy"]["value"] is None and metrics["models"]["simple"]["reward_accuracy"]["value"] is not None
    assert set(trained.report.tasks["better"]["written"]["metrics"]["models"]) == {"simple", "before", "after"}
    assert isinstance(trained.predict(rows()[0])["better"]["value"], str)
    assert load(trained.path).predict(rows()[:3]) == trained.predict(rows()[:3])
    assert compare(trained.path, trained.path)["tasks"]["better"]["shared"] == metrics["rows"]


def likelihood(lm: Any, tokenizer: Any, row: dict[str, Any], answer: str) -> tuple[torch.Tensor, int]:
    """By transformers."""
    asked = tokenizer(f"Light {row['light']} at {row['place']}:")["input_ids"]
    asked = asked[:-1] if asked[-1] == tokenizer.eos_token_id else asked
    said = [*tokenizer(f" {answer}", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    logits = lm(torch.tensor([asked + said])).logits[0, len(asked) - 1 : -1]
    return logits.log_softmax(1).gather(1, torch.tensor(said)[:, None]).sum(), len(said)


@pytest.mark.parametrize("loss", ["dpo", "simpo"])
def test_the_loss_is_that_of_the_paper(loss: str) -> None:
    model, prepared = ready(recipe(loss=loss, **({"margin": 0.4} if loss == "simpo" else {})))
    prepared = referred(model, prepared)
    moved = torch.Generator().manual_seed(0)
    before, tokenizer = AutoModelForCausalLM.from_pretrained(tiny_llama()).eval(), AutoTokenizer.from_pretrained(tiny_llama())
    now = AutoModelForCausalLM.from_pretrained(tiny_llama()).eval()
    theirs = dict(now.model.named_parameters())
    with torch.no_grad():
        for name, p in model.backbones["place"].model.named_parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=moved))
            theirs[name].copy_(p)
    question = prepared.batches("train", 6).question(prepared.parts["train"][:6])
    model.eval()
    found, wanted = model.losses(question)["better"], []
    with torch.no_grad():
        for row in (rows()[i] for i in question.rows.tolist()):
            (a, na), (b, nb) = (likelihood(now, tokenizer, row, row[name]) for name in ("means", "worse"))
            (ra, _), (rb, _) = (likelihood(before, tokenizer, row, row[name]) for name in ("means", "worse"))
            led = 0.1 * ((a - ra) - (b - rb)) if loss == "dpo" else 2.0 * (a / na - b / nb) - 0.4
            wanted.append(-torch.nn.functional.logsigmoid(led))
    torch.testing.assert_close(found.sum, torch.stack(wanted).sum(), rtol=1e-4, atol=1e-4)
    assert found.count == 6


def test_the_reference_is_computed_once_and_read_by_later_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from omnitune.nn.prefer import PreferHead

    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path))
    model, prepared = ready(recipe())
    first = referred(model, prepared).given["better"]["reference"]
    asked: list[int] = []
    whole = PreferHead.likelihoods
    monkeypatch.setattr(PreferHead, "likelihoods", lambda self, view: asked.append(1) or whole(self, view))
    again = referred(*ready(recipe())).given["better"]["reference"]
    assert not asked and (first == again).all()
    with torch.no_grad():
        next(model.backbones["place"].model.parameters()).add_(0.01)
    other = referred(model, prepared).given["better"]["reference"]
    assert asked and not (first == other).any(), "another model has another reference"
    assert referred(*ready(recipe(loss="simpo"))).given == {}


def test_a_run_that_was_cut_off_goes_on_with_the_same_reference(tmp_path: Path) -> None:
    made = fit(recipe(None, "train.epochs=2", "train.cache=0"), tmp_path / "whole")

    class Cut(Exception):
        pass

    def watch(step: Any) -> None:
        if step.step == 8:
            raise Cut

    with pytest.raises(Cut):
        fit(recipe(None, "train.epochs=2", "train.cache=0", "train.save_minutes=0.00001"), tmp_path / "cut", watch=watch)
    again = fit(recipe(None, "train.epochs=2", "train.cache=0", "train.save_minutes=0.00001"), tmp_path / "cut", resume=True)
    assert again.report.tasks["better"]["metrics"]["models"] == made.report.tasks["better"]["metrics"]["models"]


@pytest.mark.parametrize(("loss", "tuning", "folder"), [("simpo", "lora", tiny_llama), ("dpo", "lora", tiny_llama), ("dpo", "full", tiny_bart)])
def test_by_adapters_without_a_reference_and_by_an_encoder_decoder(loss: str, tuning: str, folder: Any, tmp_path: Path) -> None:
    some = [row | {"worse": "never mind"} for row in rows(60)]
    made = fit(recipe(some, "train.epochs=4", "train.lr=1e-3", f"tuning={tuning}", backbone=folder(), loss=loss), tmp_path / "run")
    models = made.report.tasks["better"]["metrics"]["models"]
    assert models["after"]["margin"]["value"] > models["before"]["margin"]["value"]
    assert load(made.path).predict(rows()[:2]) == made.predict(rows()[:2])


def test_a_row_that_lacks_an_answer_teaches_nothing() -> None:
    some = rows(60)
    for row in some[:50]:
        row["worse"] = None
    model, prepared = ready(recipe(some))
    prepared = referred(model, prepared)
    question = prepared.batches("train", 8).question(prepared.parts["train"])
    loss = model.losses(question)["better"]
    assert loss.count == sum(some[i]["worse"] is not None for i in question.rows.tolist()) and loss.sum.isfinite()
    alone = prepared.batches("train", 8).question(prepared.parts["train"][:3])
    assert model.losses(alone)["better"].count == 0


def test_what_is_wrong_with_rows_is_said_at_once() -> None:
    some = rows(40)
    some[1] |= {"worse": some[1]["means"] + " "}
    some[2] |= {"worse": "  "}
    with pytest.raises(Mistake) as found:
        prepare(recipe(some))
    for words in ("equals 'means', so nothing is preferred", "nothing but white space", "2 rows cannot be read"):
        assert words in str(found.value)


def test_what_is_wrong_with_settings_is_said() -> None:
    with pytest.raises(Mistake, match="the column of the chosen answers too"):
        Prefer("place", "x", "a", "a")
    with pytest.raises(Mistake, match="loss: simpo only"):
        Prefer("place", "x", "a", "b", margin=1.0)
