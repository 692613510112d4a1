"""ViTs in the same loop: pre-trained from nothing on pictures without labels, measured, saved, read by transformers, gone on with."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pictures
from transformers import AutoImageProcessor, AutoModel, ViTModel

import checkpoints
from omnitune import Artifact, Mistake, compare, fit, load
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import answer
from omnitune.evaluation.before import features
from omnitune.nn import patches
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model
from runs import cut_and_resumed, same_weights

VIT = {"kind": "vit", "depth": 2, "width": 32, "heads": 2, "size": 32, "patch": 8}
TASKS = {"picture": {"kind": "masked_image", "of": "photo"}}
MOOD = {"mood": {"kind": "classify", "target": "mood"}}


@cache
def rows(n: int = 128) -> list[dict[str, Any]]:
    """Pictures of two colours with a straight edge anywhere between them; one is missing."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[-1:1:32j, -1:1:32j]
    made: list[dict[str, Any]] = []
    for i in range(n):
        angle, (one, other), file = rng.uniform(0, 2 * np.pi), rng.uniform(0, 255, (2, 3)), io.BytesIO()
        side = np.cos(angle) * x + np.sin(angle) * y > rng.uniform(-0.4, 0.4)
        pictures.fromarray(np.where(side[..., None], one, other).astype(np.uint8)).save(file, "PNG")
        made.append({"photo": file.getvalue(), "mood": "ab"[i % 2]})
    made[3]["photo"] = None
    return made


def recipe(backbone: Any = None, tasks: Any = TASKS, tuning: Any = "full", augment: bool = True, **train: Any) -> Recipe:
    photo = {"kind": "image", "backbone": VIT if backbone is None else str(backbone), "augment": augment}
    settings = {"epochs": 6, "batch": 16, "lr": 3e-3, "head_lr": 3e-3} | train
    return read({"data": {"from": rows()}, "inputs": {"photo": photo}, "tasks": tasks, "tuning": tuning, "train": settings})


def figures(run: Artifact, task: str = "picture") -> Any:
    return run.report.tasks[task]["metrics"]["models"]


def prepared_again(run: Artifact) -> Prepared:
    return prepare(run.recipe.replace(data=run.recipe.data.replace(source=rows())))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(epochs=60), tmp_path_factory.mktemp("pictures") / "vit")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    found = {model: figure["mse"]["value"] for model, figure in figures(trained).items()}
    assert list(found) == ["constant", "simple", "before", "after"]
    assert found["after"] < min(found["constant"], found["simple"], found["before"])
    assert figures(trained)["after"]["r2"]["value"] > 0.2
    assert "the mean of the visible patches" in trained.report.tasks["picture"]["baselines"]["simple"]
    assert trained.report.cost["frozen part of photo"].startswith("nothing kept: a task asks it about itself")


def test_pixels_as_they_are_can_be_asked_for(tmp_path: Path) -> None:
    run = fit(recipe(tasks={"picture": TASKS["picture"] | {"normalise": False, "share": 0.5}}, epochs=30), tmp_path / "run")
    found = {model: figure["mse"]["value"] for model, figure in figures(run).items()}
    assert found["simple"] < found["constant"], "pictures differ in colour"
    assert found["after"] < found["simple"]


@torch.no_grad()
def test_transformers_reads_what_is_saved_and_draws_the_same(trained: Artifact) -> None:
    folder = trained.path / "inputs" / "photo_"
    theirs, processor = AutoModel.from_pretrained(folder).eval(), AutoImageProcessor.from_pretrained(folder)
    assert type(theirs) is ViTModel and (processor.size["height"], list(processor.image_mean)) == (32, [0.5] * 3)
    prepared, head = prepared_again(trained), trained.model.head("picture")
    test = [row for row in prepared.parts["test"].tolist() if rows()[row]["photo"] is not None]
    error = 0.0
    for row in test:
        pixels = (prepared.batches("test", 1).encoded(np.array([row]), None, 0, {}).inputs["photo"]["pixels"] / 255 - 0.5) / 0.5
        order = torch.from_numpy(np.random.default_rng(row).random(16)).argsort()
        visible, hidden = order[:4], order[4:]
        x = theirs.embeddings(pixels)[:, torch.cat([torch.tensor([0]), 1 + visible])]
        for layer in theirs.layers:
            x = layer(x)
        drawn = head.decoder(theirs.layernorm(x), visible[None], hidden[None])
        wanted = patches.cut(pixels, 8)[:, hidden]
        wanted = (wanted - wanted.mean(-1, keepdim=True)) / (wanted.var(-1, keepdim=True) + 1e-6).sqrt()
        error += float((drawn - wanted).square().mean())
    assert figures(trained)["after"]["mse"]["value"] == pytest.approx(error / len(test), rel=1e-4)


