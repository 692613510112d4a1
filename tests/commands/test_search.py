"""search: the best of several settings, by validation rows alone, as a recipe that fits; and nothing done is lost."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import checkpoints
from omnitune.cli import app
from omnitune.commands import _tries
from omnitune.commands.fit import fit
from omnitune.commands.search import Search, search
from omnitune.component import find
from omnitune.data import store as cache
from omnitune.data.prepared import prepare
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.recipe import Recipe, read
from runs import rows, table_recipe, write_csv


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "activations")


def texts(tmp_path: Path, *overrides: str) -> Recipe:
    """A class of a short text, from a file."""
    values: list[Any] = find(Modality, "text")().example(60, np.random.default_rng(0))  # type: ignore[type-abstract]
    path = write_csv(tmp_path / "texts.csv", [{"x": x, "y": "ab"["soft" in x]} for x in values])
    values = {
        "data": {"from": str(path), "split": [0.6, 0.2, 0.2]},
        "inputs": {"x": {"kind": "text", "backbone": str(checkpoints.ALL["bert"]())}},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
        "tuning": "probe",
        "train": {"epochs": 3, "batch": 8, "head_lr": 0.02},
    }  # type: ignore[assignment]
    return read(values, overrides)  # type: ignore[arg-type]


def best(found: Search) -> float:
    value = found.ranked[0].value["value"]
    assert value is not None
    return value


@pytest.mark.parametrize("stop_on", ["loss", "y.accuracy"])
@pytest.mark.parametrize("tuning", ["probe", "{kind: freeze, blocks: 1}"])
def test_fit_reaches_what_the_best_recipe_promises(tuning: str, stop_on: str, tmp_path: Path) -> None:
    found = search(texts(tmp_path, f"tuning={tuning}", f"train.stop_on={stop_on}"), 3, tmp_path / "search")
    assert found.alone == ("" if tuning == "probe" else "weights of a backbone learn")
    values = [trial.value["value"] for trial in found.trials]
    assert best(found) == (max(values) if stop_on != "loss" else min(values))  # type: ignore[type-var]
    assert ("lr" in found.trials[1].setting) == (tuning != "probe")
    artifact = fit(read(tmp_path / "search" / "best.yaml"), tmp_path / "run")
    rounds = [step["validation"][stop_on] for step in artifact.report.curves if step["validation"]]
    assert best(found) == pytest.approx(max(rounds) if stop_on != "loss" else min(rounds), abs=1e-5)
    assert artifact.recipe.train.head_lr == found.ranked[0].setting["head_lr"]


def test_the_own_setting_comes_first_and_more_trials_leave_the_others_as_they_are(tmp_path: Path) -> None:
    recipe = table_recipe(rows(60))
    few, more, other = search(recipe, 2), search(recipe, 4), search(recipe, 2, seed=1)
    assert few.trials[0].setting == {"head_lr": 0.01, "weight_decay": 0.01, "dropout": 0.1, "epochs": 3.0}
    assert few.trials[0].gain["value"] == 0
    assert [t.setting for t in more.trials[:2]] == [t.setting for t in few.trials] != [t.setting for t in other.trials]
    assert len({t.value["value"] for t in more.trials}) == 4
    for trial in more.trials:
        value, low, high = (trial.value[key] for key in ("value", "low", "high"))
        assert low < value < high  # type: ignore[operator]
        assert trial.validation["loss"] == pytest.approx(value)
        assert trial.gain["value"] == pytest.approx(more.trials[0].value["value"] - value, abs=1e-6)  # type: ignore[operator]


def test_intervals_of_a_metric_come_from_the_bootstrap(tmp_path: Path) -> None:
    found = search(table_recipe(rows(120), "train.stop_on=value.mae"), 3)
    for trial in found.trials:
        assert trial.value["low"] < trial.value["value"] < trial.value["high"]  # type: ignore[operator]
    assert not found.higher and found.ranked[0].gain["value"] >= 0  # type: ignore[operator]
    assert "value.mae of" in str(found) and "less is better" in str(found)


def test_test_rows_are_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(120)
    recipe = table_recipe(table, "data.by=[id]")
    wanted = search(recipe, 3)
    test = prepare(recipe).parts["test"]
    changed = [
        row | {"class": "low" if row["class"] == "high" else "high", "value": -row["value"]} if i in test else row for i, row in enumerate(table)
    ]
    found = search(table_recipe(changed, "data.by=[id]"), 3)
    assert [t.value for t in found.trials] == [t.value for t in wanted.trials]
    read_rows: list[int] = []
    hold = _tries.hold
    monkeypatch.setattr(_tries, "hold", lambda *args: (memory := hold(*args), read_rows.extend(memory.rows.tolist()))[0])
    assert [t.value for t in search(recipe, 3).trials] == [t.value for t in wanted.trials]
    assert read_rows and not set(read_rows) & set(test.tolist())


@pytest.mark.parametrize("tuning", ["probe", "{kind: lora, rank: 2, blocks: 1}"])
def test_a_search_that_was_cut_off_goes_on(tuning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, out = texts(tmp_path, f"tuning={tuning}"), tmp_path / "search"
    whole = search(recipe, 3)

    def cut(trial: Any) -> None:
        if trial.number == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search(recipe, 3, out, watch=cut)
    kept = json.loads((out / "trials.json").read_text())
    assert [trial["number"] for trial in kept["trials"]] == [0, 1]
    done: list[int] = []
    found = search(recipe, 3, out, watch=lambda trial: done.append(trial.number))
    assert done == [2]
    for trial, wanted in zip(found.trials, whole.trials, strict=True):
        assert trial.setting == wanted.setting
        assert trial.value == pytest.approx(wanted.value, abs=1e-5)
        assert trial.gain == pytest.approx(wanted.gain, abs=1e-5)
    assert read(out / "best.yaml") == found.best
    monkeypatch.setattr(_tries.Tries, "run", lambda self, settings: iter(()) if not settings else 1 / 0)
    assert search(recipe, 3, out).trials == found.trials


def test_a_folder_belongs_to_one_search(tmp_path: Path) -> None:
    recipe = texts(tmp_path)
    search(recipe, 1, tmp_path / "search")
    for other, seed in ((texts(tmp_path, "train.clip=2"), 0), (recipe, 1)):
        with pytest.raises(Mistake, match="something else than this search"):
            search(other, 1, tmp_path / "search", seed)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(Mistake, match="something else than this search"):
        search(recipe, 1, tmp_path / "notes")
    assert (tmp_path / "notes" / "a.txt").read_text() == "mine"
    with pytest.raises(Mistake, match="is a file"):
        search(recipe, 1, tmp_path / "texts.csv")


def test_what_cannot_be_searched(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no validation rows"):
        search(table_recipe(rows(60), "data.split=[0.8, 0, 0.2]"))
    with pytest.raises(Mistake, match="0 is not a number of trials"):
        search(table_recipe(rows(60)), 0)
    with pytest.raises(Mistake, match=r"'class\.acuracy' is not measured"):
        search(table_recipe(rows(60), "train.stop_on=class.acuracy"), 1)


def test_all_trials_fail(tmp_path: Path) -> None:
    wild = table_recipe(rows(60), "train.head_lr=1e30", "train.optimizer=sgd", "train.warmup=0", "train.clip=0", "tasks.value.loss=mse")
    with pytest.raises(Mistake, match="no trial has a value: the loss or the gradient is no longer finite"):
        search(wild, 2, tmp_path / "search")
    assert [bool(trial["failed"]) for trial in json.loads((tmp_path / "search" / "trials.json").read_text())["trials"]] == [True, True]


def test_one_that_fails_by_itself_is_told_and_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.commands import _space

    draw = _space.draw
    monkeypatch.setattr(_space, "draw", lambda *args: draw(*args) | ({"lr": 1e30} if args[2] == 1 else {}))
    found = search(texts(tmp_path, "tuning={kind: freeze, blocks: 1}", "train.optimizer=sgd", "train.warmup=0", "train.clip=0"), 3)
    assert [bool(trial.failed) for trial in found.trials] == [False, True, False]
    assert found.ranked[-1].number == 1 and "train step" in str(found)


def test_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    texts(tmp_path).write(recipe)
    told = CliRunner().invoke(app, ["search", str(recipe), "train.epochs=1", "--trials", "2", "--out", str(tmp_path / "out")])
    assert told.exit_code == 0, told.output
    assert "2 trials, learned together; loss of" in told.output and f"omnitune fit {tmp_path / 'out' / 'best.yaml'}" in told.output
    asked = CliRunner().invoke(app, ["search", str(recipe), "train.epochs=1", "--trials", "3", "--out", str(tmp_path / "out"), "--json"])
    values = json.loads(asked.output)
    assert [trial["number"] for trial in values["trials"]] == [0, 1, 2]
    assert read(values["best"]).train.epochs in (0.5, 1.0)
