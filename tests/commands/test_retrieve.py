"""A table is embedded once and searched by texts, by pictures and by tables; classes are texts."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture
from typer.testing import CliRunner

import checkpoints
from omnitune import Artifact, Mistake, Retriever, ZeroShot, fit, index
from omnitune.cli import app
from omnitune.commands.zero_shot import values
from omnitune.modalities.image import Image
from omnitune.recipe import read
from test_match import recipe, rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`, a model of titles and texts, `table.parquet`, and `index` of its texts."""
    folder = tmp_path_factory.mktemp("retrieve")
    table = [row | {"pair": str(i)} for i, row in enumerate(rows(320))]
    pq.write_table(pa.Table.from_pylist(table), folder / "table.parquet")
    fit(recipe(source=str(folder / "table.parquet"), epochs=12), folder / "run")
    index(folder / "run", str(folder / "table.parquet"), "text", folder / "index")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`run`, a model of pictures in files and texts, and their `table.parquet`; the last picture is no file."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    source = []
    for i, data in enumerate(Image(backbone=str(checkpoints.tiny_vit())).example(24, rng)):
        (folder / f"{i}.png").write_bytes(data)
        source.append({"image": f"{i}.png", "text": f"picture {i} of {i % 7}", "kind": "even" if i % 2 == 0 else "odd"})
    pq.write_table(pa.Table.from_pylist(source), folder / "train.parquet")
    pq.write_table(pa.Table.from_pylist([*source, {"image": "none.png", "text": "none", "kind": "odd"}]), folder / "table.parquet")
    vit, bert = str(checkpoints.tiny_vit()), str(checkpoints.tiny_bert())
    inputs = {"image": {"kind": "image", "backbone": vit}, "text": {"kind": "text", "backbone": bert}}
    tasks = {"match": {"kind": "match", "a": "image", "b": "text"}, "near": {"kind": "contrast", "of": "image", "by": "kind"}}
    data = {"from": str(folder / "train.parquet"), "split": [0.6, 0.2, 0.2]}
    fit(read({"data": data, "inputs": inputs, "tasks": tasks, "train": {"epochs": 1}}), folder / "run")
    return folder


def test_a_title_finds_its_text(place: Path) -> None:
    found = list(Retriever(place / "index")(["lovely dress", None, "soft fabric"], k=3, show=("pair",)))
    assert [len(answer.get("found", [])) for answer in found] == [3, 0, 3] and found[1] == {"error": "missing"}
    best = found[0]["found"][0]
    assert (
        set(best) == {"row", "score", "text", "pair"} and rows(320)[best["row"] - 1]["text"] == best["text"] and int(best["pair"]) == best["row"] - 1
    )
    assert [one["score"] for one in found[0]["found"]] == sorted((one["score"] for one in found[0]["found"]), reverse=True)


def test_what_is_found_is_what_predict_says(place: Path) -> None:
    from omnitune import load

    best = next(Retriever(place / "index")(["lovely dress"], k=1))["found"][0]
    said = load(place / "run").predict({"title": "lovely dress", "text": best["text"]})["match"]["value"]
    assert best["score"] == pytest.approx(said, abs=1e-4)


def test_recall_is_what_ranks_say(place: Path) -> None:
    """Against all cosines, by hand."""
    retriever = Retriever(place / "index")
    found = retriever.recall(str(place / "table.parquet"), "pair", k=5)
    titles, texts = (retriever.embedder.all(str(place / "table.parquet")), _texts(retriever, place))
    there = [i for i, problem in enumerate(titles.problems) if problem is None]
    cosines = np.round(titles.vectors_nP @ texts.T, 5)
    ranks = np.array([int((cosines[i] > cosines[i, i]).sum() + (cosines[i, :i] == cosines[i, i]).sum()) for i in there])
    assert found.rows == len(there) and found.unread == 320 - len(there) and found.unanswered == 0
    assert found.metrics["recall@5"]["value"] == pytest.approx((ranks < 5).mean())
    assert found.metrics["mrr@5"]["value"] == pytest.approx(np.where(ranks < 5, 1 / (ranks + 1), 0).mean())
    assert found.metrics["recall@5"]["value"] > 0.2, "five of 320 would be 0.02"


def _texts(retriever: Retriever, place: Path) -> np.ndarray:
    from omnitune import load

    made: np.ndarray = load(place / "run").embedder("text").all(str(place / "table.parquet")).vectors_nP
    return made


