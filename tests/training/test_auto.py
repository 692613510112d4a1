"""Auto: every value is chosen, with a reason; what the user chose stays."""

import dataclasses
from typing import get_args

import pytest
import torch

from checkpoints import tiny_bert, tiny_efficientnet, tiny_vit
from omnitune.component import kinds
from omnitune.recipe import Recipe, Train, read
from omnitune.training import auto
from omnitune.tuning import Tuning
from runs import table_recipe

CPU = torch.device("cpu")
AUTO = [f.name for f in dataclasses.fields(Train) if f.default == "auto"]
GIVEN = {
    "epochs": 7.0,
    "batch": 5,
    "micro_batch": 3,
    "lr": 0.125,
    "head_lr": 0.25,
    "precision": "bfloat16",
    "attention_dropout": 0.25,
    "compile": True,
}


def recipe(*overrides: str, backbone: str | None = None, kind: str = "text") -> Recipe:
    values = {
        "data": "rows.csv",
        "inputs": {"x": {"kind": kind, "backbone": backbone or str(tiny_bert())}},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
    }
    return read(values, overrides)


def test_every_field_that_may_be_auto_is_so_by_default_and_has_a_rule() -> None:
    may = {f.name for f in dataclasses.fields(Train) if "auto" in str(f.type)}
    assert may == set(AUTO) == set(auto.RULES) == set(GIVEN)


@pytest.mark.parametrize("tuning", list(kinds(Tuning)))
@pytest.mark.parametrize("rows", [1, 7, 100, 5000, 10**7])
def test_everything_is_resolved_with_a_reason(tuning: str, rows: int) -> None:
    train, reasons = auto.resolve(recipe(f"tuning={tuning}"), rows, CPU)
    for field in AUTO:
        value = getattr(train, field)
        assert value != "auto"
        assert reasons[f"train.{field}"].startswith(f"{value}: ") and len(reasons[f"train.{field}"]) > len(f"{value}: ") + 10
    assert set(reasons) == {f"train.{field}" for field in AUTO}
    assert 1 <= train.micro_batch <= train.batch <= max(rows, 1)
    assert 0 < train.lr <= 1e-2 and 0 < train.head_lr <= 1e-2 and train.epochs >= 3


@pytest.mark.parametrize("field", AUTO)
def test_what_is_given_is_left_alone(field: str) -> None:
    train, reasons = auto.resolve(recipe(f"train.{field}={GIVEN[field]}"), 500, CPU)
    assert getattr(train, field) == GIVEN[field]
    assert f"train.{field}" not in reasons and len(reasons) == len(AUTO) - 1


def test_nothing_else_changes() -> None:
    before = recipe("train.seed=3", "train.patience=2", "train.clip=0.5").train
    train, _ = auto.resolve(recipe("train.seed=3", "train.patience=2", "train.clip=0.5"), 500, CPU)
    for field in dataclasses.fields(Train):
        assert field.name in AUTO or getattr(train, field.name) == getattr(before, field.name)
    again, reasons = auto.resolve(recipe().replace(train=train), 10, CPU)
    assert again == train and not reasons


def test_values_follow_those_that_are_given() -> None:
    train, _ = auto.resolve(recipe("train.batch=64"), 500, CPU)
    assert train.micro_batch == 64
    large = recipe("train.batch=512", backbone=str(tiny_vit()), kind="image")
    assert [auto.resolve(large, 2000, torch.device(device))[0].micro_batch for device in ("cpu", "cuda")] == [128, 512]
    assert auto.resolve(table_recipe("rows.csv", "train.batch=512"), 2000, CPU)[0].micro_batch == 512
    few, many = (auto.resolve(recipe("train.batch=16"), rows, CPU)[0].epochs for rows in (100, 100_000))
    assert few > many


def test_rates_fit_what_learns() -> None:
    rate = {tuning: auto.resolve(recipe(f"tuning={tuning}"), 500, CPU)[0].lr for tuning in kinds(Tuning)}
    assert all(rate["full"] <= value for value in rate.values())
    small = auto.resolve(recipe(backbone=str(tiny_vit()), kind="image"), 500, CPU)[1]["train.lr"]
    assert "width 768" in small and "here 32" in small
    assert "convolutional" in auto.resolve(recipe(backbone=str(tiny_efficientnet()), kind="image"), 500, CPU)[1]["train.lr"]
    assert "no pretrained weight" in auto.resolve(table_recipe([]), 500, CPU)[1]["train.lr"]


def test_norms_behind_ask_for_smaller_steps() -> None:
    rates = {}
    for name, backbone in {"xl": {"kind": "transformer_xl"}, "gpt1": {"kind": "gpt", "generation": "gpt1"}, "gpt2": {"kind": "gpt"}}.items():
        values = {"data": "rows.csv", "inputs": {"x": {"kind": "text", "backbone": backbone}}, "tasks": {"y": {"kind": "generate", "of": "x"}}}
        train, reasons = auto.resolve(read(values), 500, CPU)
        rates[name] = train.lr
        assert ("norms behind" in reasons["train.lr"]) == (name != "gpt2")
    assert rates == {"xl": 4e-4, "gpt1": 4e-4, "gpt2": 1e-3}


def test_wider_heads_learn_in_smaller_steps(tmp_path) -> None:
    from transformers import BertConfig

    BertConfig(hidden_size=768, num_hidden_layers=1).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").touch()  # a rate needs the shape alone
    wide = auto.resolve(recipe(backbone=str(tmp_path)), 500, CPU)[0].head_lr
    assert wide == pytest.approx(auto.resolve(recipe(), 500, CPU)[0].head_lr / 2, rel=0.4)
    for fusion in ("attend", "cross"):
        assert wide > auto.resolve(recipe(f"fusion={fusion}", backbone=str(tmp_path)), 500, CPU)[0].head_lr
    assert wide == auto.resolve(recipe("fusion=gated", backbone=str(tmp_path)), 500, CPU)[0].head_lr


def test_a_decoder_bears_smaller_steps_than_a_linear_head() -> None:
    vit = {"kind": "vit", "depth": 1, "width": 32, "heads": 1}
    values = {"data": {"from": []}, "inputs": {"x": {"kind": "image", "backbone": vit}}}
    tasks = {"picture": {"kind": "masked_image", "of": "x"}, "y": {"kind": "classify", "target": "y"}}
    both, one = (auto.resolve(read(values | {"tasks": {name: tasks[name] for name in names}}), 500, CPU)[0] for names in (tasks, ["y"]))
    assert both.head_lr == both.lr == 1e-3 < one.head_lr


def test_precision_is_one_the_recipe_knows() -> None:
    from omnitune.training.device import best_device, precision

    assert precision(CPU) == "float32"
    assert precision(best_device()) in get_args(Train.__dataclass_fields__["precision"].type)


def test_a_resolved_recipe_reads_back(tmp_path) -> None:
    made = recipe()
    resolved = made.replace(train=auto.resolve(made, 500, CPU)[0])
    resolved.write(tmp_path / "recipe.yaml")
    assert read(tmp_path / "recipe.yaml") == resolved
