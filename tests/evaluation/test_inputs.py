"""What each input is worth: the same rows with inputs hidden are the same rows without them; what is read once is not read again."""

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitune.artifact import load
from omnitune.commands.fit import fit
from omnitune.component import find, kinds
from omnitune.data.table import read as read_table
from omnitune.evaluation import inputs
from omnitune.evaluation.document import INPUTS, document
from omnitune.evaluation.page import page
from omnitune.fusion import Fusion
from omnitune.nn.tokens import Mixture
from omnitune.recipe import read
from omnitune.training.loop import Loop
from omnitune.training.model import Model
from runs import ready, rows, table_recipe

FUSIONS = list(kinds(Fusion))


def test_each_input_is_taken_away_and_left_alone() -> None:
    assert inputs.hidings(["a"]) == {}
    assert inputs.hidings(["a", "b"]) == {"a alone": {"b"}, "b alone": {"a"}}
    assert inputs.hidings(["a", "b", "c"]) == {
        "without a": {"a"}, "without b": {"b"}, "without c": {"c"}, "a alone": {"b", "c"}, "b alone": {"a", "c"}, "c alone": {"a", "b"},
    }  # fmt: skip
    names = [str(i) for i in range(inputs.MOST)]
    assert len(inputs.hidings(names)) == 2 * inputs.MOST and inputs.hidings([*names, "more"]) == {}


def shaken(recipe: Any) -> tuple[Model, Any]:
    """A model in which everything makes a difference."""
    model, prepared = ready(recipe)
    for parameter in model.fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    for parameter in model.heads.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval(), prepared


@pytest.mark.parametrize("fusion", FUSIONS)
def test_hiding_an_input_is_reading_rows_without_it(fusion: str) -> None:
    table = rows(60)
    model, prepared = shaken(table_recipe(table, f"fusion={fusion}", "data.split=[0.5, 0.1, 0.4]"))
    test = prepared.batches("test", 8)
    found = inputs.examine(model, test, "float32")
    whole = {task: answers.p for task, answers in found.whole.items()}
    assert set(found.partly) == set(inputs.hidings(["a", "b", "color"]))
    for reads, names in inputs.hidings(["a", "b", "color"]).items():
        fewer = [row | dict.fromkeys(names) for row in table]
        there = inputs.examine(model, dataclasses.replace(prepared, table=read_table(fewer)).batches("test", 8), "float32").whole
        for task, answers in there.items():
            np.testing.assert_allclose(found.partly[reads][task].p, answers.p, rtol=1e-4, atol=1e-5)
            assert np.abs(answers.p - whole[task]).max() > 1e-3
            np.testing.assert_array_equal(found.partly[reads][task].y, found.whole[task].y)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_encoders_read_each_row_once(fusion: str) -> None:
    model, prepared = shaken(table_recipe(rows(60), f"fusion={fusion}"))
    calls: Counter[str] = Counter()
    parts = dict(model.encoders.items()) | {"fusion": model.fusion}
    for name, part in parts.items():
        part.register_forward_hook(lambda *_, name=name: calls.update([name]))
    test = prepared.batches("train", 8)
    inputs.examine(model, test, "float32")
    assert calls == {**dict.fromkeys(model.encoders, len(test)), "fusion": 7 * len(test)}


@pytest.mark.parametrize("fusion", FUSIONS)
def test_weights_are_those_of_the_fusion(fusion: str) -> None:
    model, prepared = shaken(table_recipe(rows(60), f"fusion={fusion}"))
    test = prepared.batches("train", 8)
    found = inputs.examine(model, test, "float32").weights
    batch = next(batch for batch, _ in test.question(test.rows).asked.values())
    fused = model(batch).fused
    assert isinstance(fused, Mixture) == find(Fusion, fusion).weighs == bool(found)
    for name, weight in found.items():
        np.testing.assert_allclose(weight, fused.weights[name].detach().numpy(), atol=1e-6)
        np.testing.assert_array_equal(weight > 0, batch.inputs[name]["present"].numpy())


def test_the_interval_of_a_mean_weight_is_that_of_a_mean() -> None:
    weight = np.random.default_rng(0).random(400)
    found = inputs.mean_weights({"a": weight, "b": np.ones(400)})
    error = 1.96 * weight.std() / 20
    assert found["a"]["value"] == pytest.approx(weight.mean())
    assert (found["a"]["low"], found["a"]["high"]) == pytest.approx((weight.mean() - error, weight.mean() + error), abs=error / 5)
    assert found["b"] == {"value": 1.0, "low": 1.0, "high": 1.0}


