"""Labels draw rows together, through the whole product: few-shot classification in two stages."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import checkpoints
from omnitune import Artifact, Mistake, Recipe, Retriever, ZeroShot, fit, index
from omnitune.recipe import read

TOPICS = {"dress": ["lovely", "soft", "silk"], "shoes": ["heavy", "leather", "sole"], "hat": ["wide", "felt", "brim"]}
COMMON = ["this", "is", "a", "good", "one", "and", "fits", "well"]


def rows(n: int = 180) -> list[dict[str, Any]]:
    """Texts that hold one word of their topic among common ones; some lack a text, some a topic."""
    rng, made = np.random.default_rng(0), []
    for i in range(n):
        topic = list(TOPICS)[i % 3]
        words = [*rng.choice(COMMON, 5), rng.choice(TOPICS[topic]), str(i)]
        made.append({"text": " ".join(words) if i % 31 else None, "topic": topic if i % 17 else None})
    return made


def recipe(tasks: Any = None, backbone: Any = None, source: Any = None, **train: Any) -> Recipe:
    text = {"kind": "text", "backbone": backbone or str(checkpoints.tiny_bert()), "max_tokens": 24}
    settings = {"epochs": 8, "batch": 64, "lr": 3e-3, "micro_batch": 16} | train
    data = {"from": source or rows(), "split": [0.6, 0.2, 0.2]}
    tasks = tasks or {"topic": {"kind": "contrast", "of": "text", "by": "topic"}}
    return read({"data": data, "inputs": {"text": text}, "tasks": tasks, "tuning": "full", "train": settings})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(recipe(), tmp_path_factory.mktemp("contrast") / "run")


def test_it_learns_and_says_how_much(trained: Artifact) -> None:
    told = trained.report.tasks["topic"]
    models = told["metrics"]["models"]
    assert told["form"] == "neighbours" and set(models) == {"constant", "before", "after"}
    assert models["after"]["map@r"]["value"] > models["before"]["map@r"]["value"] + 0.1
    assert models["after"]["nearest"]["low"] <= models["after"]["nearest"]["value"] <= models["after"]["nearest"]["high"]
    assert "chance, among" in told["baselines"]["constant"]


def test_its_backbone_is_where_a_classifier_starts(trained: Artifact, tmp_path: Path) -> None:
    """The second stage: the same few labels, the backbone as it is now or as it was."""
    found = {}
    for name, backbone in {"before": None, "after": str(trained.path / "inputs" / "text_")}.items():
        tasks = {"topic": {"kind": "classify", "target": "topic"}}
        probed = read(recipe(tasks, backbone).to_dict() | {"data": {"from": rows(), "split": [0.6, 0.2, 0.2]}, "tuning": "probe"})
        found[name] = fit(probed, tmp_path / name).report.tasks["topic"]["metrics"]["models"]["after"]["log_loss"]["value"]
    assert found["after"] < found["before"] - 0.1, found


def test_beside_a_classifier_in_one_run(tmp_path: Path) -> None:
    tasks = {"near": {"kind": "contrast", "of": "text", "by": "topic"}, "topic": {"kind": "classify", "target": "topic"}}
    run = fit(recipe(tasks, epochs=1), tmp_path / "run")
    assert set(run.predict([{"text": "a lovely one"}])[0]) == {"topic"}


def test_rows_like_a_row_are_found(trained: Artifact, tmp_path: Path) -> None:
    table = [row for row in rows() if row["text"] and row["topic"]]
    index(trained, table, "text", tmp_path / "index")
    retriever = Retriever(tmp_path / "index", table=table)
    found = retriever.recall(table, "topic", k=5)
    assert found.rows == len(table) and found.metrics["success@1"]["value"] > 0.5
    assert next(ZeroShot(trained, list(TOPICS))([{"text": "lovely silk"}]))["value"] in TOPICS
    with pytest.raises(Mistake, match="the rows of this index were in memory"):
        Retriever(tmp_path / "index")


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"of": "txt"}, "there is no input 'txt' to compare"),
        ({"by": "topik"}, "no column 'topik'"),
        ({"temperature": 0}, "temperature"),
        ({"by": "text"}, "is also input 'text'"),
    ],
)
def test_what_cannot_be_meant_is_said(change: dict[str, Any], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=wrong):
        fit(recipe({"topic": {"kind": "contrast", "of": "text", "by": "topic"} | change}), tmp_path / "run")


@pytest.mark.parametrize(("topics", "wrong"), [(["a"], "training rows are 'a'"), ([None], "no training row has a label")])
def test_labels_that_say_nothing(topics: list[Any], wrong: str, tmp_path: Path) -> None:
    source = [row | {"topic": topics[i % len(topics)]} for i, row in enumerate(rows(60))]
    with pytest.raises(Mistake, match=wrong):
        fit(recipe(source=source), tmp_path / "run")
    with pytest.raises(Mistake, match="no two training rows share a label"):
        fit(recipe(source=[row | {"topic": str(i)} for i, row in enumerate(rows(60))]), tmp_path / "run")


def test_heads_alone_have_nothing_to_learn(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="no weight of topic is its own"):
        fit(read(recipe().to_dict() | {"data": {"from": rows(), "split": [0.6, 0.2, 0.2]}, "tuning": "probe"}), tmp_path / "run")
