"""What is taken next, through the whole product: measured beside what is popular, saved, gone on with, for items that nobody took yet."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import Artifact, compare, fit, load
from omnitune.commands.predict import flat
from omnitune.data.prepared import prepare
from omnitune.evaluation.ranks import rivals
from omnitune.recipe import Recipe, read
from runs import cut_and_resumed, same_weights

ITEMS = 24


def rows(n: int = 240) -> list[dict[str, Any]]:
    """Everybody goes round in steps of one or two; some have no history."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        start, step = int(rng.integers(ITEMS)), int(rng.choice([1, 2]))
        taken = [f"f{(start + step * k) % ITEMS}" for k in range(int(rng.integers(4, 8)))]
        made.append({"user": i, "age": 20 + 40 * (step - 1), "history": taken[:-1] if i % 13 else None, "next": taken[-1]})
    return made


def recipe(source: Any = None, task: Any = None, inputs: Any = None, history: Any = None, **train: Any) -> Recipe:
    asked = {"next": {"kind": "rank", "target": "next", "of": "history"} | (task or {})}
    given = {"history": {"kind": "behaviour", "width": 32, "layers": 1, "dropout": 0.0} | (history or {})} | (inputs or {})
    data = {"from": source or rows(), "split": [0.6, 0.2, 0.2], "by": ["user"]}
    return read({"data": data, "inputs": given, "tasks": asked, "train": {"epochs": 12, "batch": 32, "head_lr": 5e-3} | train})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("recommend") / "run")


def figures(done: Artifact, name: str) -> dict[str, float]:
    return {model: found[name]["value"] for model, found in done.report.tasks["next"]["metrics"]["models"].items()}


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    ndcg, task = figures(trained, "ndcg@10"), trained.report.tasks["next"]
    assert set(ndcg) == {"constant", "simple", "after"} and ndcg["after"] > 3 * ndcg["constant"]
    assert f"among all {ITEMS} candidates, without those of the history" in task["baselines"]["constant"]
    after = task["metrics"]["models"]["after"]
    assert after["ndcg@10"]["low"] < after["ndcg@10"]["value"] < after["ndcg@10"]["high"]
    assert after["coverage@10"]["value"] == 1 and after["coverage@10"]["low"] is None
    assert "hit_rate@10" in (trained.path / "report.md").read_text() and "ndcg@10" in (trained.path / "report.html").read_text()


def test_what_is_measured_is_what_a_plain_loop_measures(trained: Artifact) -> None:
    test = prepare(recipe()).parts["test"]
    found = trained.predict([rows()[row] for row in test])
    hits = [1.0 * (rows()[row]["next"] in [one["item"] for one in answer["next"]["items"]]) for row, answer in zip(test, found, strict=True)]
    assert figures(trained, "hit_rate@10")["after"] == pytest.approx(np.mean(hits))


def test_lists_are_of_what_was_not_taken_yet(trained: Artifact) -> None:
    answer = trained.predict({"history": ["f1", "f2", "f3"]})["next"]
    names, scores = [one["item"] for one in answer["items"]], [one["score"] for one in answer["items"]]
    assert answer["value"] == names[0] and names[0] in ("f4", "f5") and len(set(names)) == 10 and not {"f1", "f2", "f3"} & set(names)
    assert scores == sorted(scores, reverse=True) and 0 < sum(scores) <= 1
    strange, missing, bad = trained.predict([{"history": ["nobody", "knows"]}, {"history": []}, {"history": {"a": 1}}])
    assert len(strange["next"]["items"]) == len(missing["next"]["items"]) == 10 and "expected a list" in bad["error"]
    columns = flat({"next": answer})
    assert columns["next"] == names[0] and columns["next:items"] == "|".join(names) and columns["next:scores"].count("|") == 9


def test_saved_and_loaded_it_says_the_same(trained: Artifact) -> None:
    some = [{"history": "f1|f3|f5"}, {"history": None}]
    assert load(trained.path).predict(some) == trained.predict(some)


def test_cut_off_and_resumed_it_ends_the_same(tmp_path: Path, trained: Artifact) -> None:
    resumed = cut_and_resumed(recipe(save_minutes=1e-9), tmp_path / "off", 6)
    assert same_weights(trained, resumed)
    shared = compare(trained.path, tmp_path / "off")["tasks"]["next"]
    assert shared["shared"] and not shared["only_a"] and shared["metrics"]["differences"]["a"]["ndcg@10"]["value"] == 0


@pytest.mark.parametrize("loss", ["softmax", "bpr", "pointwise"])
def test_every_loss_learns_with_few_candidates_drawn(loss: str, tmp_path: Path) -> None:
    done = fit(recipe(task={"loss": loss, "samples": 8, "seen": "keep"}, stop_on="next.mrr"), tmp_path / "run")
    assert figures(done, "mrr")["after"] > 2 * figures(done, "mrr")["constant"]
    assert "history" not in done.report.tasks["next"]["baselines"]["constant"]


