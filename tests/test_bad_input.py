"""Bad input, through the whole product: each mistake is told once, with its place and its cure, and nothing is lost."""

import csv
import io
import json
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pictures

from checkpoints import tiny_bert, tiny_vit
from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from omnitune.recipe import read
from runs import rows, write_csv

pytestmark = pytest.mark.slow

Row = dict[str, Any]
QUICK = {"epochs": 1, "batch": 16, "head_lr": 0.01}
TABULAR: Row = {
    "inputs": {"a": "number", "b": "number", "color": "category"},
    "tasks": {"class": {"kind": "classify", "target": "class"}, "value": {"kind": "regress", "target": "value"}},
    "train": QUICK,
}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNITUNE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def run(source: Any, out: Path, values: Row = TABULAR, *overrides: str) -> Artifact:
    return fit(read({"data": {"from": source, "split": [0.6, 0.2, 0.2]}, **values}, overrides), out)


def refused(source: Any, out: Path, values: Row = TABULAR, *overrides: str) -> str:
    """What a run says that cannot start; the corrected command must find its folder free."""
    with pytest.raises(Mistake) as caught:
        run(source, out, values, *overrides)
    assert not out.exists() or not any(out.iterdir()), "a run that never began blocks its folder"
    return str(caught.value)


def changed(**columns: Callable[[int, Any], Any]) -> list[Row]:
    """The table with some columns rewritten by row number and value."""
    return [row | {name: change(i, row[name]) for name, change in columns.items()} for i, row in enumerate(rows(120))]


def texts(n: int) -> list[Row]:
    return [{"text": f"{['bad', 'good'][i % 2]} {i}", "mood": i % 2} for i in range(n)]


def worded(backbone: str) -> Row:
    return {
        "inputs": {"text": {"kind": "text", "backbone": backbone, "max_tokens": 16}},
        "tasks": {"mood": {"kind": "classify", "target": "mood"}}, "train": {"epochs": 1, "batch": 16}, "tuning": "probe",
    }  # fmt: skip


# Tables


def test_a_missing_file_is_named_with_its_nearest_neighbour(tmp_path: Path) -> None:
    write_csv(tmp_path / "reviews.csv", rows(10))
    assert re.search(r"review\.csv: there is no such file. Did you mean 'reviews\.csv'\?", refused(str(tmp_path / "review.csv"), tmp_path / "run"))


def test_missing_columns_and_targets_are_told_at_once(tmp_path: Path) -> None:
    told = refused(write_csv(tmp_path / "t.csv", rows(60)), tmp_path / "run", TABULAR, "inputs.colour=category", "tasks.class.target=clas")
    assert "inputs.colour: t.csv has no column 'colour'. Did you mean 'color'?" in told
    assert "tasks.class: t.csv has no column 'clas'. Did you mean 'class'?" in told