def test_what_stands_for_nothing_has_no_vector(tmp_path: Path) -> None:
    source = [{"title": f"title {i % 9}", "tags": f"tag {i % 9}|all" if i % 8 else ""} for i in range(40)]
    inputs = {"title": {"kind": "text", "backbone": str(checkpoints.tiny_bert())}, "tags": "set"}
    tasks = {"match": {"kind": "match", "a": "title", "b": "tags"}}
    made = fit(read({"data": {"from": source, "split": [1, 0, 0]}, "inputs": inputs, "tasks": tasks, "train": {"epochs": 1}}), tmp_path / "run")
    found = made.embedder("tags").all(source)
    assert [i for i, problem in enumerate(found.problems) if problem == "missing"] == list(range(0, 40, 8))
    assert not found.vectors_nP[::8].any() and np.allclose(np.linalg.norm(found.vectors_nP[1:8], axis=1), 1)


def test_an_approximate_index_says_what_it_finds_of_the_nearest(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = str(place / "table.parquet")
    made = index(place / "run", table, "text", tmp_path / "index", approximate=True)
    approximate, exact = Retriever(made.path), Retriever(made.path, exact=True)
    found, wanted = (retriever.recall(table, "pair", k=5).metrics for retriever in (approximate, exact))
    assert found["kept@5"]["value"] > 0.9 and "kept@5" not in wanted
    assert found["recall@5"]["value"] == pytest.approx(wanted["recall@5"]["value"], abs=0.05)
    assert next(approximate(["lovely dress"], k=3)) == next(exact(["lovely dress"], k=3))
    assert list(approximate([None])) == [{"error": "missing"}]
    monkeypatch.setitem(sys.modules, "voyager", None)
    with pytest.raises(Mistake, match=r"pip install 'omnitune\[approximate\]'"):
        Retriever(made.path)
    with pytest.raises(Mistake, match="not installed"):
        index(place / "run", table, "text", tmp_path / "other", approximate=True)
    assert not (tmp_path / "other").exists() and next(Retriever(made.path, exact=True)(["lovely dress"]))["found"]


def test_a_row_does_not_find_itself(place: Path) -> None:
    retriever = Retriever(place / "index", by="text")
    told = list(retriever(str(place / "table.parquet"), k=1))
    assert all(answer["found"][0]["row"] != row for row, answer in enumerate(told, 1))
    moods = retriever.recall(str(place / "table.parquet"), "mood", k=1000)
    assert moods.metrics["recall@1000"]["value"] == pytest.approx(1.0) and moods.rows == 320
    assert retriever.recall(str(place / "table.parquet"), "pair").unanswered == 320, "the only right one is the row itself"


def test_another_model_or_table_is_refused(place: Path, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="was made with another model"):
        Retriever(place / "index", run=pictures / "run")
    pq.write_table(pa.Table.from_pylist(rows(119)), tmp_path / "table.parquet")
    with pytest.raises(Mistake, match="no longer the table that was indexed"):
        Retriever(place / "index", table=str(tmp_path / "table.parquet"))
    with pytest.raises(Mistake, match="exists"):
        index(place / "run", str(place / "table.parquet"), "text", place / "index")
    with pytest.raises(Mistake, match=r"input 'mood': is not compared"):
        index(place / "run", str(place / "table.parquet"), "mood", tmp_path / "new")
    with pytest.raises(Mistake, match="0 is none"):
        Retriever(place / "index").recall(str(place / "table.parquet"), "pair", k=0)
    with pytest.raises(Mistake, match=r"no column 'pear'.*Did you mean 'pair'"):
        list(Retriever(place / "index")(["a"], show=("pear",)))


def test_a_picture_finds_texts_and_a_text_pictures(pictures: Path) -> None:
    made = index(pictures / "run", str(pictures / "table.parquet"), "image", pictures / "images", task="match")
    assert list(made.about.problems) == [24] and made.about.rows == 25
    answer = next(Retriever(made.path)(["picture 3 of 3"], k=30))
    assert {one["row"] for one in answer["found"]} == set(range(1, 25)) and answer["found"][0]["image"].endswith(".png")
    index(pictures / "run", str(pictures / "table.parquet"), "text", pictures / "texts")
    assert len(next(Retriever(pictures / "texts")([str(pictures / "3.png")], k=2))["found"]) == 2
    unread = next(Retriever(pictures / "texts")([str(pictures / "none.png")]))
    assert "none.png" in unread["error"]


def test_classes_are_texts(pictures: Path) -> None:
    classes = ["even", "odd", "picture 3 of 3"]
    made = ZeroShot(pictures / "run", classes, templates=["{}", "a drawing of {}"])
    answers = list(made(str(pictures / "table.parquet")))
    assert len(answers) == 25 and "none.png" in answers[24]["error"]
    assert answers[0]["value"] in classes and sum(answers[0]["probabilities"].values()) == pytest.approx(1)
    best = max(classes, key=lambda name: answers[0]["probabilities"][name])
    assert answers[0]["value"] == best
    one = ZeroShot(pictures / "run", classes)
    cosines = {name: _cosine(pictures, "0.png", name) for name in classes}
    assert next(one([{"image": (pictures / "0.png").read_bytes()}]))["value"] == max(cosines, key=lambda name: cosines[name])
    figures = ZeroShot(pictures / "run", ["even", "odd"]).measure(str(pictures / "table.parquet"), "kind")
    told = [next(iter(a["probabilities"])) if a["probabilities"]["even"] > 0.5 else "odd" for a in _two(pictures)]
    right = np.mean([said == ("even" if i % 2 == 0 else "odd") for i, said in enumerate(told)])
    assert figures["rows"] == 24 and figures["unread"] == 1 and figures["models"]["zero_shot"]["accuracy"]["value"] == pytest.approx(right)


def test_a_class_keeps_its_name_whatever_the_column_holds(pictures: Path) -> None:
    table = {"image": [(pictures / f"{i}.png").read_bytes() for i in range(4)], "year": [1.0, 2.0, None, 1.0]}
    assert values(table, "year") == ["1", "2"]
    figures = ZeroShot(pictures / "run", ["1", "2"]).measure(table, "year")
    assert figures["rows"] == 3 and figures["other"] == 1


def _two(pictures: Path) -> list[dict[str, Any]]:
    return list(ZeroShot(pictures / "run", ["even", "odd"])(str(pictures / "train.parquet")))


def _cosine(pictures: Path, image: str, text: str) -> float:
    from omnitune import load

    value: float = load(pictures / "run").predict({"image": (pictures / image).read_bytes(), "text": text})["match"]["value"]
    return value


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"classes": ["a"]}, "cannot be told apart"),
        ({"classes": ["a", "a"]}, "'a' is there twice"),
        ({"classes": ["a", " "]}, "one is empty"),
        ({"classes": ["a", "b"], "templates": ["of"]}, "no place for the class"),
        ({"classes": ["a", "b"], "of": "text"}, "is compared with 'image', which is no text"),
    ],
)
def test_classes_that_cannot_be_meant(settings: dict[str, Any], wrong: str, pictures: Path) -> None:
    with pytest.raises(Mistake, match=wrong):
        ZeroShot(pictures / "run", **settings)