def test_a_saved_run_is_measured_again_to_the_same_figures(trained: Artifact) -> None:
    again = load(trained.path)
    found = answer(again.model, prepared_again(again).batches("test", 8), "float32")["picture"]
    y, p = found.y[found.known], found.p[found.known]
    assert float(p[:, 0].sum() / y.sum()) == pytest.approx(figures(trained)["after"]["mse"]["value"], rel=1e-5)
    with pytest.raises(Mistake, match="no task of this model answers rows"):
        again.predict({"photo": rows()[0]["photo"]})


def test_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    one, two, other = (fit(recipe(epochs=2, seed=seed), tmp_path / str(i)) for i, seed in enumerate((0, 0, 1)))
    assert all(torch.equal(t, two.model.state_dict()[name]) for name, t in one.model.state_dict().items())
    assert any(not torch.equal(t, other.model.state_dict()[name]) for name, t in one.model.state_dict().items())


def test_a_run_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Path) -> None:
    whole = fit(recipe(epochs=3), tmp_path / "whole")
    resumed = cut_and_resumed(recipe(epochs=3), tmp_path / "cut", 8)
    assert same_weights(whole, resumed)
    assert figures(resumed) == figures(whole)


def asked(prepared: Prepared, chosen: Any, rng: np.random.Generator | None = None) -> tuple[Any, Any]:
    return prepared.batches("train", 16).question(np.asarray(chosen), rng).asked["picture"]


def test_what_is_hidden_is_one_draw_a_row_or_a_new_one() -> None:
    prepared = prepare(recipe(augment=False))
    batch, target = asked(prepared, range(8))
    assert batch.inputs["photo"]["visible"].shape == (8, 4) and target["hidden"].shape == (8, 12)
    assert torch.equal(batch.inputs["photo"]["visible"], target["visible"])
    assert torch.equal(target["pixels"], batch.inputs["photo"]["pixels"]) and target["pixels"].dtype == torch.uint8
    assert target["weight"].tolist() == [1, 1, 1, 0, 1, 1, 1, 1], "nothing is asked of a missing picture"
    assert target["y"].tolist() == [[12 * 8 * 8 * 3]] * 8
    _, again = asked(prepared, [5, 2])
    assert torch.equal(again["hidden"], target["hidden"][[5, 2]]), "one draw a row, whatever stands beside it"
    first, second = (asked(prepared, range(8), np.random.default_rng(seed))[1]["hidden"] for seed in (0, 1))
    assert not torch.equal(first, second) and not torch.equal(first, target["hidden"])


def test_files_are_decoded_once_and_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))
    one, two, without = (fit(recipe(epochs=3, cache=gib), tmp_path / str(i)) for i, gib in enumerate((1, 1, 0)))
    assert not one.report.cost["files of photo"].startswith(("0 decoded", "nothing"))
    assert two.report.cost["files of photo"].startswith("0 decoded")
    for name, weight in one.model.state_dict().items():
        assert torch.equal(weight, two.model.state_dict()[name]) and torch.equal(weight, without.model.state_dict()[name])


@pytest.mark.parametrize("tuning", ["full", "probe", {"kind": "lora", "rank": 2}, {"kind": "freeze", "blocks": 1}, "bias"])
def test_a_run_is_the_backbone_of_the_next(trained: Artifact, tuning: Any, tmp_path: Path) -> None:
    made = fit(recipe(trained.path, MOOD, tuning, epochs=1), tmp_path / "next")
    assert set(made.predict([{"photo": rows()[0]["photo"]}])[0]) == {"mood"}
    assert {"constant", "before", "after"} <= set(figures(made, "mood"))
    start, end = trained.model.backbones["photo"].model.state_dict(), load(tmp_path / "next").model.backbones["photo"].model.state_dict()
    assert all(torch.equal(w, end[name]) for name, w in start.items()) == (tuning == "probe")


def test_a_run_goes_on_with_the_same_question(trained: Artifact, tmp_path: Path) -> None:
    made = fit(recipe(trained.path, TASKS | MOOD, epochs=2), tmp_path / "next")
    assert made.recipe.inputs["photo"].backbone.kind == "pretrained"
    assert figures(made)["after"]["mse"]["value"] < figures(made)["before"]["mse"]["value"], "its decoder is a new one"
    assert set(compare(trained.path, tmp_path / "next")["tasks"]) == {"picture"}
    fitted, plain = load(tmp_path / "next"), fit(recipe(trained.path, MOOD, "probe", epochs=1), tmp_path / "probe")
    assert set(fitted.predict([{"photo": rows()[0]["photo"]}])[0]) == {"mood"}
    assert figures(made, "mood")["before"] == figures(plain, "mood")["before"], "the probe sees whole pictures"