@pytest.mark.parametrize("text", ["", "a,b,color,class,value\n"])
def test_an_empty_table(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert re.search(r"t\.csv: there are no rows.*Give a header line and at least one row", refused(tmp_path / "t.csv", tmp_path / "run"))
    assert "there are no rows" in refused([], tmp_path / "run")


def test_one_class_only(tmp_path: Path) -> None:
    told = refused(changed(**{"class": lambda i, _: "high"}), tmp_path / "run")
    assert re.search(r"target 'class': all \d+ training rows are 'high'. There is nothing to tell apart: add rows of other classes", told)


def test_one_number_only(tmp_path: Path) -> None:
    told = refused(changed(value=lambda i, _: 3.0), tmp_path / "run")
    assert re.search(r"target 'value': all \d+ training rows are 3. There is nothing to learn", told)


def test_a_target_without_any_answer(tmp_path: Path) -> None:
    assert "target 'value': no training row has an answer. Fill the column" in refused(changed(value=lambda i, _: None), tmp_path / "run")


def test_a_class_that_training_never_saw_is_counted_and_predicts(tmp_path: Path) -> None:
    for part, more in {"train": [], "test": [{**rows(1)[0], "class": "odd"}] * 3, "validation": []}.items():
        write_csv(tmp_path / f"{part}.csv", rows(60, seed=len(part)) + more)
    made = run(tmp_path, tmp_path / "run", TABULAR, "data.split=given")
    assert any(w["name"] == "unseen_class" and "3 rows have a class that no training row has" in w["text"] for w in made.report.warnings)
    assert made.report.tasks["class"]["metrics"]["rows"] == 60
    assert {a["class"]["value"] for a in made.predict(rows(5))} <= {"high", "low"}


def test_rows_without_an_answer_are_counted_and_teach_nothing(tmp_path: Path) -> None:
    table = changed(value=lambda i, v: float("nan") if i % 4 == 0 else v, **{"class": lambda i, v: None if i % 6 == 0 else v})
    made = run(table, tmp_path / "run")
    told = {w["where"]: w["text"] for w in made.report.warnings if w["name"] == "unanswered"}
    assert told["tasks.value"].startswith("30 rows have no answer") and told["tasks.class"].startswith("20 rows have no answer")
    assert all(np.isfinite(a["value"]["value"]) for a in made.predict(rows(5)))


def test_text_among_numbers_names_row_line_and_column_of_every_slip(tmp_path: Path) -> None:
    table = changed(a=lambda i, v: {3: "cheap", 7: "12 EUR"}.get(i, v), value=lambda i, v: "high" if i == 5 else v)
    told = refused(write_csv(tmp_path / "t.csv", table), tmp_path / "run")
    assert "t.csv row 4 (line 5), column a: 'cheap' is not a number" in told
    assert "t.csv row 8 (line 9), column a: '12 EUR' is not a number" in told
    assert "column value" in told and "for classes use kind: classify" in told
    assert "Mend them, or set data.bad_rows: skip to leave them out" in told


def test_a_column_of_mixed_types(tmp_path: Path) -> None:
    table = changed(a=lambda i, v: "cheap" if i == 9 else 1.0, color=lambda i, v: 7 if i == 4 else "red")
    told = refused(table, tmp_path / "run")
    assert "rows row 10, column a: text ('cheap'), where rows before hold a number. Give a column one type" in told
    assert "rows row 5, column color: a number (7), where rows before hold text" in told


def test_duplicate_column_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a,color,class,value\n1,2,3,red,low,1\n")
    assert "t.csv: 2 columns are called 'a'. Give every column a name of its own" in refused(tmp_path / "t.csv", tmp_path / "run")


def test_bad_rows_are_skipped_on_demand_counted_and_listed(tmp_path: Path) -> None:
    table = changed(a=lambda i, v: {3: "cheap", 7: "12 EUR"}.get(i, v), b=lambda i, v: "?" if i == 7 else v)
    made = run(write_csv(tmp_path / "t.csv", table), tmp_path / "run", TABULAR, "data.bad_rows=skip")
    with (tmp_path / "run" / "bad_rows.csv").open(newline="", encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    assert [(line["row"], line["place"]) for line in listed] == [
        ("4", "t.csv row 4 (line 5), column a"), ("8", "t.csv row 8 (line 9), column a"), ("8", "t.csv row 8 (line 9), column b"),
    ]  # fmt: skip
    assert "'cheap' is not a number" in listed[0]["problem"]
    assert made.report.data["dropped"] == 2 and sum(made.report.data["rows"].values()) == 118
    assert any(w["name"] == "dropped" and w["text"].startswith("2 rows could not be read") for w in made.report.warnings)


def test_no_row_left_after_skipping(tmp_path: Path) -> None:
    told = refused(changed(a=lambda i, v: "cheap"), tmp_path / "run", TABULAR, "data.bad_rows=skip")
    assert "no row can be read" in told and "'cheap' is not a number" in told


def test_the_corrected_command_starts_in_the_same_folder(tmp_path: Path) -> None:
    table = changed(a=lambda i, v: "cheap" if i == 3 else v)
    source = write_csv(tmp_path / "t.csv", table)
    refused(source, tmp_path / "run")
    assert run(source, tmp_path / "run", TABULAR, "data.bad_rows=skip").report.data["dropped"] == 1


def test_a_run_that_is_there_is_never_written_over(tabular: Artifact) -> None:
    before = {path: path.read_bytes() for path in tabular.path.rglob("*") if path.is_file()}
    with pytest.raises(Mistake, match=r"exists and is not empty. Give another folder with --out, or --resume"):
        run(rows(120), tabular.path)
    (tabular.path.parent / "file").write_text("")
    with pytest.raises(Mistake, match=r"is a file. Give a folder with --out"):
        run(rows(120), tabular.path.parent / "file")
    assert before == {path: path.read_bytes() for path in tabular.path.rglob("*") if path.is_file()}


# Recipes


def test_mistakes_of_a_recipe_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "data: t.csv\ninputs:\n  a: nubmer\n  photo: {kind: image, backbone: ./nowhere}\n  t: {kind: text, max_token: 9}\n"
        "tasks:\n  c: {kind: classify, targt: class}\ntrain: {lr: fast}\n"
    )
    with pytest.raises(Mistake) as caught:
        read(tmp_path / "r.yaml")
    told = str(caught.value)
    assert "inputs.a: no modality called 'nubmer'. Did you mean 'number'?" in told
    assert "inputs.t.max_token: unexpected field. Did you mean 'max_tokens'?" in told
    assert "tasks.c.targt: unexpected field" in told and "tasks.c.target: required" in told
    assert re.search(r"train\.lr: .*got 'fast'", told)


@pytest.mark.parametrize("name", ["./nowhere", "no such checkpoint!", "sample:nowhere", "EMPTY"])
def test_an_unknown_backbone(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    name = name.replace("EMPTY", str(tmp_path / "empty"))
    told = refused(texts(40), tmp_path / "run", worded(name))
    assert re.search(r"inputs\.text\.backbone: .*(nowhere|no such checkpoint!|no config\.json)", told) and re.search(r"\. [A-Z]", told), told


def test_a_yaml_bomb_is_not_unfolded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [lol, lol]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
    (tmp_path / "r.yaml").write_text("\n".join(lines))
    with pytest.raises(Mistake, match=r"r\.yaml line 2: aliases .* are not read in recipes. Write the value out"):
        read(tmp_path / "r.yaml")
    (tmp_path / "deep.yaml").write_text("[" * 100_000)
    with pytest.raises(Mistake, match=r"deep\.yaml"):
        read(tmp_path / "deep.yaml")


# Pictures


def encoded(picture: Pictures.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def shade(i: int) -> Pictures.Image:
    pixels = np.full((40, 48, 3), 220 if i % 2 else 40, np.uint8) + np.random.default_rng(i).integers(0, 30, (40, 48, 3), dtype=np.uint8)
    return Pictures.fromarray(pixels)


def odd(i: int) -> bytes:
    """The same picture in every form that cameras, scanners and printers write."""
    picture = shade(i)
    turned = Pictures.Exif()
    turned[0x0112] = 1 + i % 8
    grey = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    return [
        lambda: encoded(picture), lambda: encoded(picture.convert("L")), lambda: encoded(picture.convert("RGBA")),
        lambda: encoded(picture.convert("CMYK"), "JPEG"), lambda: encoded(Pictures.fromarray(grey)), lambda: encoded(picture, "JPEG", exif=turned),
        lambda: encoded(picture.convert("P"), "GIF"), lambda: encoded(picture.convert("1")), lambda: encoded(picture.convert("LA")),
    ][i % 9]()  # fmt: skip


def bomb() -> bytes:
    """A PNG of 10,000 x 10,000 black pixels, 12 KB long."""
    return encoded(Pictures.new("1", (10_000, 10_000)))


def broken(folder: Path) -> dict[str, str]:
    """File names of pictures that cannot be read, with what is to be said of each."""
    whole = encoded(shade(1), "JPEG")
    files = {"cut.jpg": whole[: len(whole) // 2], "empty.png": b"", "words.png": b"not a picture at all", "bomb.png": bomb()}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder.parent / "secret.png").write_bytes(encoded(shade(1)))
    said = {"cut.jpg": "a damaged picture", "empty.png": r"is empty \(0 bytes\)", "words.png": "not a picture", "bomb.png": "too large a picture"}
    return said | {"../secret.png": "lies outside", "/etc/hostname": "lies outside", "gone.png": "there is no file"}


PICTURES: Row = {
    "inputs": {"photo": {"kind": "image", "backbone": str(tiny_vit())}},
    "tasks": {"mood": {"kind": "classify", "target": "mood"}},
    "train": {"epochs": 2, "batch": 8},
    "tuning": "probe",
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 pictures of odd forms, one of them missing, and a table of them."""
    folder = tmp_path_factory.mktemp("photos") / "data"
    folder.mkdir()
    for i in range(36):
        (folder / f"größe {i}.img").write_bytes(odd(i))
    lines = [{"photo": f"größe {i}.img" if i != 20 else None, "mood": ["dark", "light"][i % 2]} for i in range(36)]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return folder


@pytest.fixture(scope="module")
def album(photos: Path) -> Artifact:
    return run(photos / "t.jsonl", photos.parent / "run", PICTURES)


def test_odd_pictures_train_and_predict(album: Artifact, photos: Path) -> None:
    assert sum(album.report.data["rows"].values()) == 36 and album.report.data["dropped"] == 0
    answers = album.predict(photos / "t.jsonl")
    assert len(answers) == 36 and all(set(answer) == {"mood"} for answer in answers)


def test_broken_pictures_are_refused_by_row_or_skipped(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data")
    said = broken(tmp_path / "data")
    table = tmp_path / "data" / "t.jsonl"
    table.write_text(table.read_text() + "".join("\n" + json.dumps({"photo": name, "mood": "dark"}) for name in said))
    told = refused(table, tmp_path / "run", PICTURES)
    for row, (name, words) in enumerate(said.items(), 37):
        assert re.search(rf"t\.jsonl row {row}, column photo: .*{words}.*\. [A-Z]", told), f"{name}: {told}"
    made = run(table, tmp_path / "run", PICTURES, "data.bad_rows=skip")
    assert made.report.data["dropped"] == len(said) and sum(made.report.data["rows"].values()) == 36


def test_a_broken_picture_gets_its_error_in_its_place_when_predicting(album: Artifact, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "data")
    said = broken(tmp_path / "data")
    names = [f"größe {i}.img" for i in range(len(said))]
    mixed = [name for pair in zip(names, said, strict=True) for name in pair]
    (tmp_path / "data" / "new.jsonl").write_text("\n".join(json.dumps({"photo": name}) for name in mixed))
    answers = album.predict(tmp_path / "data" / "new.jsonl", batch=3)
    for name, answer in zip(mixed, answers, strict=True):
        assert set(answer) == ({"error"} if name in said else {"mood"})
        assert name not in said or re.search(rf"photo: .*{said[name]}", answer["error"])
    alone = album.predict([{"photo": (photos / name).read_bytes()} for name in names])
    got, wanted = ([a["mood"]["probabilities"]["light"] for a in found] for found in (answers[::2], alone))
    np.testing.assert_allclose(got, wanted, atol=1e-5)


# Texts


def test_strange_texts_train_and_predict(tmp_path: Path) -> None:
    huge = {7: "a" * 1_000_000, 8: "many words " * 90_000}
    words = ["", "   ", "服は素敵です 👗👩‍👩‍👧", "مرحبا بالعالم", "\u0000\u200b\ufeff", "e\u0301" * 50, "soft"]
    table = [{"text": huge.get(i, f"{words[i % 7]}{i}" if i % 7 else ""), "mood": ["bad", "good"][i % 2]} for i in range(45)]
    made = run(table, tmp_path / "run", worded(str(tiny_bert())))
    answers = made.predict([{"text": word} for word in [*words, *huge.values(), None]])
    assert len(answers) == 10 and all(0 <= a["mood"]["probabilities"]["good"] <= 1 for a in answers)
    assert any(w["name"] == "truncated" for w in made.report.warnings)


# Checkpoints


def flipped(path: Path, place: int = -9) -> None:
    """One bit of the file is another; the file is a new one, since the old may be mapped."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.unlink()
    path.write_bytes(data)


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])


def pickled(path: Path) -> None:
    import torch

    path.unlink()
    torch.save({"weight": torch.zeros(2)}, path.with_name("pytorch_model.bin"))


@pytest.mark.parametrize(("damage", "words"), [(cut, "damaged|cut short"), (flipped, "SHA-256"), (pickled, "pickle")])
def test_a_damaged_checkpoint_does_not_train(damage: Callable[[Path], None], words: str, tmp_path: Path) -> None:
    from omnitune.nn import weights

    folder = shutil.copytree(tiny_bert(), tmp_path / "bert")
    weights.note_sums(folder)
    damage(folder / "model.safetensors")
    told = refused(texts(40), tmp_path / "run", worded(str(folder)))
    assert re.search(words, told) and "bert" in told and re.search(r"\. [A-Z]", told), told


@pytest.fixture(scope="module")
def tabular(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(rows(120), tmp_path_factory.mktemp("tabular") / "run")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return run(texts(40), tmp_path_factory.mktemp("adapted") / "run", worded(str(tiny_bert())), "tuning=lora")


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize(
    "pattern",
    ["model.safetensors", "lineage.json", "schema.json", "recipe.yaml", "inputs/*/model.safetensors", "inputs/*/adapter_model.safetensors",
     "inputs/*/config.json", "inputs/*/adapter_config.json"],
)  # fmt: skip
def test_a_damaged_model_does_not_load(adapted: Artifact, pattern: str, damage: Callable[[Path], None], tmp_path: Path) -> None:
    folder = shutil.copytree(adapted.path, tmp_path / "run")
    path = next(folder.glob(pattern))
    damage(path)
    with pytest.raises(Mistake, match=r"(?s)\. [A-Z]") as caught:
        artifacts.load(folder)
    assert path.name in str(caught.value), str(caught.value)


@pytest.mark.parametrize("missing", ["model.safetensors", "schema.json", "recipe.yaml"])
def test_an_incomplete_model_does_not_load(tabular: Artifact, missing: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tabular.path, tmp_path / "run")
    (folder / missing).unlink()
    with pytest.raises(Mistake, match=re.escape(missing)):
        artifacts.load(folder)


def test_a_pickle_in_place_of_the_weights_is_not_read(tabular: Artifact, tmp_path: Path) -> None:
    import pickle

    folder = shutil.copytree(tabular.path, tmp_path / "run")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(pickle.dumps({"weight": [1.0]}))
    with pytest.raises(Mistake, match=r"model\.safetensors"):
        artifacts.load(folder)


# A full disk


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files cannot grow beyond `size` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [100, 1_000, 30_000, 60_000])
def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(tabular: Artifact, size: int, tmp_path: Path) -> None:
    out, recipe = tmp_path / "run", read({"data": {"from": rows(120), "split": [0.6, 0.2, 0.2]}, **TABULAR})
    with room_for(size), pytest.raises(Mistake, match=r"the disk is full. Free some space and go on with --resume") as caught:
        fit(recipe, out)
    assert str(out) in caught.value.where
    with pytest.raises(Mistake, match="no finished model here"):
        artifacts.load(out)
    made = fit(recipe, out, resume=True)
    assert made.predict(rows(20)) == tabular.predict(rows(20)), "bit for bit what an undisturbed run predicts"
    assert not list(out.rglob("*.part"))


# Predicting


def test_bad_rows_get_their_errors_in_their_places(tabular: Artifact) -> None:
    table = [{"a": 0.5, "b": 1.0, "color": "red"} for _ in range(6)]
    whole = tabular.predict(table)
    table[1] |= {"a": "cheap", "b": "?"}
    table[2] |= {"a": None, "color": "never seen"}
    table[4] |= {"color": ["red"]}
    answers = tabular.predict(table, batch=2)
    assert answers[1].keys() == {"error"} and "a: 'cheap' is not a number" in answers[1]["error"] and "b: '?'" in answers[1]["error"]
    assert answers[4].keys() == {"error"} and answers[4]["error"].startswith("color: ")
    assert answers[2].keys() == {"class", "value"}
    for i in (0, 3, 5):
        assert answers[i]["value"]["value"] == pytest.approx(whole[i]["value"]["value"], abs=1e-5)


def test_what_is_no_table_cannot_be_predicted(tabular: Artifact, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"row 2: expected a mapping of columns to values, got 'red'"):
        tabular.predict([{"a": 1, "b": 1, "color": "red"}, "red"])
    with pytest.raises(Mistake, match="there is no such file"):
        tabular.predict(tmp_path / "new.csv")
    assert tabular.predict([]) == []


def test_a_column_of_another_type_than_in_training_is_told_by_row(tabular: Artifact, tmp_path: Path) -> None:
    answers = tabular.predict(write_csv(tmp_path / "t.csv", [{"a": "x", "b": 1, "color": 1}, {"a": 2, "b": 1, "color": 2}]))
    assert "a: 'x' is not a number" in answers[0]["error"] and set(answers[1]) == {"class", "value"}