def test_texts_on_both_sides_want_a_name(place: Path) -> None:
    with pytest.raises(Mistake, match="rows may be of any of: title, text"):
        ZeroShot(place / "run", ["a", "b"])
    assert len(list(ZeroShot(place / "run", ["lovely", "cheap"], of="text")([{"text": "lovely dress"}]))) == 1


def test_without_such_a_task_it_is_said(trained_classifier: Artifact) -> None:
    with pytest.raises(Mistake, match="Train with a task of kind: match"):
        trained_classifier.embedder("text")


@pytest.fixture(scope="module")
def trained_classifier(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    tasks = {"mood": {"kind": "classify", "target": "mood"}}
    return fit(recipe(tasks, rows(60), epochs=1), tmp_path_factory.mktemp("classify") / "run")


def test_on_the_command_line(place: Path, pictures: Path, tmp_path: Path) -> None:
    def run(*words: Any) -> str:
        done = CliRunner().invoke(app, [str(word) for word in words])
        assert done.exit_code == 0, (words, done.output, done.stderr)
        return done.stdout

    made = json.loads(run("index", place / "run", place / "table.parquet", "--of", "title", "--json"))
    assert made["index"] == str(place / "run-title.index") and (place / "run-title.index").is_dir()
    assert made["rows"] == 320 and made["problems"]["0"] == "missing"
    lines = run("retrieve", place / "index", "lovely dress", "-k", 2, "--show", "pair").strip().splitlines()
    assert len(lines) == 2 and "row " in lines[0]
    assert "recall@10" in run("retrieve", place / "index", "--table", place / "table.parquet", "--same", "pair")
    assert len(run("retrieve", place / "index", "--table", place / "table.parquet", "--json").splitlines()) == 320
    told = run("index", place / "run", place / "table.parquet", "--of", "text", "--approximate", "--out", tmp_path / "near")
    assert "% of the 10 nearest rows are found" in told.splitlines()[-1]
    assert "kept@10" in run("retrieve", tmp_path / "near", "--table", place / "table.parquet", "--same", "pair")
    assert "kept@10" not in run("retrieve", tmp_path / "near", "--table", place / "table.parquet", "--same", "pair", "--exact")
    assert "accuracy" in run("zero-shot", pictures / "run", pictures / "table.parquet", "--target", "kind", "--template", "it is {}")
    told = run("zero-shot", pictures / "run", pictures / "table.parquet", "-c", "even", "-c", "odd").splitlines()
    assert len(told) == 25 and told[0].startswith("class: ") and told[24].startswith("error: ")
    assert CliRunner().invoke(app, ["retrieve", str(place / "index")]).exit_code == 2
    Picture.new("RGB", (8, 8)).save(tmp_path / "black.png")
    index(pictures / "run", str(pictures / "train.parquet"), "text", tmp_path / "texts")
    assert len(run("retrieve", tmp_path / "texts", tmp_path / "black.png").strip().splitlines()) == 10
