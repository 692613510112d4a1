"""What belongs together, through the whole product: texts with texts, pictures with texts, beside answers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import Artifact, Mistake, compare, fit, load
from omnitune.data.prepared import prepare
from omnitune.modalities.image import Image
from omnitune.recipe import Recipe, read
from runs import cut_and_resumed, same_weights

WORDS = ["this", "dress", "fits", "well", "colour", "lovely", "fabric", "cheap", "small", "soft", "true", "cold", "love", "quality", "wash", "day"]
TASKS: dict[str, Any] = {"match": {"kind": "match", "a": "title", "b": "text", "width": 16}}


def rows(n: int = 320) -> list[dict[str, Any]]:
    """Titles of two words that their texts say again; some are missing, and some come twice."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        title = " ".join(rng.choice(WORDS, 2, replace=False))
        made.append({"title": title if i % 13 else None, "text": f"{title} and {rng.choice(WORDS)} {i}", "mood": "ab"[i % 2]})
    return made


def recipe(tasks: Any = TASKS, source: Any = None, **train: Any) -> Recipe:
    gpt = {"kind": "gpt", "depth": 1, "width": 32, "heads": 2, "context": 16, "vocabulary": 300}
    text = {"kind": "text", "backbone": gpt, "max_tokens": 16}
    settings = {"epochs": 12, "batch": 32, "lr": 5e-3, "head_lr": 5e-3} | train
    data = {"from": source or rows(), "split": [0.6, 0.2, 0.2]}
    return read({"data": data, "inputs": {"title": text, "text": text}, "tasks": tasks, "train": settings})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("match") / "run")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    task = trained.report.tasks["match"]
    models = task["metrics"]["models"]
    assert set(models) == {"constant", "simple", "before", "after"} and task["form"] == "pairs"
    assert models["after"]["mrr"]["value"] > 2 * models["constant"]["mrr"]["value"]
    assert models["after"]["mrr"]["low"] < models["after"]["mrr"]["value"] < models["after"]["mrr"]["high"]
    assert "chance, among" in task["baselines"]["constant"] and "TF-IDF" in task["baselines"]["simple"]
    assert task["metrics"]["rows"] == sum(rows()[i]["title"] is not None for i in prepare(recipe()).parts["test"])
    assert "mrr" in (trained.path / "report.md").read_text() and "sentence-similarity" in (trained.path / "README.md").read_text()


def test_it_says_of_rows_how_well_they_match(trained: Artifact) -> None:
    title = "lovely dress"
    asked = [{"title": title, "text": "lovely dress and soft"}, {"title": title, "text": "cheap wash and cold"}, {"title": None, "text": "a"}]
    fit_, unfit, missing = trained.predict(asked)
    assert 1 >= fit_["match"]["value"] > unfit["match"]["value"] >= -1 and missing["match"]["value"] is None
    assert trained.rounding([{"title": "a", "text": "b"}, {"title": None, "text": "b"}])["match"].rows == 2


def test_saved_and_loaded_it_says_the_same(trained: Artifact) -> None:
    some = [{"title": "soft fabric", "text": "soft fabric and day"}]
    assert load(trained.path).predict(some) == trained.predict(some)


def test_equal_values_are_known_by_what_they_are() -> None:
    source = rows(20)
    source[1]["title"], source[2]["text"] = source[5]["title"], source[6]["text"]
    prepared = prepare(recipe(source=source).replace(data=recipe(source=source).data.replace(split=(1.0, 0.0, 0.0))))
    target = prepared.batches("train", 20).question(np.arange(20)).asked["match"][1]
    same = [(i, j) for i in range(20) for j in range(i) if (target["y"][i] == target["y"][j]).any()]
    assert (5, 1) in same and (6, 2) in same and len(same) <= 4
    assert target["weight"].tolist() == [float(row["title"] is not None) for row in source]


def test_the_same_seed_gives_the_same_bits(trained: Artifact, tmp_path: Path) -> None:
    again = fit(recipe(), tmp_path / "again")
    assert all(torch.equal(t, again.model.state_dict()[name]) for name, t in trained.model.state_dict().items())
    shared = compare(trained.path, tmp_path / "again")["tasks"]["match"]
    assert shared["shared"] and not shared["only_a"] and shared["metrics"]["differences"]["a"]["mrr"]["value"] == 0


