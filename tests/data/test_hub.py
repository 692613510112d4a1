"""Data sets of the `datasets` library: objects, saved ones, and by name without a network."""

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omnitune.data.columns import Column
from omnitune.data.table import read
from omnitune.errors import Mistake

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

OFFLINE = """
import sys, pathlib, datasets
local, home = map(pathlib.Path, sys.argv[1:])
datasets.load_dataset(str(local))                                         # prepares the cache as a download would
prepared = next((home / "datasets" / local.name).iterdir())
(home / "datasets" / "someone___moods").mkdir()
prepared.rename(home / "datasets" / "someone___moods" / "default")
from omnitune.data.table import read
table = read("someone/moods")
print(table.take("label", range(len(table))), {k: v.tolist() for k, v in table.parts.items()}, table.root == home)
try:
    read("someone/else")
except Exception as error:
    print(type(error).__name__, error)
"""


def picture(color: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (2, 2), color).save(file, "JPEG")
    return file.getvalue()


def moods(n: int = 4) -> Any:
    features = datasets.Features({
        "photo": datasets.Image(), "label": datasets.ClassLabel(names=["bad", "good"]), "tags": datasets.List(datasets.ClassLabel(names=["a", "b"])),
        "n": datasets.Value("int64"),
    })  # fmt: skip
    rows = [
        {"photo": {"bytes": picture(i), "path": None}, "label": i % 2 if i else -1, "tags": [0, 1][: i % 3] if i != 3 else None, "n": i}
        for i in range(n)
    ]
    return datasets.Dataset.from_list(rows, features=features)


def test_names_in_place_of_numbers_and_pictures_as_they_are() -> None:
    table = read(moods())
    assert table.take("label", range(4)) == [None, "good", "bad", "good"]
    assert table.take("tags", range(4)) == [[], ["a"], ["a", "b"], None]
    assert Column(table, "photo", np.array([2, 1]), media=True)[:] == [picture(2), picture(1)]
    assert table.where(2, "n") == "data set row 3, column n"


def test_rows_chosen_and_shuffled_by_datasets() -> None:
    chosen = moods(50).shuffle(seed=0).select(range(20))
    assert read(chosen).take("n", range(20)) == chosen["n"][:]


def test_parts_of_a_dictionary() -> None:
    whole = moods(10)
    table = read(datasets.DatasetDict({"test": whole.select([8, 9]), "train": whole.select(range(8)), "unlabelled": whole}))
    assert {k: v.tolist() for k, v in (table.parts or {}).items()} == {"train": list(range(8)), "test": [8, 9]}
    assert table.take("n", [0, 9]) == [0, 9]
    with pytest.raises(Mistake, match=r"none of the parts.*but odd"):
        read(datasets.DatasetDict({"odd": whole}))


def test_streams_and_empty_sets_are_mistakes() -> None:
    with pytest.raises(Mistake, match="is streamed"):
        read(moods().to_iterable_dataset())
    with pytest.raises(Mistake, match="there are no rows"):
        read(moods().select([]))


def test_pictures_that_the_library_left_in_files(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "a.jpg").write_bytes(picture(len(name)))
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "in"), cache_dir=str(tmp_path / "cache"), split="train")
    table = read(loaded)
    assert table.take("label", [0, 1]) == ["cat", "dog"]
    assert Column(table, "image", np.arange(2), media=True)[:] == [picture(3), picture(3)]


def test_a_saved_data_set(tmp_path: Path) -> None:
    moods().save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": moods(), "test": moods(2)}).save_to_disk(tmp_path / "parts")
    assert read(tmp_path / "one").take("label", [1]) == ["good"]
    assert {k: len(v) for k, v in (read(tmp_path / "parts").parts or {}).items()} == {"train": 4, "test": 2}
    assert len(read(f"{tmp_path}/parts#5")) == 5


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_names_are_read_from_files_that_the_library_wrote(tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        moods().to_parquet(tmp_path / "m.parquet")
    else:
        moods().save_to_disk(tmp_path / "saved")
        next((tmp_path / "saved").glob("*.arrow")).rename(tmp_path / "m.arrow")
    table = read(tmp_path / f"m.{kind}")
    assert table.take("label", range(4)) == [None, "good", "bad", "good"]
    assert table.take("tags", range(4)) == [[], ["a"], ["a", "b"], None]


def test_by_name_without_a_network(tmp_path: Path) -> None:
    (tmp_path / "moods").mkdir()
    moods(3).to_parquet(tmp_path / "moods" / "train.parquet")
    moods(2).to_parquet(tmp_path / "moods" / "test.parquet")
    source = Path(__file__).parents[2] / "src"
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, tmp_path / "moods", tmp_path / "home"], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    first, second = done.stdout.splitlines() or [done.stderr, ""]
    assert first == "[None, 'good', 'bad', None, 'good'] {'train': [0, 1, 2], 'test': [3, 4]} True"
    assert second.startswith("Mistake someone/else: no such file or folder here, and no data set loads by that name")


def test_without_the_library_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reviews").mkdir()
    with pytest.raises(Mistake, match=r"no such table here.*pip install omnitune\[hub\].*Did you mean 'reviews'"):
        read("revews")
