"""Every part that makes a run fast can be turned off by one field of the recipe, with the same numbers; and the report says what was done."""

from pathlib import Path
from typing import Any

import pytest
import torch

import checkpoints
from omnitune.commands.fit import fit
from omnitune.data import store
from omnitune.recipe import Recipe, read
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from runs import ready

WORDS = " ".join(checkpoints.SENTENCES).split()
ROWS = [{"x": " ".join(WORDS[i : i + 1 + i * 7 % 19]), "y": "ab"[i % 2]} for i in range(40)]
OFF = {
    "freeze": ["train.cache=0", "train.flat=false", "train.narrow=false"],
    "lora": ["train.flat=false", "train.narrow=false", "tuning.one_product=false"],
    "full": ["train.flat=false", "train.narrow=false"],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "kept")


def recipe(tuning: str, *overrides: str) -> Recipe:
    return read(
        {
            "data": {"from": ROWS, "split": [0.6, 0.2, 0.2]},
            "inputs": {"x": {"kind": "text", "backbone": {"kind": "pretrained", "name": str(checkpoints.tiny_bert()), "pool": "first"}}},
            "tasks": {"y": {"kind": "classify", "target": "y", "dropout": 0}},
            "tuning": tuning,
            "train": {"epochs": 2, "batch": 6, "optimizer": "sgd", "lr": 0.05, "head_lr": 0.05, "dropout": 0},
        },
        overrides,
    )


def losses(asked: Recipe) -> tuple[list[float], Model]:
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    train: Any = prepared.recipe.train
    found = [step.losses["y"] for step in Loop(model, frozen.prepared.batches("train", train.batch, 0), train, {"y": 1.0})]
    frozen.close()
    return found, model


@pytest.mark.parametrize(("tuning", "off"), [(tuning, off) for tuning, fields in OFF.items() for off in fields])
def test_the_same_losses_without_it(tuning: str, off: str) -> None:
    (on, fast), (without, slow) = losses(recipe(tuning)), losses(recipe(tuning, off))
    torch.testing.assert_close(torch.tensor(on), torch.tensor(without), rtol=1e-5, atol=1e-5)
    if off in ("train.flat=false", "train.narrow=false"):
        assert fast.paths() != slow.paths()


def test_the_report_says_how_inputs_were_read(tmp_path: Path) -> None:
    fast = fit(recipe("full"), tmp_path / "fast").report.cost
    slow = fit(recipe("full", "train.flat=false", "train.narrow=false"), tmp_path / "slow").report.cost
    assert fast["texts of x"] == "flat rows, no padding" and fast["last block of x"] == "the first token alone"
    assert slow["texts of x"].startswith("padded: train.flat is false; ") and slow["texts of x"].endswith("% of the tokens were padding")
    assert 1 < float(slow["texts of x"].split("; ")[1].split("%")[0]) < 60 and "last block of x" not in slow
    assert "flat rows, no padding" in (tmp_path / "fast" / "report.md").read_text()