def test_cut_off_and_resumed_it_ends_the_same(trained: Artifact, tmp_path: Path) -> None:
    resumed = cut_and_resumed(recipe(save_minutes=1e-9), tmp_path / "off", 6)
    assert same_weights(trained, resumed)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_it_learns_beside_answers_with_frozen_parts(loss: str, tmp_path: Path) -> None:
    tasks = {"match": TASKS["match"] | {"loss": loss}, "mood": {"kind": "classify", "target": "mood"}}
    made = fit(
        recipe(tasks, epochs=2, stop_on="match.mrr").replace(tuning=read(recipe().to_dict() | {"data": "x", "tuning": "probe"}).tuning),
        tmp_path / "run",
    )
    assert set(made.predict([{"title": "a", "text": "b"}])[0]) == {"match", "mood"}
    assert "rows computed" in made.report.cost["frozen part of text"]


def test_pictures_match_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = Image(backbone=str(checkpoints.tiny_vit())).example(64, rng)
    source = [{"image": picture, "text": f"picture {i} of {i % 7}"} for i, picture in enumerate(pictures)]
    inputs = {"image": {"kind": "image", "backbone": str(checkpoints.tiny_vit())}, "text": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}}
    tasks = {"match": {"kind": "match", "a": "image", "b": "text"}}
    made = fit(read({"data": {"from": source}, "inputs": inputs, "tasks": tasks, "train": {"epochs": 1}}), tmp_path / "run")
    models = made.report.tasks["match"]["metrics"]["models"]
    assert set(models) == {"constant", "before", "after"}
    assert -1 <= made.predict([{"image": pictures[0], "text": "a"}])[0]["match"]["value"] <= 1


def test_hard_negatives_are_read_by_the_same_backbone_and_not_asked_for_later(tmp_path: Path) -> None:
    source = [row | {"near": f"{row['title']} but wrong" if i % 5 else None, "far": "wash day"} for i, row in enumerate(rows(60))]
    task = TASKS["match"] | {"negatives": ["near", "far"]}
    made = recipe({"match": task}, source, epochs=1, micro_batch=8)
    prepared = prepare(made)
    question = prepared.batches("train", 32).question(prepared.parts["train"][:10])
    batch, target = question.asked["match"]
    assert target["wrong"].shape == (10, 2) and (target["wrong"][:, 1] == target["wrong"][0, 1]).all()
    assert (target["wrong"][:, 0] == -1).tolist() == [source[i]["near"] is None for i in prepared.parts["train"][:10]]
    assert len(batch.inputs) == 4
    run = fit(made, tmp_path / "run")
    assert len(run.model.encoders) == 2
    assert -1 <= run.predict({"title": "soft fabric", "text": "soft fabric"})["match"]["value"] <= 1
    probed = read(made.to_dict() | {"data": {"from": source, "split": [0.6, 0.2, 0.2]}, "tuning": "probe"})
    assert "match" in fit(probed, tmp_path / "probed").report.tasks


def test_hard_negatives_change_what_is_learned(tmp_path: Path) -> None:
    """Only where training shows that a text which says `not` is wrong is it told from the right one."""
    source = [row | {"wrong": row["text"].replace(" and ", " not ")} for row in rows(120) if row["title"]]
    found = {}
    for name, more in {"with": {"negatives": "wrong"}, "without": {}}.items():
        made = fit(recipe({"match": TASKS["match"] | more}, source, epochs=12), tmp_path / name)
        answers = [made.predict([{"title": row["title"], "text": row[which]} for row in source]) for which in ("text", "wrong")]
        found[name] = np.mean([right["match"]["value"] > wrong["match"]["value"] for right, wrong in zip(*answers, strict=True)])
    assert found["with"] > found["without"] + 0.1, found


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ({"a": "titel", "b": "text"}, "there is no input 'titel' to compare.*Did you mean 'title'"),
        ({"a": "text", "b": "text"}, "compares input 'text' with itself"),
        ({"a": "title", "b": "text", "width": 0}, "width"),
        ({"a": "title", "b": "text", "negatives": 3}, "negatives"),
    ],
)
def test_what_cannot_be_compared_is_said(task: Any, wrong: str) -> None:
    with pytest.raises(Mistake, match=wrong):
        recipe({"match": {"kind": "match"} | task})


def test_a_column_of_negatives_that_is_not_there_is_said() -> None:
    with pytest.raises(Mistake, match=r"no column 'mod'.*Did you mean 'mood'"):
        prepare(recipe({"match": TASKS["match"] | {"negatives": "mod"}}))