def test_figures_of_drawn_candidates_are_told_as_such(tmp_path: Path) -> None:
    done = fit(recipe(task={"drawn": 5}, history={"causal": False}, epochs=2), tmp_path / "run")
    assert f"among 5 drawn at random of all {ITEMS} candidates" in done.report.tasks["next"]["baselines"]["constant"]
    assert figures(done, "hit_rate@10")["after"] == 1
    prepared = prepare(recipe(task={"drawn": 5}))
    target = prepared.batches("test", 8, rows=prepared.parts["test"]).question(prepared.parts["test"][:8]).asked["next"][1]
    again = prepared.batches("test", 8, rows=prepared.parts["test"]).question(prepared.parts["test"][4:8]).asked["next"][1]
    assert torch.equal(target["drawn"][4:], again["drawn"]) and bool((target["drawn"] != target["y"][:, None]).all())


def test_what_else_is_known_of_somebody_helps(tmp_path: Path) -> None:
    source = [row | {"history": row["history"] and row["history"][-1:]} for row in rows()]
    alone, told = (fit(recipe(source, inputs=inputs, epochs=30), tmp_path / str(len(inputs or {}))) for inputs in (None, {"age": "number"}))
    assert figures(told, "mrr")["after"] > figures(alone, "mrr")["after"] + 0.1


def test_without_a_history_other_inputs_rank(tmp_path: Path) -> None:
    source = [{"age": float(i % 5), "next": f"f{i % 5}", "user": i} for i in range(100)]
    asked = {"next": {"kind": "rank", "target": "next"}}
    made = read({"data": {"from": source, "by": ["user"]}, "inputs": {"age": "number"}, "tasks": asked, "train": {"epochs": 20, "head_lr": 0.02}})
    done = fit(made, tmp_path / "run")
    assert figures(done, "mrr")["after"] > 0.9 and "simple" not in figures(done, "mrr")


def test_what_eight_bits_change_in_lists_is_told(tmp_path: Path) -> None:
    source = [{"title": f"a dress of {['silk', 'wool', 'linen'][i % 3]} {i}", "next": f"f{i % 12}"} for i in range(60)]
    inputs = {"title": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}}
    asked = {"next": {"kind": "rank", "target": "next"}}
    done = fit(read({"data": {"from": source}, "inputs": inputs, "tasks": asked, "train": {"epochs": 1}}), tmp_path / "run")
    told = done.rounding(source[:20])["next"]
    assert told.rows == 20 and 0 <= told.same <= 1 and 0 <= told.largest < 0.5  # of scores, not of places


def test_items_that_nobody_took_are_found_by_what_they_are(tmp_path: Path) -> None:
    """People stay with their kind of film, and the ten that training never shows are of two kinds."""
    films = [{"film": f"f{i}", "kind": "ab"[i % 2]} for i in range(40)]
    rng = np.random.default_rng(0)
    source = []
    for i in range(200):
        mine = [film["film"] for film in films[:30] if film["kind"] == "ab"[i % 2]]
        taken = rng.choice(mine, 6, replace=False).tolist()
        source.append({"user": i, "history": taken[:-1], "next": taken[-1]})
    (tmp_path / "films.csv").write_text("\n".join(["film,kind", *(",".join(film.values()) for film in films)]))
    items = {"from": str(tmp_path / "films.csv"), "id": "film", "columns": {"kind": "category"}}
    done = fit(recipe(source, {"top": 40}, history={"items": items, "hide": 0.2}), tmp_path / "run")
    (tmp_path / "films.csv").unlink()
    answers = load(done.path).predict([{"history": ["f0", "f2", "f4"]}, {"history": ["f1", "f3", "f5"]}])
    for answer, mine in zip(answers, (0, 1), strict=True):
        cold = {int(one["item"][1:]): one["score"] for one in answer["next"]["items"] if int(one["item"][1:]) >= 30}
        assert len(cold) == 10
        assert min(s for i, s in cold.items() if i % 2 == mine) > max(s for i, s in cold.items() if i % 2 != mine)


def test_rivals_do_without_what_is_not_there() -> None:
    prepared = prepare(recipe(task={"seen": "keep"}))
    p, words = rivals(prepared, "next")
    assert set(p) == set(words) == {"constant", "simple"} and len(p["simple"]) == len(prepared.parts["test"])
    assert p["simple"][:, 0].mean() > 2 * p["constant"][:, 0].mean()
    nothing = prepare(recipe([row | {"history": None} for row in rows()]))
    assert rivals(nothing, "next")[0]["simple"][:, 3].mean() == pytest.approx(rivals(nothing, "next")[0]["constant"][:, 3].mean(), abs=0.2)