def one_that_says_it_all(n: int = 600) -> list[dict[str, Any]]:
    """Two numbers that tell the class, one of them as good as surely."""
    rng = np.random.default_rng(0)
    signal = rng.normal(size=n)
    sure, vague = signal + 0.02 * rng.normal(size=n), signal + 0.6 * rng.normal(size=n)
    return [{"sure": s, "vague": v, "class": "high" if of > 0 else "low"} for s, v, of in zip(sure, vague, signal, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_model_that_met_missing_inputs_bears_them(fusion: str) -> None:
    """Without the input that says it all, a model is worth more where training hid inputs."""
    found = {}
    for hide in (0.0, 0.4):
        own = ", own: 0" if fusion == "late" else ""  # inputs that learn by themselves as well need no hiding
        changes = [f"fusion={{kind: {fusion}, hide: {hide}, dropout: 0{own}}}", "data.split=[0.5, 0.1, 0.4]", "train.head_lr=0.003"]
        values = {"inputs": {"sure": "number", "vague": "number"}, "tasks": {"class": {"kind": "classify", "target": "class"}}}
        recipe = read({"data": {"from": one_that_says_it_all()}, "train": {"epochs": 10, "batch": 16}} | values, changes)
        model, prepared = ready(recipe)
        for _ in Loop(model, prepared.batches("train", 16, 0), prepared.recipe.train, {"class": 1.0}):
            pass
        answers = inputs.examine(model, prepared.batches("test", 64), "float32")
        right = {
            reads: (of.p.argmax(1) == of.y).mean()
            for reads, of in [("all", answers.whole["class"]), ("vague", answers.partly["vague alone"]["class"])]
        }
        loss = answers.partly["vague alone"]["class"].loss
        assert right["all"] > 0.93
        found[hide] = right["vague"], loss
    assert found[0.4][0] > found[0.0][0] and found[0.4][1] < found[0.0][1]


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["concat", "gated"])
def test_the_report_says_what_each_input_is_worth(fusion: str, tmp_path: Path) -> None:
    artifact = fit(table_recipe(rows(400), f"fusion={fusion}", "train.epochs=8"), tmp_path / "run")
    for name, task in artifact.report.tasks.items():
        metrics = task["inputs"]["metrics"]
        assert metrics["rows"] == task["metrics"]["rows"] and metrics["subject"] == inputs.ALL
        for metric, figure in metrics["models"][inputs.ALL].items():
            assert figure["value"] == pytest.approx(task["metrics"]["models"]["after"][metric]["value"], abs=1e-6)
        main, higher = next(iter(metrics["higher"].items()))
        lost = metrics["differences"]["without a"][main]
        assert (lost["low"] > 0) if higher else (lost["high"] < 0), "a decides both"
        assert ("weights" in task["inputs"]) == (fusion == "gated")
        assert f"### What each input is worth\n\n{INPUTS}" in document(artifact.report), name
    assert "| without a |" in document(artifact.report) and "task0-inputs" in page(artifact.report)
    assert ("mean weight" in document(artifact.report)) == (fusion == "gated")


@pytest.mark.slow
def test_one_input_is_not_compared_with_itself(tmp_path: Path) -> None:
    artifact = fit(table_recipe(rows(80), "inputs={a: number}", "train.epochs=1"), tmp_path / "run")
    assert all("inputs" not in task for task in artifact.report.tasks.values())
    assert "What each input is worth" not in document(artifact.report) + page(artifact.report)


@pytest.mark.slow
def test_too_many_inputs_are_said_to_be_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MOST", 2)
    artifact = fit(table_recipe(rows(80), "train.epochs=1"), tmp_path / "run")
    assert all(task["inputs"] == {"note": inputs.TOO_MANY} for task in artifact.report.tasks.values())
    assert inputs.TOO_MANY in document(artifact.report) and inputs.TOO_MANY in page(artifact.report)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["{kind: cross, of: color}", "gated", "{kind: late, weights: learned}"])
def test_a_saved_model_reads_as_before_and_tells_its_weights(fusion: str, tmp_path: Path) -> None:
    made = fit(table_recipe(rows(120), f"fusion={fusion}", "train.epochs=1"), tmp_path / "run")
    again, some = load(tmp_path / "run"), [*rows(5, seed=3), dict.fromkeys(("a", "b", "color")), {"a": 1.0, "b": None, "color": None}]
    assert again.predict(some) == made.predict(some)
    if made.recipe.fusion.weighs:
        answers = again.predict(some, weights=True)
        weights = [answer["class"]["weights"] for answer in answers]
        assert [answer["value"]["weights"] for answer in answers] == weights
        assert [sum(of.values()) for of in weights] == pytest.approx([1, 1, 1, 1, 1, 0, 1])
        assert weights[-1] == {"a": 1.0, "b": 0.0, "color": 0.0}
        assert [{k: v for k, v in answer["class"].items() if k != "weights"} for answer in answers] == [a["class"] for a in again.predict(some)]
