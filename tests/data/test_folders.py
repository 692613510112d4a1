"""Folders: class folders, metadata, parts, single tables."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnitune.data.columns import Column
from omnitune.data.table import read
from omnitune.errors import Mistake


def put(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())


def csv(path: Path, **columns: list[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(columns).to_csv(path, index=False)


def test_class_folders(tmp_path: Path) -> None:
    put(tmp_path, "dog/2.jpg", "cat/b.PNG", "cat/deep/a.jpg", "cat/.hidden.jpg", ".git/x.jpg", "cat/.thumbs/y.jpg", "README.md", "dog/10.jpg")
    table = read(tmp_path)
    everything = range(len(table))
    assert table.take("image", everything) == ["cat/b.PNG", "cat/deep/a.jpg", "dog/10.jpg", "dog/2.jpg"]
    assert table.take("label", everything) == ["cat", "cat", "dog", "dog"]
    assert (table.name, table.root, table.parts) == (tmp_path.name, tmp_path, None)
    import numpy as np

    assert Column(table, "image", np.arange(4), media=True)[:] == [path.encode() for path in table.take("image", everything)]


def test_folders_of_sounds(tmp_path: Path) -> None:
    put(
        tmp_path,
        "classes/dog/2.wav",
        "classes/cat/b.FLAC",
        "classes/cat/cover.png",
        "described/a.mp3",
        "parts/train/dog/a.ogg",
        "parts/test/cat/b.ogg",
    )
    assert read(tmp_path / "classes").take("audio", range(3)) == ["cat/b.FLAC", "cat/cover.png", "dog/2.wav"]
    csv(tmp_path / "described" / "metadata.csv", file_name=["a.mp3"], words=["hello"])
    assert read(tmp_path / "described").columns == ["audio", "words"]
    assert set(read(tmp_path / "parts").take("audio", [0, 1])) == {"train/dog/a.ogg", "test/cat/b.ogg"}


def test_metadata(tmp_path: Path) -> None:
    put(tmp_path, "images/a.png", "images/b.png")
    csv(tmp_path / "metadata.csv", file_name=["images/b.png", "images/a.png"], price=[1, 2])
    table = read(tmp_path)
    assert table.columns == ["image", "price"]
    assert table.take("image", [0, 1]) == ["images/b.png", "images/a.png"]
    assert table.where(1) == "metadata.csv row 2 (line 3)"
    csv(tmp_path / "metadata.csv", filename=["images/b.png"], price=[1])
    with pytest.raises(Mistake, match=r"metadata.csv: there is no column file_name. Did you mean 'filename'"):
        read(tmp_path)
    csv(tmp_path / "metadata.csv", file_name=["images/b.png"], image=[1])
    with pytest.raises(Mistake, match="2 columns are called 'image'"):
        read(tmp_path)


@pytest.mark.parametrize(
    "names", [("train", "validation", "test"), ("Train", "valid", "TEST"), ("training", "val", "test"), ("train_0", "dev-01", "test2")]
)
@pytest.mark.parametrize("below", ["", "data"])
def test_part_files(tmp_path: Path, names: tuple[str, ...], below: str) -> None:
    for i, name in enumerate(names):
        csv(tmp_path / below / f"{name}.csv", t=[f"{i}a", f"{i}b"][: 2 if i else 1], only=[i, i][: 2 if i else 1])
    put(tmp_path, "README.md", "dataset_info.json", "images/a.png")
    table = read(tmp_path)
    assert table.take("t", range(5)) == ["0a", "1a", "1b", "2a", "2b"]
    assert {k: v.tolist() for k, v in (table.parts or {}).items()} == {"train": [0], "validation": [1, 2], "test": [3, 4]}
    assert table.where(4, "t") == f"{names[2]}.csv row 2 (line 3), column t"
    assert table.root == tmp_path / below


def test_shards_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for name, values in [("train-00001-of-00002", [3, 4]), ("train-00000-of-00002", [1, 2]), ("test-00000-of-00001", [5])]:
        pd.DataFrame({"n": values}).to_parquet(tmp_path / "data" / f"{name}.parquet")
    table = read(tmp_path)
    assert table.take("n", range(5)) == [1, 2, 3, 4, 5]
    assert {k: v.tolist() for k, v in (table.parts or {}).items()} == {"train": [0, 1, 2, 3], "test": [4]}
    sample = read(f"{tmp_path}#3")
    assert {k: len(v) for k, v in (sample.parts or {}).items()} == {
        "train": sum(n < 5 for n in sample.take("n", range(3))), "test": sum(n == 5 for n in sample.take("n", range(3))),
    }  # fmt: skip


def test_a_column_missing_in_one_part_is_missing_there(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", t=["a"], label=["x"], n=[1])
    csv(tmp_path / "test.csv", t=["b"], n=[0.5])
    csv(tmp_path / "sample_submission.csv", t=["?"])
    table = read(tmp_path)
    assert (table.take("label", [0, 1]), table.take("n", [0, 1])) == (["x", None], [1.0, 0.5])


def test_parts_of_different_types(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"t": "a", "n": 1}')
    (tmp_path / "test.jsonl").write_text('{"t": "b", "n": "word"}')
    with pytest.raises(Mistake, match=r"test.jsonl, column n: string, but int64 in train.jsonl"):
        read(tmp_path)


def test_another_folder_beside_the_parts(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg", "extra/d.jpg")
    with pytest.raises(Mistake, match=r"beside the parts there is also extra\. Move it elsewhere"):
        read(tmp_path)
    put(tmp_path / "vehicles", "train/a.jpg", "car/b.jpg")
    assert read(tmp_path / "vehicles").take("label", [0, 1]) == ["car", "train"]
    csv(tmp_path / "tables" / "train" / "table.csv", image=["a.jpg"], y=[1])
    put(tmp_path / "tables", "images/a.jpg")
    with pytest.raises(Mistake, match="there is also images"):
        read(tmp_path / "tables")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_paths_of_part_folders_are_seen_from_above(tmp_path: Path, kind: pa.DataType) -> None:
    images = ["a.jpg", "data:image/png;base64,AA==", "DATA:,x", "/elsewhere/b.jpg", "https://x.org/c.jpg", "C:\\d.jpg", None]
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        pq.write_table(pa.table({"image": pa.array(images, kind)}), tmp_path / part / "table.parquet")
    table = read(tmp_path)
    for part, rows in (table.parts or {}).items():
        assert table.take("image", rows) == [f"{part}/a.jpg", *images[1:]]


def test_json_files_that_describe_a_folder_of_pictures(tmp_path: Path) -> None:
    put(tmp_path, "cat/a.jpg", "dog/b.jpg")
    for name in ("metadata.json", "settings.json"):
        (tmp_path / name).write_text('{"licence": "CC0", "classes": ["cat", "dog"]}')
        assert read(tmp_path).take("label", [0, 1]) == ["cat", "dog"]
    (tmp_path / "metadata.json").write_text('[{"file_name": "cat/a.jpg", "age": 3}]')
    assert read(tmp_path).take("image", [0]) == ["cat/a.jpg"]


def test_a_word_in_one_csv_part_makes_the_column_text_in_all(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("t,n,yes\na,1.50,True\n")
    (tmp_path / "test.csv").write_text("t,n,yes\nb,C-9,no\n")
    table = read(tmp_path)
    assert table.take("n", [0, 1]) == ["C-9", "1.50"] or table.take("n", [0, 1]) == ["1.50", "C-9"]
    assert set(table.take("yes", [0, 1])) == {"True", "no"}


@pytest.mark.parametrize("place", ["{}.csv", "{}/table.csv"])
@pytest.mark.parametrize("unanswered", ["", "NA"])
def test_a_part_without_answers(tmp_path: Path, place: str, unanswered: str) -> None:
    for part, cells in {"train": ("1", "True", "0.5"), "test": (unanswered,) * 3}.items():
        (tmp_path / place.format(part)).parent.mkdir(exist_ok=True)
        (tmp_path / place.format(part)).write_text(f"t,n,yes,x\nwords,{','.join(cells)}\n")
    table = read(tmp_path)
    parts = table.parts or {}
    for column, value in {"n": 1, "yes": True, "x": 0.5}.items():
        assert table.take(column, parts["train"]) == [value] and table.take(column, parts["test"]) == [None]


def test_a_part_of_one_word_that_elsewhere_means_no_value(tmp_path: Path) -> None:
    csv(tmp_path / "train.csv", country=["NA", "FR"])
    csv(tmp_path / "test.csv", country=["NA", "NA"])
    assert sorted(read(tmp_path).take("country", range(4))) == ["FR", "NA", "NA", "NA"]


def test_part_folders(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg")
    table = read(tmp_path)
    assert table.take("image", range(3)) == ["train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg"] or table.take("image", range(3)) == [
        "test/cat/c.jpg", "train/cat/a.jpg", "train/dog/b.jpg",
    ]  # fmt: skip
    parts = table.parts or {}
    assert [table.take("image", parts[p]) for p in ("train", "test")] == [["train/cat/a.jpg", "train/dog/b.jpg"], ["test/cat/c.jpg"]]
    assert table.take("label", parts["test"]) == ["cat"]


def test_metadata_in_part_folders(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        put(tmp_path, f"{part}/a.jpg")
        csv(tmp_path / part / "metadata.csv", file_name=["a.jpg"], mood=[part])
    table = read(tmp_path)
    assert table.take("image", (table.parts or {})["validation"]) == ["validation/a.jpg"]
    assert table.where(0) == "train/metadata.csv row 1 (line 2)"


def test_classes_that_are_called_like_parts(tmp_path: Path) -> None:
    put(tmp_path, "train/a.jpg", "bus/b.jpg", "car/c.jpg")
    assert read(tmp_path).take("label", range(3)) == ["bus", "car", "train"]


def test_one_table_beside_other_files(tmp_path: Path) -> None:
    csv(tmp_path / "reviews.csv", t=["a"])
    put(tmp_path, "asset.json", "LICENSE", "images/a.png", ".hidden.csv")
    assert read(tmp_path).take("t", [0]) == ["a"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "nothing in this folder can be read"),
        (["a.log", "notes/b.md"], "nothing in this folder can be read.*metadata.csv.*sub-folder"),
        (["a.csv", "b.csv"], "several tables: a.csv, b.csv. Name one of them"),
        (["train.csv", "test.jsonl"], r"parts are there as \.csv and \.jsonl"),
        (["val/a/x.jpg", "dev/a/x.jpg", "train/a/x.jpg"], "one part has two folders"),
    ],
)
def test_mistakes(tmp_path: Path, files: list[str], words: str) -> None:
    put(tmp_path, *files)
    with pytest.raises(Mistake, match=words):
        read(tmp_path)
