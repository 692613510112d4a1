"""Files are decoded once: what is read later is the same, a changed file is found, and whatever happens to the folder, results stay right."""

import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import torch
from PIL import Image as pictures

import checkpoints
from omnitune.data import media, store
from omnitune.data.prepared import Prepared, prepare
from omnitune.errors import Mistake
from omnitune.modalities import _decode
from omnitune.modalities.image import Image
from omnitune.recipe import Recipe, read

N = 12
SIZE = 20_000


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "kept")
    monkeypatch.setattr(media, "SETTLED", -(10**18))  # the files of a test are new
    return tmp_path / "kept"


def photo(seed: int, side: int = 150) -> bytes:
    x_HWC = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    made = io.BytesIO()
    pictures.fromarray(x_HWC).resize((side, side), pictures.Resampling.BICUBIC).save(made, "JPEG")
    assert side > 150 or len(made.getvalue()) <= SIZE
    return made.getvalue().ljust(SIZE, b"\0")  # a JPEG file says where it ends


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for i in range(N):
        (tmp_path / f"{i}.jpg").write_bytes(photo(i))
    lines = ["x,y", *(f"{i}.jpg,{'ab'[i % 2]}" for i in range(N)), ",a"]
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "table.csv"


def recipe(source: Any, *overrides: str) -> Recipe:
    return read(
        {
            "data": {"from": str(source) if isinstance(source, Path) else source, "split": [0.7, 0.3, 0]},
            "inputs": {"x": {"kind": "image", "backbone": str(checkpoints.tiny_vit())}},
            "tasks": {"y": {"kind": "classify", "target": "y"}},
            "train": {"batch": 4, "cache": 1},
        },
        overrides,
    )


def pixels(source: Any, *overrides: str, epochs: int = 2) -> tuple[list[torch.Tensor], Prepared]:
    """All that training and validation see, and the data, closed as after a run."""
    prepared = prepare(recipe(source, *overrides))
    for decoded in prepared.decoded.values():
        decoded.keep(prepared.parts)
    seen = [pixels_of(prepared, part, seed, epoch) for epoch in range(epochs) for part, seed in (("train", 0), ("validation", None))]
    prepared.close()
    return [x for some in seen for x in some], prepared


def pixels_of(prepared: Prepared, part: str, seed: int | None, epoch: int = 0) -> list[torch.Tensor]:
    return [question.asked["y"][0].inputs["x"]["pixels"] for question in prepared.batches(part, 4, seed).epoch(epoch)]


def same(found: list[torch.Tensor], wanted: list[torch.Tensor]) -> bool:
    return len(found) == len(wanted) and all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def none_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        raise AssertionError("decoded again")

    monkeypatch.setattr(_decode, "decode", fails)


@pytest.mark.parametrize("setting", ["inputs.x.augment=true", "inputs.x.augment=false", "inputs.x.views=2", "inputs.x.fit=squash"])
def test_what_is_read_is_what_was_decoded(table: Path, setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, off = pixels(table, setting, "train.cache=0")
    found, on = pixels(table, setting)
    assert same(found, wanted)
    assert on.decoded["x"].fact == f"{N} decoded, {N} read"
    assert off.decoded["x"].fact == "nothing kept: train.cache is 0"
    none_decoded(monkeypatch)
    again, later = pixels(table, setting)  # the audit looks at no file again either
    assert same(again, wanted)
    assert later.decoded["x"].fact == f"0 decoded, {2 * N} read"


def test_pictures_inside_the_table_count_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"x": photo(i), "y": "ab"[i % 2]} for i in range(N)]
    wanted, _ = pixels(rows, "train.cache=0")
    pixels(rows)
    none_decoded(monkeypatch)
    assert same(pixels(rows)[0], wanted)


def test_other_settings_find_nothing(table: Path) -> None:
    pixels(table)
    for change in ["inputs.x.crop_scale=[0.9,1]", f"inputs.x.backbone={checkpoints.PICTURE['convnext']()}"]:
        wanted, _ = pixels(table, change, "train.cache=0")
        found, prepared = pixels(table, change)
        assert same(found, wanted) and prepared.decoded["x"].computed > 0


