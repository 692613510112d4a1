"""Tasks with tables of their own: each asked of its own rows alone, in batches of one table, mixed as the recipe says."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import artifact as artifacts
from omnitune.commands.alone import alone
from omnitune.commands.fit import fit
from omnitune.data import store as cache
from omnitune.data.batches import Batches
from omnitune.data.orders import ByLength, Mixed, shares
from omnitune.data.prepared import prepare
from omnitune.errors import Mistake
from omnitune.evaluation.compare import compare
from omnitune.recipe import Recipe, read
from runs import ready, rows, write_csv


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "kept")


def other(n: int = 90) -> list[dict[str, Any]]:
    """A table without `a` and `color`, with an input of its own and with answers under a name that the first table has for others."""
    rng = np.random.default_rng(1)
    made = [(float(rng.normal()), float(rng.normal())) for _ in range(n)]
    return [{"b": b, "c": c, "class": "left" if b + c > 0 else "right"} for b, c in made]


def recipe(*overrides: str, first: Any = None, second: Any = None, **more: Any) -> Recipe:
    values = {
        "data": {"from": first or rows(240)},
        "tables": {"other": second or other()},
        "inputs": {"a": "number", "b": "number", "c": "number", "color": "category"},
        "tasks": {
            "class": {"kind": "classify", "target": "class"},
            "value": {"kind": "regress", "target": "value"},
            "side": {"kind": "classify", "target": "class", "table": "other"},
        },
        "train": {"epochs": 3, "batch": 16, "head_lr": 0.01},
    }
    return read(values | more, overrides)


def test_each_task_is_asked_of_its_own_rows() -> None:
    prepared = prepare(recipe())
    assert [own.name for own in prepared.owns] == ["data", "other"] and len(prepared.table) == 330
    assert prepared.schema.tasks["class"]["classes"] == ["high", "low"] and prepared.schema.tasks["side"]["classes"] == ["left", "right"]
    batches = prepared.batches("train", 16, 0)
    seen: Counter[int] = Counter()
    for question in batches.epoch():
        first = question.rows < 240
        assert first.all() or not first.any()
        assert set(question.asked) == ({"class", "value"} if first.all() else {"side"})
        seen.update(question.rows.tolist())
    assert set(seen) == set(prepared.parts["train"].tolist()) and set(seen.values()) == {1}


def test_each_table_is_parted_as_by_itself() -> None:
    whole, of = prepare(recipe()), recipe()
    for own in whole.owns:
        by_itself = prepare(of.of_table(own.name, own.table.columns))
        for part, found in by_itself.parts.items():
            assert (whole.rows_of(own, part) - own.start).tolist() == found.tolist()
            assert whole.keys(whole.rows_of(own, part)) == by_itself.keys(found)


def orders() -> list[ByLength]:
    return [ByLength(np.arange(n) + start, np.zeros(n), 4, 0) for n, start in ((40, 0), (12, 100), (4, 200))]


def tables_of(batches: list[Any]) -> list[int]:
    return [int(rows[0]) // 100 for rows in batches]


def test_mixed_by_size_reads_every_row_once() -> None:
    order = Mixed(list(orders()), "size", 0)
    for number in range(2):
        assert sorted(np.concatenate(order.epoch(number)).tolist()) == sorted(np.concatenate([o.rows for o in orders()]).tolist())
    assert tables_of(order.epoch(0)) != tables_of(order.epoch(1))
    assert [found.tolist() for found in order.epoch(3)] == [found.tolist() for found in Mixed(list(orders()), "size", 0).epoch(3)]


def test_mixed_in_turns() -> None:
    order = Mixed(list(orders()), "turns", 0)
    assert order.counts == [5, 5, 4] and tables_of(order.epoch(0)) == [0, 1, 2] * 4 + [0, 1]


def test_mixed_by_temperature_and_count() -> None:
    assert shares([100, 1], 1.0) == [100, 1] and shares([100, 1], 2.0) == [92, 9] and shares([64, 0, 1], 1e9) == [33, 0, 32]
    order = Mixed(list(orders()), [2, 7, 1], 0)
    assert all(Counter(tables_of(order.epoch(number))) == {0: 2, 1: 7, 2: 1} for number in range(3))
    of_second = [found for number in range(3) for found in order.epoch(number) if 100 <= found[0] < 200]
    read = Counter(np.concatenate(of_second).tolist())
    assert set(read.values()) == {7}  # 21 batches are seven epochs of its own, none of whose rows is read twice before another is


@pytest.mark.parametrize("mix", ["size", "turns", "{temperature: 2}", "{data: 3, other: 5}"])
def test_a_run_measures_each_task_on_its_own_rows(mix: str, tmp_path: Path) -> None:
    files = write_csv(tmp_path / "first.csv", rows(240)), write_csv(tmp_path / "second.csv", other())
    asked = recipe(f"train.mix={mix}", "train.epochs=2", first=str(files[0]), second=str(files[1]))
    run = fit(asked, tmp_path / "run")
    tested = prepare(asked).of("side").parts["test"]
    assert run.report.tasks["side"]["metrics"]["rows"] == len(tested) > 5
    assert set(run.report.tasks["side"]["metrics"]["models"]) == {"constant", "simple", "after"}
    assert run.report.data["tables"]["other"]["test"] == len(tested)
    assert any(caution["where"] == "tables.other.test" for caution in run.report.warnings)  # few rows
    answers = artifacts.load(tmp_path / "run").predict(
        [{"a": None, "b": 2.0, "c": 2.0, "color": None}, {"a": 3.0, "b": 1.0, "c": None, "color": "red"}]
    )
    assert [set(answer) for answer in answers] == [{"class", "value", "side"}] * 2


@pytest.mark.parametrize("balance", ["uncertainty", "gradnorm", "pcgrad"])
def test_balanced_over_tables(balance: str, tmp_path: Path) -> None:
    run = fit(recipe(f"train.balance={balance}", "fusion=attend", "train.epochs=1"), tmp_path / "run")
    assert set(run.report.tasks) == {"class", "value", "side"}


def test_a_cut_off_run_goes_on(tmp_path: Path) -> None:
    asked = recipe("train.mix={data: 5, other: 4}")
    whole = fit(asked, tmp_path / "whole")

    def stop(step: Any) -> None:
        if step.step == 13:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(asked, tmp_path / "cut", watch=stop)
    again = fit(asked, tmp_path / "cut", resume=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    one = {"a": 1.0, "b": 2.0, "c": 2.0, "color": "red"}
    assert whole.predict([one]) == again.predict([one])


def test_alone_and_compared(tmp_path: Path) -> None:
    files = write_csv(tmp_path / "first.csv", rows(240)), write_csv(tmp_path / "second.csv", other())
    fit(recipe("train.epochs=1", first=str(files[0]), second=str(files[1])), tmp_path / "run")
    report = alone(tmp_path / "run")
    for task in ("class", "value", "side"):
        assert report.tasks[task]["alone"]["shared"] == report.tasks[task]["metrics"]["rows"]
    fit(recipe("train.epochs=1", "train.mix=turns", first=str(files[0]), second=str(files[1])), tmp_path / "turns")
    assert compare(tmp_path / "run", tmp_path / "turns")["tasks"]["side"]["only_a"] == 0


def test_a_backbone_that_a_table_has_no_input_for_does_not_run(tmp_path: Path) -> None:
    from omnitune.modalities.image import Image

    (tmp_path / "files").mkdir()
    made = []
    for i, data in enumerate(Image().example(20, np.random.default_rng(0))):
        (tmp_path / "files" / f"{i}.png").write_bytes(data)
        made.append({"photo": f"{i}.png", "kind": "ab"[i % 2]})
    shown = write_csv(tmp_path / "files" / "shown.csv", made)
    told = write_csv(tmp_path / "told.csv", [{"text": f"dress number {i}", "mood": "xy"[i % 2]} for i in range(40)])
    asked = read({
        "data": {"from": str(told), "split": [0.7, 0.3, 0]},
        "tables": {"shown": {"from": str(shown), "split": [0.6, 0.2, 0.2]}},
        "inputs": {
            "text": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}, "photo": {"kind": "image", "backbone": str(checkpoints.tiny_vit())},
        },
        "tasks": {
            "mood": {"kind": "classify", "target": "mood"}, "kind": {"kind": "classify", "target": "kind", "table": "shown"},
            "words": {"kind": "masked_text", "of": "text"},
        },
        "train": {"epochs": 1, "batch": 8},
    })  # fmt: skip
    model, prepared = ready(asked)
    assert prepared.parts["test"].size == len(prepared.of("kind").parts["test"])
    seen: Counter[str] = Counter()
    for name, backbone in model.backbones.items():
        backbone.model.register_forward_hook(lambda *_, name=name: seen.update([name]))
    batches: Batches = prepared.batches("train", 8, 0)
    model.train()
    for question in batches.epoch():
        read_now = {"photo"} if "kind" in question.asked else {"text"}
        seen.clear()
        losses = model.losses(question)
        assert set(seen) == read_now and all(torch.isfinite(loss.sum) for loss in losses.values())
    prepared.close()
    run = fit(asked.replace(tuning="probe", tasks={name: task for name, task in asked.tasks.items() if name != "words"}), tmp_path / "run")
    assert run.report.tasks["kind"]["metrics"]["rows"] == len(prepared.of("kind").parts["test"])
    assert "before" in run.report.tasks["kind"]["metrics"]["models"]


def test_tasks_without_labels_have_tables_too(tmp_path: Path) -> None:
    told = [{"text": f"dress number {i}", "mood": "xy"[i % 2]} for i in range(40)]
    pairs = [{"text": f"a {w} shirt {i}", "title": f"{w} {i}", "wrong": f"{w} {i + 1}"} for i, w in enumerate(["red", "blue", "green"] * 12)]
    tasks = {
        "mood": {"kind": "classify", "target": "mood"},
        "words": {"kind": "masked_text", "of": "text", "table": "pairs"},
        "belong": {"kind": "match", "a": "text", "b": "title", "negatives": ["wrong"], "table": "pairs"},
    }
    inputs = {"text": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}, "title": {"kind": "text", "shares": "text"}}
    asked = read({"data": told, "tables": {"pairs": pairs}, "inputs": inputs, "tasks": tasks, "train": {"epochs": 1, "batch": 8}})
    run = fit(asked, tmp_path / "run")
    tested = prepare(asked).of("belong").parts["test"]
    assert run.report.tasks["words"]["metrics"]["rows"] == run.report.tasks["belong"]["metrics"]["rows"] == len(tested)
    assert set(run.report.tasks["belong"]["metrics"]["models"]) == {"constant", "simple", "before", "after"}
    with pytest.raises(Mistake, match=r"tasks.belong: asks about input 'title', which rows does not have"):
        prepare(read(asked.to_dict() | {"data": told, "tables": {"pairs": [{"text": "a"}] * 9}}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"second": [row | {"b": f"word {i}"} for i, row in enumerate(other())]}, "tables.other, column b: holds string, but double in rows"),
        ({"second": [{"z": 1.0, "class": "left"}]}, "tables.other: rows has a column of no input"),
        ({"second": [{"b": 1.0, "c": 2.0}]}, "tasks.side: rows has no column 'class'"),
        ({"overrides": ["inputs.q=number"]}, "inputs.q: no table has a column 'q'"),
        ({"overrides": ["tasks.side.table=othr"]}, "tasks.side.table: there is no table 'othr'. Did you mean 'other'?"),
        ({"overrides": ["tables.third=x.csv"]}, "tables.third: no task asks it"),
        ({"overrides": ["train.mix={data: 3}"]}, "train.mix: names data. Say how many batches an epoch has of each: data, other"),
        ({"overrides": ["train.mix={data: 3, other: 1.5}"]}, "train.mix: counts of batches are whole numbers"),
        ({"overrides": ["tuning=auto"]}, "tuning: `auto` tries its rungs on one table"),
    ],
)
def test_refused(values: dict[str, Any], words: str) -> None:
    overrides = values.pop("overrides", [])
    with pytest.raises(Mistake) as refused:
        prepare(recipe(*overrides, **values))
    assert words in str(refused.value)


def test_a_mix_of_one_table_is_refused() -> None:
    with pytest.raises(Mistake, match=r"train.mix: there is one table"):
        read({"data": rows(20), "inputs": {"a": "number"}, "tasks": {"class": {"kind": "classify", "target": "class"}}, "train": {"mix": "turns"}})


def test_a_recipe_is_written_and_read_with_its_tables(tmp_path: Path) -> None:
    files = write_csv(tmp_path / "first.csv", rows(24)), write_csv(tmp_path / "second.csv", other(9))
    asked = recipe("train.mix={temperature: 3}", first=str(files[0]), second={"from": str(files[1]), "split": [0.5, 0.25, 0.25]})
    asked.write(tmp_path / "recipe.yaml")
    again = read(tmp_path / "recipe.yaml")
    assert again.to_dict() == asked.to_dict() and again.fingerprint == asked.fingerprint
    assert again.tables["other"].split == (0.5, 0.25, 0.25)
