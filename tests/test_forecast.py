"""Series in the same loop: foretold from nothing, measured against naive ones, saved, gone on with, beside answers."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitune import Artifact, Mistake, compare, fit, infer, load
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read
from omnitune.training.model import Model
from runs import cut_and_resumed, same_weights

TASKS: dict[str, Any] = {"next": {"kind": "forecast", "of": "wave", "horizon": 6, "period": 12}}


def rows(n: int = 160) -> list[dict[str, Any]]:
    """Seasons of twelve with a level, an ascent and a phase of their own; gaps, short, missing and constant ones among them."""
    rng = np.random.default_rng(0)
    made: list[dict[str, Any]] = []
    for _ in range(n):
        t = np.arange(int(rng.integers(30, 50)))
        wave = 100 + 10 * rng.normal() + rng.uniform(2, 6) * np.sin(2 * np.pi * (t + rng.integers(12)) / 12) + rng.normal(0, 0.2, len(t))
        made.append({"wave": [None if k == 9 else float(x) for k, x in enumerate(wave)], "high": "yes" if wave.mean() > 100 else "no"})
    made[3]["wave"], made[5]["wave"], made[7]["wave"] = None, [1.0, 2.0, 3.0], [4.0] * 30
    return made


def recipe(tasks: Any = TASKS, source: Any = None, series: Any = None, **train: Any) -> Recipe:
    inputs = {"wave": {"kind": "series", "patch": 4, "width": 32, "layers": 1, "causal": True, "scale": "row"} | (series or {})}
    settings = {"epochs": 25, "batch": 16} | train
    return read({"data": {"from": source or rows(), "split": [0.6, 0.2, 0.2]}, "inputs": inputs, "tasks": tasks, "train": settings})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("forecast") / "run")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    task = trained.report.tasks["next"]
    mase = {model: figures["mase"]["value"] for model, figures in task["metrics"]["models"].items()}
    assert set(mase) == {"constant", "naive", "seasonal", "simple", "before", "after"}
    assert mase["after"] < 0.7 * mase["naive"] and mase["after"] < 0.7 * mase["before"] and mase["seasonal"] < mase["naive"]
    assert set(task["baselines"]) == set(mase) - {"after"} and "12 numbers before" in task["baselines"]["seasonal"]
    assert "mase" in (trained.path / "report.md").read_text()


def test_what_is_measured_is_what_a_plain_loop_measures(trained: Artifact) -> None:
    errors, scaled = [], []
    for row in prepare(recipe()).parts["test"]:
        wave = rows()[row]["wave"]
        if wave is None or len(wave) <= 6:
            continue
        shown, hidden = wave[:-6], np.array(wave[-6:])
        said = np.array(trained.predict([{"wave": shown}])[0]["next"]["value"])
        steps = [abs(b - a) for a, b in pairwise(shown) if a is not None and b is not None]
        errors.append(np.abs(said - hidden))
        if np.mean(steps):
            scaled.append(errors[-1].mean() / np.mean(steps))
    assert trained.report.value("next", "mae") == pytest.approx(np.mean(errors), rel=1e-4)
    assert trained.report.value("next", "mase") == pytest.approx(np.mean(scaled), rel=1e-4)
    assert trained.report.tasks["next"]["metrics"]["rows"] == len(errors)


def test_rivals_are_what_they_say(trained: Artifact) -> None:
    naive, seasonal = [], []
    for row in prepare(recipe()).parts["test"]:
        wave = rows()[row]["wave"]
        if wave is not None and len(wave) > 12 + 6:
            naive += [abs(wave[-7] - x) for x in wave[-6:]]
            seasonal += [abs(wave[-12 + i - 6] - x) for i, x in enumerate(wave[-6:]) if wave[-12 + i - 6] is not None]
    models = trained.report.tasks["next"]["metrics"]["models"]
    assert models["naive"]["mae"]["value"] == pytest.approx(np.mean(naive), rel=0.05)
    assert models["seasonal"]["mae"]["value"] == pytest.approx(np.mean(seasonal), rel=0.05)


def test_it_continues_a_series_however_it_is_given(trained: Artifact) -> None:
    wave = rows()[0]["wave"]
    (answer,) = trained.predict([{"wave": wave}])
    assert len(answer["next"]["value"]) == 6
    for given in (
        {"wave": wave},
        {"wave": json.dumps(wave)},
        {"wave": " ".join("NA" if x is None else str(x) for x in wave)},
        {"wave": np.array(wave, float)},
    ):
        assert trained.predict(given)["next"]["value"] == pytest.approx(answer["next"]["value"], rel=1e-4)
    columns = trained.predict({"wave": [wave, None]})
    columns += trained.predict([{"wave": odd} for odd in ([1.0, 2.0], "1 oops", [1.0, float("inf")])])
    assert columns[0]["next"]["value"] == pytest.approx(answer["next"]["value"], rel=1e-4) and columns[1]["next"]["value"] is None
    assert len(columns[2]["next"]["value"]) == 6 and "no finite number" in columns[3]["error"] and "value 2 of 2 is 'inf'" in columns[4]["error"]
    assert trained.predict([{"wave": [3e9 + x for x in wave if x]}])[0]["next"]["value"][0] == pytest.approx(3e9 + 100, abs=1e4)


def test_saved_and_loaded_it_says_the_same(trained: Artifact) -> None:
    assert load(trained.path).predict(rows()[:3]) == trained.predict(rows()[:3])


def test_the_same_seed_gives_the_same_bits_and_resuming_too(trained: Artifact, tmp_path: Path) -> None:
    resumed = cut_and_resumed(recipe(save_minutes=1e-9), tmp_path / "off", 20)
    assert same_weights(trained, resumed)
    shared = compare(trained.path, tmp_path / "off")["tasks"]["next"]
    assert shared["shared"] and not shared["only_a"] and shared["metrics"]["differences"]["a"]["mase"]["value"] == 0


@pytest.mark.parametrize("horizon", [1, 4, 7, 40])
def test_any_horizon_is_foretold_patch_by_patch(horizon: int, tmp_path: Path) -> None:
    """Also longer than all of most series, and beside a class."""
    tasks = {"next": {"kind": "forecast", "of": "wave", "horizon": horizon, "loss": "mse"}, "high": {"kind": "classify", "target": "high"}}
    made = fit(recipe(tasks, series={"scale": "train"}, epochs=1), tmp_path / "run")
    (answer,) = made.predict([{"wave": [1.0, 2.0, 3.0]}])
    assert len(answer["next"]["value"]) == horizon and set(answer["high"]) == {"value", "probabilities"}


def test_the_loss_asks_for_the_patch_behind_every_patch() -> None:
    prepared = prepare(recipe({"next": {"kind": "forecast", "of": "wave", "horizon": 4}}, series={"scale": "train"}))
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema).eval()
    row = next(row for row in prepared.parts["train"] if row not in (3, 5, 7))
    question = prepared.batches("train", 1).question(np.array([row]), np.random.default_rng(0))
    batch, target = question.asked["next"]
    facts, wave = prepared.schema.inputs["wave"], [x if x is None else (x - prepared.schema.inputs["wave"]["centre"]) for x in rows()[row]["wave"]]
    assert batch.inputs["wave"]["values"].shape[1] == len(wave) - 4
    with torch.no_grad():
        tokens = model(batch).streams["wave"].x_BLD[0]
        said = model.head("next").linear(tokens) * facts["spread"]
        loss = model.losses(question)["next"]
    starts = range(len(wave) - 4 * len(tokens), len(wave), 4)
    errors = [
        torch.nn.functional.huber_loss(said[k, i] / facts["spread"], torch.tensor(wave[start + i] / facts["spread"]))
        for k, start in enumerate(starts) for i in range(4) if wave[start + i] is not None
    ]  # fmt: skip
    torch.testing.assert_close(loss.mean, torch.stack(errors).mean().float(), rtol=1e-4, atol=1e-5)
    assert target["weight"].tolist() == [1.0]


def test_batches_change_nothing_in_what_is_measured() -> None:
    prepared = prepare(recipe())
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema).eval()
    with torch.no_grad():
        whole = model.answers(prepared.batches("test", 8).question(prepared.parts["train"][:9]))["next"][0]
        parts = [model.answers(prepared.batches("test", 8).question(prepared.parts["train"][i : i + 1]))["next"][0] for i in range(9)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("task", "series", "wrong"),
    [
        ({"of": "wafe"}, {}, "'wafe' is no series input.*Did you mean 'wave'"),
        ({}, {"causal": False}, "sees the numbers that it would be asked for.*causal: true"),
        ({"horizon": 0}, {}, "horizon"),
        ({}, {"heads": 5}, "must divide width 32"),
    ],
)
def test_what_cannot_be_foretold_is_said(task: Any, series: Any, wrong: str) -> None:
    with pytest.raises(Mistake, match=wrong):
        prepare(recipe({"next": TASKS["next"] | task}, series=series))


def test_a_bad_cell_is_named(tmp_path: Path) -> None:
    source = rows(40)
    source[4]["wave"] = [1.0, float("inf"), 2.0]
    with pytest.raises(Mistake, match=r"row 5, column wave: value 2 of 3 is 'inf'"):
        fit(recipe(source=source), tmp_path / "run")


def test_a_recipe_is_inferred_for_lists_of_numbers() -> None:
    inferred = infer(rows(), "high")
    assert inferred.recipe.inputs["wave"].kind == "series" and inferred.reasons["inputs.wave"] == "lists of numbers"