def test_another_version_of_what_decodes_finds_nothing(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels(table)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert pixels(table)[1].decoded["x"].computed == N


def test_a_file_that_changed_under_its_name_size_and_time_is_found(table: Path) -> None:
    pixels(table)
    file = table.parent / "3.jpg"
    facts = file.stat()
    file.write_bytes(photo(77))
    assert file.stat().st_size == facts.st_size
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    wanted, _ = pixels(table, "train.cache=0")
    found, prepared = pixels(table)
    assert same(found, wanted)
    assert prepared.decoded["x"].computed == 1


def test_a_file_that_has_just_changed_is_told_by_its_bytes(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "SETTLED", 10**18)
    before = media.identity("3.jpg", table.parent)
    shutil.copy(table.parent / "3.jpg", table.parent / "copy.jpg")
    assert media.identity("copy.jpg", table.parent) == before == media.identity(photo(3), None)
    monkeypatch.setattr(media, "SETTLED", -(10**18))
    assert media.identity("copy.jpg", table.parent) != media.identity("3.jpg", table.parent)


@pytest.mark.parametrize("value", ["gone.jpg", "../x.jpg", "https://x.org/a.jpg", {"path": "gone.jpg"}, {}, 3])
def test_what_cannot_be_opened_is_no_identity(value: Any, tmp_path: Path) -> None:
    with pytest.raises(Mistake) as wrong:
        media.open_media(value, tmp_path)
    with pytest.raises(Mistake) as same_wrong:
        media.identity(value, tmp_path)
    assert str(same_wrong.value) == str(wrong.value)


def test_a_file_that_is_damaged_later_is_refused_by_the_audit(table: Path) -> None:
    pixels(table)
    (table.parent / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(Mistake, match="not a picture"):
        prepare(recipe(table))


def damage(folder: Path) -> None:
    for file in folder.glob("*/*.rows"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)


def cut(folder: Path) -> None:
    for file in folder.glob("*/*.rows"):
        os.truncate(file, 5000)


def scribble(folder: Path) -> None:
    for file in folder.glob("*/*.npy"):
        file.write_bytes(b"scribbled")


def lock(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file where the folder should be")


@pytest.mark.filterwarnings("ignore:.*(was damaged|could not be)")
@pytest.mark.parametrize("harm", [damage, cut, scribble, shutil.rmtree, lock], ids=["damaged", "cut short", "no index", "gone", "locked"])
def test_whatever_happens_to_the_folder_results_are_right(table: Path, folder: Path, harm: Callable[[Path], None]) -> None:
    wanted, _ = pixels(table, "train.cache=0")
    pixels(table)
    harm(folder)
    assert same(pixels(table)[0], wanted)


@pytest.mark.filterwarnings("ignore:.*could not be")
def test_a_folder_deleted_while_it_is_used(table: Path, folder: Path) -> None:
    wanted, _ = pixels(table, "train.cache=0", epochs=1)
    prepared = prepare(recipe(table))
    prepared.decoded["x"].keep(prepared.parts)
    train = pixels_of(prepared, "train", 0)
    shutil.rmtree(folder)
    again = pixels_of(prepared, "train", 0)
    held = pixels_of(prepared, "validation", None)
    prepared.close()
    assert same(train + held, wanted) and same(again, train)


@pytest.mark.filterwarnings("ignore:.*No space left")
def test_a_full_disk(table: Path) -> None:
    wanted, _ = pixels(table, "train.cache=0", epochs=1)
    prepared = prepare(recipe(table))
    decoded = prepared.decoded["x"]
    decoded.keep(prepared.parts)
    assert decoded.store
    decoded.store.out = os.open("/dev/full", os.O_WRONLY)
    assert same(pixels_of(prepared, "train", 0) + pixels_of(prepared, "validation", None), wanted)
    prepared.close()


def test_two_runs_at_once_share_what_they_decode(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, _ = pixels(table, "train.cache=0", epochs=1)
    one, other = prepare(recipe(table)), prepare(recipe(table))
    for prepared in (one, other):
        prepared.decoded["x"].keep(prepared.parts)
    train, held = pixels_of(one, "train", 0), pixels_of(other, "validation", None)
    one.close()
    other.close()
    assert same(train + held, wanted)
    none_decoded(monkeypatch)
    assert same(pixels(table, epochs=1)[0], wanted)


def test_what_does_not_fit_is_not_kept_and_says_so(table: Path, folder: Path) -> None:
    gib = 20_000 / store.GIB
    wanted, _ = pixels(table, "train.cache=0")
    found, prepared = pixels(table, f"train.cache={gib}")
    assert same(found, wanted)
    assert prepared.decoded["x"].fact.startswith("nothing kept: it would take 0.0 GiB")
    assert sum(one.bytes for one in store.kept()) < 20_000


def test_pictures_are_kept_no_larger_than_crops_need() -> None:
    image = Image(str(checkpoints.tiny_vit()))
    for side in (20, 60, 2000):
        decoder = image.decoder(True)
        shape = decoder.read(photo(0, side)).shape
        assert min(shape[:2]) == min(side, 53)  # 32 / sqrt(.5 * 3 / 4)
        assert decoder.read(photo(0, side)).nbytes <= 1.05 * decoder.most
    assert image.decoder(False).read(photo(0, 2000)).shape == (32, 32, 3)
