"""Several texts, pictures or sounds in one cell: each read by itself, and what stands for the row is made of all of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune import artifact as artifacts
from omnitune.commands.fit import fit
from omnitune.component import find
from omnitune.data import store as cache
from omnitune.data.prepared import prepare
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.recipe import Recipe, read
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from runs import ready, write_csv

BACKBONES = {"text": checkpoints.tiny_bert, "image": checkpoints.tiny_vit, "audio": checkpoints.SOUND["whisper"]}
COUNTS = [2, 1, 3, 0, 2, 4, 1, 0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "kept")


def rows(kind: str, n: int = 24) -> list[dict[str, Any]]:
    """Cells of one to four values, one of them missing; empty lists and missing cells."""
    values = iter(find(Modality, kind)().example(4 * n, np.random.default_rng(0)))  # type: ignore[type-abstract]
    cells: list[Any] = [[next(values) for _ in range(COUNTS[i % 8])] for i in range(n)]
    cells[2].insert(1, None)
    cells[7] = None
    return [{"x": cell, "y": "ab"[i % 2]} for i, cell in enumerate(cells)]


def recipe(kind: str, *overrides: str, table: Any = None, most: int = 3) -> Recipe:
    calm = {"augment": False} if kind == "image" else {}
    values = {
        "data": {"from": table or rows(kind), "split": [0.7, 0.3, 0]},
        "inputs": {"x": {"kind": kind, "backbone": str(BACKBONES[kind]()), "most": most} | calm},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
        "train": {"epochs": 2, "batch": 8, "optimizer": "sgd", "lr": 0.05, "head_lr": 0.05},
    }
    return read(values, overrides)


def trained(asked: Recipe) -> tuple[Model, Frozen]:
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    train = prepared.recipe.train
    for _ in Loop(model, frozen.prepared.batches("train", int(train.batch), train.seed), train, {"y": 1.0}):
        pass
    frozen.close()
    prepared.close()
    return model, frozen


@pytest.mark.parametrize("kind", BACKBONES)
def test_tokens_are_the_vectors_of_the_values(kind: str) -> None:
    asked = recipe(kind)
    model, prepared = ready(asked)
    model.eval()
    cells = [row["x"] for row in rows(kind)]
    several, one = asked.inputs["x"], asked.inputs["x"].one
    facts, batch = prepared.schema.inputs["x"], prepared.batches("train", 24).encoded(np.arange(24), None, 0, {})
    model.tokens("x", batch)  # which looks for a way to narrow the last block
    seen: list[int] = []
    model.backbones["x"].model.register_forward_hook(lambda *_: seen.append(1))
    tokens = model.tokens("x", batch)
    assert kind == "audio" or seen == [1]  # all values of all rows at once; sounds one length at a time
    assert several.encode(cells, facts)["several"].sum() == sum(min(3, len([v for v in cell or [] if v is not None])) or 1 for cell in cells)
    for i, cell in enumerate(cells):
        values = [value for value in cell or [] if value is not None][:3]
        assert tokens.mask_BL[i].sum() == len(values)
        if values:
            alone = model.encoder("x")(one.encode(values, facts)).pooled()
            torch.testing.assert_close(tokens.x_BLD[i][tokens.mask_BL[i]], alone, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(tokens.pooled()[i], alone.mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "fusion", "tuning"),
    [
        ("text", "concat", "probe"),
        ("text", "attend", "probe"),
        ("text", "attend", "{kind: freeze, blocks: 1}"),
        ("image", "concat", "{kind: freeze, blocks: 1}"),
        ("audio", "attend", "{kind: freeze, blocks: 1}"),
    ],
)
def test_what_is_kept_changes_nothing(kind: str, fusion: str, tuning: str) -> None:
    asked = [f"fusion={fusion}", f"tuning={tuning}"]
    wanted, _ = trained(recipe(kind, *asked, "train.cache=0"))
    for _ in range(2):
        found, frozen = trained(recipe(kind, *asked))
        assert set(frozen.prefixes) == {"x"}
        for name, weight in wanted.learning().items():
            torch.testing.assert_close(found.learning()[name], weight, rtol=1e-4, atol=1e-5)
    assert frozen.prefixes["x"].computed == 0 and frozen.prefixes["x"].read > len(frozen.prepared.parts["train"])


def test_it_shares_a_backbone_with_single_values() -> None:
    table = [row | {"title": f"title {i}"} for i, row in enumerate(rows("text"))]
    inputs = {"title": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}, "x": {"kind": "text", "shares": "title", "most": 3}}
    model, prepared = ready(
        read({"data": {"from": table, "split": [1, 0, 0]}, "inputs": inputs, "tasks": {"y": {"kind": "classify", "target": "y"}}})
    )
    seen: list[int] = []
    model.backbones["title"].model.register_forward_hook(lambda *_: seen.append(1))
    view = model(prepared.batches("train", 24).question(np.arange(24)).asked["y"][0])
    assert seen == [1] and view.streams["x"].x_BLD.shape[:2] == (24, 3) and view.streams["title"].x_BLD.shape[0] == 24


def pictures(folder: Path, n: int = 24) -> Path:
    """A table of files beside it, its lists written into a CSV file."""
    table = []
    for i, row in enumerate(rows("image", n)):
        names = [f"{i}-{j}.png" for j in range(len([data for data in row["x"] or [] if data]))]
        for name, data in zip(names, [data for data in row["x"] or [] if data], strict=True):
            (folder / name).write_bytes(data)
        table.append({"x": json.dumps(names) if row["x"] is not None else None, "y": row["y"]})
    return write_csv(folder / "table.csv", table)


def test_a_whole_run_of_pictures_in_a_file(tmp_path: Path) -> None:
    file = pictures(tmp_path)
    asked = recipe("image", "tuning=full", "data.split=[0.6, 0.2, 0.2]", "train.epochs=1", "inputs.x.augment=true", table=str(file))
    run = fit(asked, tmp_path / "run")
    answers = artifacts.load(tmp_path / "run").predict(str(file))
    assert len(answers) == 24 and all("value" in answer["y"] for answer in answers)
    opened = [row["x"] for row in rows("image")]
    alone = [run.predict({"x": cell, "y": None}) for cell in opened]
    for i, answer in enumerate(answers):  # from lists of bytes as from texts that write lists of paths
        assert alone[i]["y"]["probabilities"] == pytest.approx(answer["y"]["probabilities"], abs=1e-5)
    bad = run.predict([{"x": [opened[0][0], b"nothing"]}])
    assert "value 2" in bad[0]["error"]
    assert any("hold more than the 3 that are read" in caution["text"] for caution in run.report.warnings)


def test_simple_models_read_all_texts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = []
    for i in range(160):
        words = [f"word{w}" for w in rng.integers(40, size=6)]
        words[5] = "good" if i % 2 else "bad"  # in the second text alone
        table.append({"x": [" ".join(words[:3]) + f" {i}", " ".join(words[3:])], "y": "ab"[i % 2]})
    run = fit(recipe("text", "tuning=probe", "data.split=[0.6, 0.2, 0.2]", "train.epochs=1", table=table), tmp_path / "run")
    assert run.report.tasks["y"]["metrics"]["models"]["simple"]["accuracy"]["value"] > 0.9


def test_the_split_knows_the_content_of_lists(tmp_path: Path) -> None:
    file = pictures(tmp_path)
    by_path, by_bytes = prepare(recipe("image", table=str(file))), prepare(recipe("image"))
    assert {part: found.tolist() for part, found in by_path.parts.items()} == {part: found.tolist() for part, found in by_bytes.parts.items()}
    assert by_path.parts["train"].size


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("inputs.x.most=1", "row 1, column x: expected a text, a number, a date or true/false, got list. Where a cell may hold several, set `most`"),
        ("inputs.x.pieces=true", "inputs.x.most: a cell may hold several values, and it is read in pieces"),
        ("tasks.words={kind: masked_text, of: x}", "inputs.x.most: a cell may hold several values, and tasks.words asks it about itself"),
        ("inputs.x.most=0", "inputs.x.most"),
    ],
)
def test_refused(override: str, words: str) -> None:
    with pytest.raises(Mistake) as refused:
        prepare(recipe("text", override))
    assert words in str(refused.value)