@torch.no_grad()
def test_two_tasks_read_the_picture_twice_once_with_holes() -> None:
    prepared = prepare(recipe(tasks=TASKS | MOOD, augment=False))
    model, seen = Model(prepared.recipe, prepared.schema).eval(), []
    model.backbones["photo"].blocks[0].register_forward_hook(lambda block, given, output: seen.append(output.shape[1]))
    losses = model.losses(prepared.batches("train", 8).question(np.arange(8)))
    assert set(losses) == {"picture", "mood"} and seen == [5, 17]
    whole, alone = features(model, prepared.batches("test", 8), "float32"), prepare(recipe(tasks=MOOD, augment=False))
    np.testing.assert_array_equal(whole, features(model, alone.batches("test", 8), "float32"))


@pytest.mark.parametrize("name", ["vit", "dinov2", "clip", "siglip"])
def test_any_checkpoint_that_is_built_like_a_vit_can_be_asked(name: str, tmp_path: Path) -> None:
    made = fit(recipe(checkpoints.PICTURE[name](), epochs=4, lr=1e-3), tmp_path / "run")
    assert figures(made)["after"]["mse"]["value"] < figures(made)["before"]["mse"]["value"]
    again = answer(load(tmp_path / "run").model, prepared_again(made).batches("test", 8), "float32")["picture"]
    assert float(again.p[again.known][:, 0].sum() / again.y[again.known].sum()) == pytest.approx(figures(made)["after"]["mse"]["value"], rel=1e-5)


def test_without_a_class_token_the_patches_stand_for_the_picture(tmp_path: Path) -> None:
    values = recipe(epochs=2).to_dict() | {"data": {"from": rows()}}
    values["inputs"]["photo"]["backbone"] |= {"pool": "mean", "positions": "learned"}
    run = fit(read(values), tmp_path / "run")
    again = answer(load(tmp_path / "run").model, prepared_again(run).batches("test", 8), "float32")["picture"]
    assert float(again.p[again.known][:, 0].sum() / again.y[again.known].sum()) == pytest.approx(figures(run)["after"]["mse"]["value"], rel=1e-5)
    made = fit(recipe(run.path, MOOD, epochs=1), tmp_path / "next")
    assert made.model.backbones["photo"].pool == "mean"


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        (["tasks.picture.of=foto"], "'foto' is no image input.*Did you mean 'photo'"),
        (["tasks={picture: {kind: masked_text, of: photo}}"], "'photo' is no text input"),
        (["inputs.photo.backbone.patch=5"], "patches of 5 do not divide pictures of 32"),
        (["inputs.photo.backbone.heads=3"], "3 heads do not divide the width 32"),
        (["inputs.photo.backbone.patch=32"], "sees one patch only"),
        ([f"inputs.photo.backbone={checkpoints.PICTURE['efficientnet']()}"], "does not cut pictures into patches"),
        (["train.stop_on=picture.accuracy"], "'picture.accuracy' is not measured"),
    ],
)
def test_what_cannot_be_asked_is_said(changes: list[str], wrong: str) -> None:
    with pytest.raises(Mistake, match=f"(?s){wrong}"):
        prepare(read(recipe().to_dict() | {"data": {"from": rows()}}, changes))


def test_a_vit_learns_labels_from_nothing(tmp_path: Path) -> None:
    made = fit(recipe(tasks=MOOD, epochs=2), tmp_path / "run")
    assert type(AutoModel.from_pretrained(tmp_path / "run" / "inputs" / "photo_")) is ViTModel
    assert set(made.predict([{"photo": None}])[0]) == {"mood"}


@pytest.mark.slow
def test_photographs_of_solar_cells_teach_without_labels(tmp_path: Path) -> None:
    """Broken parts would end where the model began, or at the mean of what is visible."""
    vit = {"kind": "vit", "depth": 3, "width": 96, "heads": 3, "size": 64, "patch": 8}
    values = {
        "data": {"from": "sample:elpv#600", "split": [0.7, 0.1, 0.2]},
        "inputs": {"image": {"kind": "image", "backbone": vit, "augment": False}},
        "tasks": {"picture": {"kind": "masked_image", "of": "image", "normalise": False}},
        "train": {"epochs": 20, "batch": 16, "lr": 2e-3, "head_lr": 2e-3},
    }
    run = fit(read(values), tmp_path / "run")
    found = {model: figure["mse"]["value"] for model, figure in figures(run).items()}
    assert found["after"] < 0.85 * min(found["simple"], found["before"]), found
    cells = values | {"tasks": {"defective": {"kind": "classify", "target": "defective"}}, "tuning": "probe", "train": {"epochs": 3}}
    cells["inputs"] = {"image": {"kind": "image", "backbone": str(run.path)}}
    assert fit(read(cells), tmp_path / "cells").report.value("defective", "auroc") > 0.55
