"""Tags through whole runs: names found in long texts, a label for every word; measured, saved, predicted; and what is wrong is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitune import Artifact, Mistake, Tag, compare, fit, load
from omnitune.nn.tag_metrics import tag_metrics
from omnitune.nn.tagged import counted, joined, tags
from omnitune.recipe import Recipe, read
from omnitune.tasks.tag import read as read_cell
from runs import ready

BERT = {"kind": "bert", "depth": 2, "width": 48, "heads": 2, "context": 64, "vocabulary": 300}
PEOPLE, TOWNS = ("anna", "ben li", "carl"), ("oslo", "new york", "rome")


def rows(n: int = 160) -> list[dict[str, Any]]:
    """Who went where, behind so much else; `names` by characters, `tags` by words, `kinds` a label for every word."""
    rng, made = np.random.default_rng(0), []
    for i in range(n):
        who, town = str(rng.choice(PEOPLE)), str(rng.choice(TOWNS))
        before = "and so on " * int(rng.integers(0, 12))
        text = f"{before}in {town} number {i} met {who}" if i % 5 else f"{before}number {i} sat"
        parts = [(text.index(f"in {town}") + 3, town, "place"), (text.index(f"met {who}") + 4, who, "person")] if i % 5 else []
        words = text.split()
        coded = {4 + len(town.split()): who.split(), 1: town.split()} if i % 5 else {}
        tags = ["O"] * len(words)
        for first, name in coded.items():
            at = first + len(before.split())
            for k in range(len(name)):
                tags[at + k] = ("I-" if k else "B-") + ("place" if first == 1 else "person")
        names = [{"start": start, "stop": start + len(name), "label": label} for start, name, label in parts]
        kinds = ["number" if word.isdigit() else "word" for word in words]
        made.append({"text": text, "names": names, "tags": tags, "kinds": kinds, "long": str(len(words) > 12)})
    return made


def recipe(source: Any = None, *overrides: str, max_tokens: int = 32, target: str = "names", **more: Any) -> Recipe:
    values = {
        "data": {"from": rows() if source is None else source},
        "inputs": {"text": {"kind": "text", "backbone": BERT, "max_tokens": max_tokens}},
        "tasks": {"who": {"kind": "tag", "of": "text", "target": target, "overlap": 8}} | more,
        "train": {"epochs": 6, "batch": 16, "lr": 3e-3, "head_lr": 1e-2},
    }
    return read(values, overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(None, "train.stop_on=who.f1", "expect={who.recall: [0.8, 1]}"), tmp_path_factory.mktemp("tag") / "run")


def test_it_learns_to_find_names(trained: Artifact) -> None:
    task = trained.report.tasks["who"]
    models = task["metrics"]["models"]
    assert models["after"]["f1"]["value"] > 0.9 > models["before"]["f1"]["value"]
    assert models["constant"]["recall"]["value"] == 0
    assert 0.5 < models["constant"]["token_accuracy"]["value"] < models["after"]["token_accuracy"]["value"]
    assert models["simple"]["recall"]["value"] > 0.9, "the words are those of training"
    assert models["simple"]["token_accuracy"]["value"] is None or np.isnan(models["simple"]["token_accuracy"]["value"])
    classes = {of["name"]: of for of in task["details"]["classes"]}
    assert set(classes) == {"person", "place"} and classes["person"]["support"] == classes["place"]["support"] > 0
    assert compare(trained.path, trained.path)["tasks"]["who"]["shared"] == task["metrics"]["rows"]
    assert "token-classification" in (trained.path / "README.md").read_text()


def test_predictions_are_words_with_their_place(trained: Artifact) -> None:
    some = rows()[:40]
    answers = trained.predict([{"text": row["text"]} for row in some])
    right = 0
    for answer, row in zip(answers, some, strict=True):
        for part in answer["who"]["value"]:
            assert row["text"][part["start"] : part["stop"]] == part["text"] and 0 < part["probability"] <= 1
        right += [{k: part[k] for k in ("start", "stop", "label")} for part in answer["who"]["value"]] == row["names"]
    assert right > 32
    assert load(trained.path).predict([{"text": row["text"]} for row in some]) == answers
    assert trained.predict([{"text": None}])[0]["who"]["value"] == []


def test_names_deep_in_a_long_text_are_found_once(trained: Artifact) -> None:
    text = "and so on " * 60 + "in oslo number 7 met anna " + "and so on " * 60
    found = trained.predict({"text": text})["who"]["value"]
    assert [(part["label"], part["text"]) for part in found if part["text"] in ("oslo", "anna")] == [("place", "oslo"), ("person", "anna")]


def test_tags_of_words_are_the_same_parts() -> None:
    task = Tag(of="text", target="tags")
    for row in rows(30):
        assert task.parts(row["text"], row["tags"]) == [(p["start"], p["stop"], p["label"]) for p in row["names"]]
    assert [label for _, _, label in task.parts("a b 1", ["word", "word", "number"]) or []] == ["word", "word", "number"]
    assert read_cell('["B-x", "I-x", "I-y", "O", "I-x"]') == ([(0, 2, "x"), (2, 3, "y"), (4, 5, "x")], 5)
    assert read_cell(["S-x", "B-x", "E-x", "U-y"]) == ([(0, 1, "x"), (1, 3, "x"), (3, 4, "y")], 4)
    assert read_cell([{"start": 3, "end": 5, "entity_group": "x"}, [0, 2, "y"]]) == ([(0, 2, "y"), (3, 5, "x")], None)
    assert read_cell([]) == ([], None) and read_cell(None) is None


def test_a_label_for_every_word_beside_another_task(tmp_path: Path) -> None:
    long = {"kind": "classify", "target": "long"}
    artifact = fit(recipe(rows(60), "train.epochs=8", target="kinds", long=long), tmp_path / "run")
    models = artifact.report.tasks["who"]["metrics"]["models"]
    assert models["after"]["f1"]["value"] > 0.9
    said = artifact.predict({"text": "number 7 sat"})
    assert [part["label"] for part in said["who"]["value"]] == ["word", "number", "word"] and said["long"]["value"] in ("True", "False")


def test_rows_without_tags_are_not_learned_from_and_empty_ones_are() -> None:
    source = rows(40)
    source[1] |= {"names": None}
    _, prepared = ready(recipe(source))
    for row in (0, 1):
        batch, target = prepared.batches("train", 4, rows=np.array([row])).question(np.array([row])).asked["who"]
        assert (target["weight"] > 0).item() == (row == 0)
        assert (target["tags"] == (0 if row == 0 else -1))[batch.inputs["text"]["stop"] > 0].all()


def test_a_text_stands_alone_in_its_windows() -> None:
    _, prepared = ready(recipe())
    batch, _ = prepared.batches("train", 4, rows=np.array([1])).question(np.array([1])).asked["who"]
    inputs = batch.inputs["text"]
    assert ((inputs["stop"] > inputs["start"]).sum(1) == inputs["attention_mask"].flatten(1).sum(1) - 2 * inputs["input_ids"].shape[1]).all()
    assert not inputs["token_type_ids"].any()


def test_tags_of_tokens_and_the_parts_they_say_are_each_other() -> None:
    start, stop = torch.tensor([[0, 4, 6, 9, -1]]), torch.tensor([[3, 6, 8, 12, -1]])
    gold = torch.tensor([[[4, 8, 1], [9, 12, 1], [-1, -1, -1]]])
    found = tags(start, stop, gold)
    assert found.tolist() == [[0, 3, 4, 3, -1]]
    said = joined(start.numpy(), stop.numpy(), found.numpy(), np.full((1, 5), 0.5))
    assert said == [(4, 8, 1, 0.25), (9, 12, 1, 0.5)]
    assert joined(start.numpy(), stop.numpy(), np.array([[4, 2, 4, 4, 0]]), np.ones((1, 5))) == [(0, 3, 1, 1), (4, 6, 0, 1), (6, 12, 1, 1)]
    counts = counted([[(4, 8, 1), (9, 12, 1)]], [[(4, 8, 1, 1.0), (9, 12, 0, 1.0)]], 2)
    assert counts.tolist() == [[0, 1, 1, 1]]


def test_where_windows_overlap_the_one_that_sees_most_speaks() -> None:
    start, stop = np.array([[0, 2, 4], [2, 4, 6]]), np.array([[1, 3, 5], [3, 5, 7]])
    best = np.array([[0, 1, 0], [0, 3, 0]])
    assert joined(start, stop, best, np.ones((2, 3))) == [(2, 3, 0, 1), (4, 5, 1, 1)]


def test_figures_are_those_of_the_definition() -> None:
    y, p = np.array([[2, 1, 10, 5], [0, 1, 6, 4]]), np.array([[1, 1, 3, 1, 8.0], [0, 0, 1, 0, 6]])
    found = {name: metric.compute(y, p) for name, metric in tag_metrics(2).items()}
    assert found["precision"] == pytest.approx(2 / 5) and found["recall"] == pytest.approx(2 / 4) and found["f1"] == pytest.approx(4 / 9)
    assert found["macro_f1"] == pytest.approx((2 / 6 + 2 / 3) / 2) and found["token_accuracy"] == pytest.approx(14 / 16)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ([{"start": 0, "stop": 500, "label": "x"}], "does not lie in its text of"),
        ([{"start": 0, "stop": 4, "label": "x"}, {"start": 2, "stop": 5, "label": "x"}], "overlaps the one before it"),
        (["O", "O"], "2 tags, and .* words in the text"),
        ([{"start": 0, "label": "x"}], "lacks its start, stop or label"),
        ("person", "expected a list of parts or of tags, got str"),
        (["O", None], "one tag for each word"),
    ],
)
def test_tags_that_do_not_fit_are_refused_with_their_row(tags: Any, message: str, tmp_path: Path) -> None:
    source = [row | {"names": json.dumps(row["names"])} for row in rows(40)]
    source[3] |= {"names": json.dumps(tags) if isinstance(tags, list) else tags}
    with pytest.raises(Mistake, match=message) as error:
        fit(recipe(source), tmp_path / "run")
    assert "row 4, column names" in str(error.value)


def test_what_can_never_be_tagged_is_said(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no training row has a part that is tagged"):
        fit(recipe([row | {"names": []} for row in rows(40)]), tmp_path / "run")
    with pytest.raises(Mistake, match="windows are read, and not pieces"):
        fit(recipe(rows(40), "inputs.text.pieces=true"), tmp_path / "other")
