"""Trials that learn together: each ends where the loop ends that tries it alone, whatever is learned, and whatever the others do."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune.commands import _space
from omnitune.commands._tries import Tries, Try
from omnitune.component import find
from omnitune.data import store as cache
from omnitune.data.held import Held
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.validate import Validate
from omnitune.modalities import Modality
from omnitune.recipe import Recipe, read
from omnitune.training import auto, optim, trials
from omnitune.training.features import hold
from omnitune.training.loop import Diverged, Loop
from omnitune.training.model import Model, tune
from runs import rows as table_rows
from runs import table_recipe

SETTINGS = [
    {"head_lr": 0.02, "weight_decay": 0.01, "dropout": 0.1, "epochs": 4.0},
    {"head_lr": 0.05, "weight_decay": 0.3, "dropout": 0.0, "epochs": 2.0},
    {"head_lr": 0.003, "weight_decay": 0.0, "dropout": 0.5, "epochs": 4.0},
    {"head_lr": 0.3, "weight_decay": 0.1, "dropout": 0.1, "epochs": 3.0},
]
TASKS: dict[str, dict[str, Any]] = {
    "classify": {"kind": "classify", "target": "class", "class_weights": "balanced", "label_smoothing": 0.1},
    "label": {"kind": "label", "target": "tags"},
    "regress": {"kind": "regress", "target": "value"},
}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "activations")


def answers(n: int) -> list[dict[str, Any]]:
    """Answers of three tasks, some missing."""
    rng = np.random.default_rng(0)
    return [
        {
            "class": None if i % 11 == 3 else "ab"[i % 2],
            "tags": None if i % 7 == 2 else [tag for tag in ("red", "round") if rng.random() < 0.5],
            "value": None if i % 5 == 1 else float(rng.normal(100, 20)),
        }
        for i in range(n)
    ]


def text_recipe(tasks: list[str], *overrides: str) -> Recipe:
    values: list[Any] = find(Modality, "text")().example(48, np.random.default_rng(0))  # type: ignore[type-abstract]
    values[5] = values[17] = values[30] = None
    return read(
        {
            "data": {"from": [{"x": x} | a for x, a in zip(values, answers(48), strict=True)], "split": [0.7, 0.3, 0]},
            "inputs": {"x": {"kind": "text", "backbone": str(checkpoints.ALL["bert"]())}},
            "tasks": {name: TASKS[name] | {"weight": 1.0 + i} for i, name in enumerate(tasks)},
            "tuning": "probe",
            "train": {"batch": 8, "lr": 0.05, "head_lr": 0.05, "clip": 0.5, "average": 9},
        },
        overrides,
    )


def table(*overrides: str) -> Recipe:
    """Numbers and a category; small encoders and the fusion learn as well, inputs are hidden at random, and categories augmented."""
    return table_recipe(table_rows(80), "data.split=[0.7, 0.3, 0]", "train.clip=0.5", "train.average=9", *overrides)


def resolved(recipe: Recipe) -> Prepared:
    prepared = prepare(recipe)
    train, _ = auto.resolve(recipe, len(prepared.parts["train"]), torch.device("cpu"))
    return replace(prepared, recipe=recipe.replace(train=train))


def alone(prepared: Prepared, setting: _space.Setting) -> Loop:
    """The normal loop, with nothing kept and nothing held."""
    recipe = _space.apply(prepared.recipe, setting)
    recipe = recipe.replace(train=recipe.train.replace(cache=0.0))
    prepared, train = replace(prepared, recipe=recipe), recipe.train
    torch.manual_seed(train.seed)
    model = Model(recipe, prepared.schema)
    tune(model, recipe)
    validate = Validate(model, prepared)
    weights = {name: task.weight for name, task in recipe.tasks.items()}
    return Loop(model, prepared.batches("train", int(train.batch), train.seed), train, weights, validate, validate.higher(train.stop_on))


def together(prepared: Prepared, settings: list[_space.Setting], monkeypatch: pytest.MonkeyPatch) -> tuple[list[trials.Trial], list[Try]]:
    """All at once, as a search does it."""
    found: list[trials.Trial] = []
    run = trials.Stack.run
    tries = Tries(prepared)
    assert tries.alone is None
    with monkeypatch.context() as patch:
        patch.setattr(trials.Stack, "run", lambda stack: found.extend(run(stack)) or found)
        return found, list(tries.run(dict(enumerate(settings))))


def same(recipe: Recipe, monkeypatch: pytest.MonkeyPatch, settings: list[_space.Setting] = SETTINGS) -> None:
    prepared = resolved(recipe)
    found, _ = together(prepared, settings, monkeypatch)
    for trial, setting in zip(found, settings, strict=True):
        loop = alone(prepared, setting)
        norms = [step.norm for step in loop]
        assert not loop.train.clip or max(norms) > loop.train.clip, "no gradient was clipped"
        assert trial.progress.step == loop.progress.step and trial.progress.stopped == loop.progress.stopped
        assert trial.kept.keys() == loop.kept.keys() and trial.kept
        assert sorted(trial.progress.best, key=lambda b: b[1]) == [
            (pytest.approx(score, rel=1e-5, abs=1e-5), step) for score, step in sorted(loop.progress.best, key=lambda b: b[1])
        ]
        for step, weights in loop.kept.items():
            for name, weight in weights.items():
                torch.testing.assert_close(trial.kept[step][name], weight, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tasks", [["classify"], ["label"], ["regress"], ["regress", "classify", "label"]], ids=" ".join)
def test_heads_on_a_text(tasks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    same(text_recipe(tasks), monkeypatch)


def test_small_encoders_and_a_fusion(monkeypatch: pytest.MonkeyPatch) -> None:
    gentle = [setting | {"head_lr": setting["head_lr"] / 20} for setting in SETTINGS]  # at large steps rounding grows beyond what is asked here
    same(table(), monkeypatch, gentle)


def test_nothing_is_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    same(text_recipe(["classify"], "train.clip=0"), monkeypatch)


def test_a_batch_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    same(text_recipe(["classify", "regress"], "train.micro_batch=3"), monkeypatch)


@pytest.mark.parametrize("optimizer", sorted(optim.PROPORTIONAL - {"adamw"}))
def test_optimisers(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """RMSprop at the rates that suit it: its first steps are ten times as long, and at .02 they make noise of 6e-8 in a weight 4e-6."""
    rate = 0.1 if optimizer == "rmsprop" else 1.0
    settings = [setting | {"head_lr": rate * float(setting["head_lr"])} for setting in SETTINGS[:3]]
    same(text_recipe(["classify"], f"train.optimizer={optimizer}", "train.schedule=linear"), monkeypatch, settings)


def test_patience_and_a_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = text_recipe(["regress", "classify"], "train.patience=1", "train.average=1", "train.stop_on=regress.mae", "train.schedule=constant")
    same(recipe, monkeypatch)
    same(text_recipe(["classify"], "train.average=2", "train.stop_on=classify.auroc", "train.validate_every=0.7"), monkeypatch)


def test_augmented_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of them is held, but each is read once for all trials."""
    values: list[Any] = find(Modality, "image")().example(24, np.random.default_rng(0))  # type: ignore[type-abstract]
    recipe = read(
        {
            "data": {"from": [{"x": x} | a for x, a in zip(values, answers(24), strict=True)], "split": [0.7, 0.3, 0]},
            "inputs": {"x": {"kind": "image", "backbone": str(checkpoints.ALL["vit"]())}},
            "tasks": {"classify": TASKS["classify"]},
            "tuning": "probe",
            "train": {"batch": 8, "head_lr": 0.05, "clip": 0.5, "average": 9},
        }
    )
    same(recipe, monkeypatch, SETTINGS[:2])


