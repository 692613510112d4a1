from dataclasses import replace

import pytest
import torch

from omnitune.commands.fit import fit
from omnitune.evaluation import sharing as measured
from omnitune.evaluation.sharing import sharing
from omnitune.training.model import Model
from runs import ready, rows, table_recipe

STILL = ("fusion.dropout=0", "fusion.hide=0", "tasks.class.dropout=0", "tasks.value.dropout=0")


def pair(table, *overrides: str):
    return ready(table_recipe(table, *STILL, *overrides))


def test_cosines_are_those_of_plain_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "BATCHES", 3)
    model, prepared = pair(rows())
    found = sharing(model, prepared)
    train, expected = prepared.recipe.train, []
    below = [p for name, p in model.named_parameters() if not name.startswith("heads.")]
    for i, question in enumerate(prepared.batches("train", train.micro_batch, train.seed).epoch()):
        if 1 <= i <= 3:
            losses = model.losses(question)
            one, two = (torch.cat([g.reshape(-1) for g in torch.autograd.grad(losses[t].mean, below, retain_graph=True)]) for t in losses)
            expected.append(float(torch.cosine_similarity(one, two, dim=0)))
    assert found["batches"] == 3 and found["rows"] == 48
    assert [(of["a"], of["b"]) for of in found["cosine"]] == [("class", "value")]
    assert found["cosine"][0]["value"] == pytest.approx(sum(expected) / 3, abs=1e-5)


def test_a_task_and_its_opposite_conflict_wholly() -> None:
    table = [row | {"other": -row["value"]} for row in rows()]
    asked = {name: f"{{kind: regress, target: {name}, dropout: 0}}" for name in ("value", "other")}
    model, prepared = ready(table_recipe(table, *STILL[:2], f"tasks={{value: {asked['value']}, other: {asked['other']}}}"))
    model.head("other").load_state_dict(model.head("value").state_dict())
    value = sharing(model, prepared)["cosine"][0]["value"]
    assert -1 <= value < -0.9


def test_weights_and_chance_are_as_they_were() -> None:
    model, prepared = pair(rows())
    before, random = {n: p.detach().clone() for n, p in model.named_parameters()}, torch.get_rng_state()
    sharing(model, prepared)
    assert all(torch.equal(p, before[n]) and p.grad is None for n, p in model.named_parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_shares_of_the_cost_add_up_and_one_task_shares_nothing() -> None:
    model, prepared = pair(rows())
    found = sharing(model, prepared)
    whole = found["shared"] + sum(of["milliseconds"] for of in found["tasks"].values())
    for of in found["tasks"].values():
        assert 0 < of["share"] < 1 and of["share"] == pytest.approx(of["milliseconds"] / whole)
    recipe = prepared.recipe.replace(tasks={"class": prepared.recipe.tasks["class"]})
    assert sharing(Model(recipe, prepared.schema), replace(prepared, recipe=recipe)) == {}


def test_too_many_weights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "NUMBERS", 10)
    assert "not measured" in sharing(*pair(rows(60)))["note"]


def test_the_report_of_several_tasks_shows_it(tmp_path) -> None:
    report = fit(table_recipe(rows(120), "train.epochs=1", "train.balance=gradnorm"), tmp_path / "run").report
    text, page = ((tmp_path / "run" / name).read_text(encoding="utf-8") for name in ("report.md", "report.html"))
    for shown in (text, page):
        assert "Tasks together" in shown and "cosine of their gradients" in shown and "head of class" in shown and "read once for all tasks" in shown
    assert report.cost["weights of tasks at the end"].startswith("class ")
