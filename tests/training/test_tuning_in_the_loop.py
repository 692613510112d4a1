"""Tunings as training runs them: what should move moves, the rest keeps its bits, and the settings of the backbones do what they say."""

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import runs
from checkpoints import tiny_bert, tiny_clip, tiny_efficientnet, tiny_gpt2, tiny_llama, tiny_vit
from omnitune.commands.fit import fit
from omnitune.component import find, kinds
from omnitune.data.prepared import Prepared, prepare
from omnitune.errors import Mistake
from omnitune.evaluation.assess import cost
from omnitune.modalities import Modality
from omnitune.recipe import read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.optim import groups
from omnitune.training.rungs import Rungs
from omnitune.tuning import Tuning

pytestmark = pytest.mark.slow

TEXTS = {"bert": tiny_bert, "gpt2": tiny_gpt2, "llama": tiny_llama}
PICTURES = {"vit": tiny_vit, "clip": tiny_clip}
NAMES = [*TEXTS, *PICTURES]
BLOCKS = {"bert": "encoder.layer.", "gpt2": "h.", "llama": "layers.", "vit": "layers.", "clip": "encoder.layers."}
TAILS = {"bert": (), "gpt2": ("ln_f.",), "llama": ("norm.",), "vit": ("layernorm.",), "clip": ("post_layernorm.",)}
"""Where each of them keeps its three blocks and what comes after, read off their own source."""
TUNINGS = {"full": {}, "probe": {}, "freeze": {"blocks": 1}, "bias": {}, "lora": {"rank": 2}, "auto": {}}


def checkpoint(name: str) -> Path:
    return (TEXTS | PICTURES)[name]()


def ready(name: str, tuning: str, *overrides: str, folder: Path | None = None) -> tuple[Model, Prepared]:
    """A model with one input and one task as training starts, tuned; chance is in its backbone only."""
    kind = "text" if name in TEXTS else "image"
    more = {"augment": False} if kind == "image" else {}
    values: list[Any] = find(Modality, kind)().example(24, np.random.default_rng(0))  # type: ignore[type-abstract]
    values[5] = None  # so that what stands in for a missing value learns too
    recipe = read(
        {
            "data": {"from": [{"x": x, "y": "ab"[i % 2]} for i, x in enumerate(values)], "split": [1, 0, 0]},
            "inputs": {"x": {"kind": kind, "backbone": str(folder or checkpoint(name)), **more}},
            "tasks": {"y": {"kind": "classify", "target": "y", "dropout": 0}},
            "fusion": {"kind": "concat", "dropout": 0, "hide": 0},
            "tuning": {"kind": tuning} | TUNINGS[tuning],
            "train": {"epochs": 1, "batch": 12, "lr": 1e-3, "head_lr": 1e-2, "warmup": 0},
        },
        overrides,
    )
    prepared = prepare(recipe)
    train, _ = auto.resolve(recipe, 24, torch.device("cpu"))
    prepared = replace(prepared, recipe=recipe.replace(train=train))
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    return model, prepared


def loop(model: Model, prepared: Prepared) -> Loop:
    train = prepared.recipe.train
    return Loop(model, prepared.batches("train", int(train.batch), train.seed), train, {"y": 1.0})