def test_one_that_diverges_harms_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = resolved(text_recipe(["regress"], "train.clip=0", "train.optimizer=sgd", "tasks.regress.loss=mse", "train.warmup=0"))
    wild = {"head_lr": 1e30, "weight_decay": 0.0, "dropout": 0.1, "epochs": 4.0}
    found, tried = together(prepared, [SETTINGS[2], wild], monkeypatch)
    by_itself, _ = together(prepared, [SETTINGS[2]], monkeypatch)
    scores = [{step: score for score, step in one.progress.best} for one in (found[0], by_itself[0])]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    assert tried[0].score and not tried[0].failed
    assert tried[1].score is None and "no longer finite" in tried[1].failed
    with pytest.raises(Diverged):
        list(alone(prepared, wild))


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["tuning={kind: freeze, blocks: 1}"], "weights of a backbone learn"),
        (["fusion=attend"], "fusion attend reads single tokens"),
        (["train.minutes=1"], "train.minutes ties the rate to the clock"),
        (["train.optimizer=rprop"], "the steps of rprop depend on the weights"),
    ],
)
def test_what_cannot_learn_together(overrides: list[str], why: str) -> None:
    assert Tries(resolved(text_recipe(["classify"], *overrides))).alone == why


@pytest.mark.parametrize("name", sorted(optim.PROPORTIONAL))
def test_a_step_is_a_rate_times_a_direction(name: str) -> None:
    train = auto.resolve(table(), 50, torch.device("cpu"))[0].replace(optimizer=name)
    weight, gradient = torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)), torch.linspace(2, -3, 12).view(3, 4)
    own = getattr(torch.optim, optim.NAMES[name])([weight], lr=0.01, weight_decay=0.0, **({"momentum": 0.9} if name == "sgd" else {}))
    wanted, step = weight.detach().clone(), torch.nn.Parameter(torch.zeros(3, 4))
    made = optim.direction(step, train)
    for i in range(4):
        weight.grad, step.grad = gradient * (i - 2), gradient * (i - 2)
        own.step()
        step.data.zero_()
        made.step()
        wanted += 0.01 * step.detach()
    torch.testing.assert_close(weight.detach(), wanted, rtol=1e-5, atol=1e-6)


def test_each_row_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = resolved(text_recipe(["classify"]))
    tries = Tries(prepared)
    prefix = tries.frozen.prefixes["x"]
    list(tries.run(dict(enumerate(SETTINGS))))
    tries.close()
    assert prefix.computed == len(prepared.answered) + len(prepared.parts["validation"])
    later = Tries(prepared)
    list(later.run(dict(enumerate(SETTINGS))))
    assert later.frozen.prefixes["x"].computed == 0


def test_what_is_held_is_what_batches_say() -> None:
    prepared = resolved(text_recipe(["classify", "regress"]))
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    batches = prepared.batches("train", 8, 0)
    with torch.no_grad():
        wanted = [model.eval().losses(question) for question in batches.epoch(3)]
        held = Held(batches, hold(model, prepared, ("train",)))
        found = [model.losses(question) for question in held.epoch(3)]
    assert [question.rows.tolist() for question in held.epoch(3, 2)] == [rows.tolist() for rows in batches.order(3)[2:]]
    for one, other in zip(wanted, found, strict=True):
        for task in one:
            torch.testing.assert_close(one[task].mean, other[task].mean)