def backbone(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those of the Hugging Face model, under its own names."""
    return {name.partition(".backbone.model.")[2]: w for name, w in weights.items() if ".backbone." in name}


def to_move(name: str, tuning: str, weights: list[str]) -> set[str]:
    """The weights of a backbone that should move, by their names alone."""
    read = {w for w in weights if not w.startswith("pooler.")}
    last = (f"{BLOCKS[name]}2.", *TAILS[name])
    norms = ("norm.weight", "ln_1.weight", "ln_2.weight", "ln_f.weight", "norm1.weight", "norm2.weight", "layrnorm.weight", "LayerNorm.weight")
    return {
        "full": read,
        "probe": set(),
        "auto": set(),  # by itself the first rung of the ladder, the probe
        "freeze": {w for w in read if w.startswith(last)},
        "bias": {w for w in read if w.endswith(("bias", "layernorm_before.weight", "layernorm_after.weight", *norms))},
        "lora": {w for w in weights if "lora_" in w},
    }[tuning]


def test_every_tuning_is_tried() -> None:
    assert set(TUNINGS) == set(kinds(Tuning))


@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("name", NAMES)
def test_two_steps_move_what_should_move_and_nothing_else(name: str, tuning: str) -> None:
    model, prepared = ready(name, tuning)
    before = {n: w.detach().clone() for n, w in model.state_dict().items()}
    run = loop(model, prepared)
    assert len(list(run)) == 2
    moved = {n: w for n, w in model.state_dict().items() if not torch.equal(w, before[n])}
    inside = backbone(before)
    assert set(backbone(moved)) == to_move(name, tuning, list(inside))
    heads = {n for n in before if ".backbone." not in n and not n.endswith("temperature")}
    assert heads == {n for n in moved if ".backbone." not in n} != set()

    facts = cost(run, [])
    assert facts["parameters_trainable"] == sum(before[n].numel() for n in moved)
    assert facts["parameters_total"] == sum(p.numel() for p in model.parameters())


def test_parameters_are_counted_as_by_hand() -> None:
    embeddings = (300 + 96 + 2) * 32 + 2 * 32
    attention, layer = 4 * (32 * 32 + 32) + 2 * 32, (32 * 48 + 48) + (48 * 32 + 32) + 2 * 32
    block, head = attention + layer, 32 * 2 + 2 + 32  # with the vector that stands in for a missing value
    biases = 2 * 32 + 3 * (4 * 32 + 2 * 32 + 48 + 32 + 2 * 32)  # norms with them
    adapters = 3 * 2 * (4 * (32 + 32) + 2 * (32 + 48))
    learn = {"full": embeddings + 3 * block, "probe": 0, "freeze": block, "bias": biases, "lora": adapters}
    for tuning, inside in learn.items():
        facts = cost(loop(*ready("bert", tuning)), [])
        assert facts["parameters_trainable"] == inside + head, tuning
        assert facts["parameters_total"] == embeddings + 3 * block + head + (adapters if tuning == "lora" else 0), tuning


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_rates_fall_with_every_block_below_the_top(name: str, tuning: str) -> None:
    model, prepared = ready(name, tuning, "train.layer_decay=0.5")
    rates = {id(p): group["lr"] for group in groups(model, prepared.recipe.train) for p in group["params"]}
    assert len(rates) == len(model.learning())
    for parameter, weight in model.learning().items():
        inside = parameter.partition(".backbone.model.")[2]
        if not inside:
            depth, rate = 0, 1e-2
        elif inside.startswith(BLOCKS[name]):
            depth, rate = 2 - int(inside.removeprefix(BLOCKS[name])[0]), 1e-3
        else:
            depth, rate = (0 if inside.startswith(TAILS[name] or "none") else 3), 1e-3
        assert rates[id(weight)] == pytest.approx(rate * 0.5**depth), parameter


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers in the old way
@pytest.mark.parametrize("tuning", ["freeze", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_checkpointing_changes_no_loss(name: str, tuning: str, tmp_path: Path) -> None:
    folder = with_dropout(name, tmp_path)
    runs = []
    for on in ("false", "true"):
        model, prepared = ready(name, tuning, f"train.checkpointing={on}", "train.narrow=false", folder=folder)
        torch.manual_seed(1)
        runs.append(([(step.losses, step.norm) for step in loop(model, prepared)], model))
    (losses, plain), (again, lean) = runs
    assert losses == again
    assert all(torch.equal(w, plain.state_dict()[n]) for n, w in lean.state_dict().items())
    assert lean.backbones["x"].model.is_gradient_checkpointing and not plain.backbones["x"].model.is_gradient_checkpointing


def test_a_model_that_cannot_checkpoint_is_named() -> None:
    with pytest.raises(Mistake, match=r"train\.checkpointing: EfficientNetModel cannot do it"):
        ready("vit", "full", "train.checkpointing=true", folder=tiny_efficientnet())


def with_dropout(name: str, folder: Path) -> Path:
    """The checkpoint with all dropout that its family knows set to a half."""
    made = shutil.copytree(checkpoint(name), folder / name)
    config = json.loads((made / "config.json").read_text())
    for part in (config, config.get("vision_config", {})):
        part |= {key: 0.5 for key, value in part.items() if isinstance(value, float) and ("drop" in key)}
    (made / "config.json").write_text(json.dumps(config))
    return made


@pytest.mark.parametrize("tuning", ["full", "lora"])
@pytest.mark.parametrize("name", NAMES)
def test_dropout_zero_turns_all_dropout_off(name: str, tuning: str, tmp_path: Path) -> None:
    folder = with_dropout(name, tmp_path)
    for off in (True, False):
        model, prepared = ready(name, tuning, *(["train.dropout=0"] if off else ["train.attention_dropout=checkpoint"]), folder=folder)
        question = prepared.batches("train", 12).question(np.arange(12))
        learning, reading = (model.train(mode).losses(question)["y"].sum.item() for mode in (True, False))
        assert (learning == reading) == off


@pytest.mark.parametrize("tuning", ["lora"])
@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_trains(name: str, tuning: str) -> None:
    half, whole = (ready(name, tuning, f"train.precision={precision}") for precision in ("bfloat16", "float32"))
    steps = list(loop(*half))
    assert all(np.isfinite(step.losses["y"]) and np.isfinite(step.norm) for step in steps)
    assert all(p.dtype == torch.float32 for p in half[0].parameters()), "weights stay whole"
    exact = next(iter(loop(*whole))).losses["y"]
    assert steps[0].losses["y"] != exact
    assert steps[0].losses["y"] == pytest.approx(exact, rel=0.1)


def test_the_dropout_of_adapters_is_their_own() -> None:
    model, _ = ready("bert", "lora", "tuning.dropout=0.3", "train.dropout=0")
    shares = {name: module.p for name, module in model.named_modules() if isinstance(module, torch.nn.Dropout) and "backbone" in name}
    assert {share for name, share in shares.items() if "lora_dropout" in name} == {0.3}
    assert {share for name, share in shares.items() if "lora_dropout" not in name} == {0.0}


@pytest.mark.parametrize("tuning", ["lora", "{kind: auto, top: lora}"])
def test_adapters_are_not_put_beside_weights_that_never_learned(tuning: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="the backbone of text starts from nothing"):
        fit(runs.language_recipe([{"text": f"item {i} is red"} for i in range(40)], f"tuning={tuning}"), tmp_path / "run")


def test_the_last_rung_above_a_backbone_from_nothing_is_all_of_it() -> None:
    recipe = runs.language_recipe([{"text": f"item {i} is red"} for i in range(40)], "tuning=auto")
    model, prepared = runs.ready(recipe)
    assert Rungs(model, prepared, time.monotonic).choose("top")[1].startswith("a backbone starts from nothing")
