"""The store of rows: what is written is read, by other processes too; whatever happens to its files, nothing wrong is ever read."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from omnitune.data import store as cache
from omnitune.data.store import Room, Store

KEYS = [bytes([i]) * 15 + b"\0" for i in range(6)]
ROWS = [np.arange(3 * i, dtype=np.float32) for i in range(6)]


def store(path: Path) -> Store:
    return Store(path, {"holds": "activations"})


def filled(path: Path) -> Path:
    made = store(path)
    made.write(KEYS, ROWS)
    made.close()
    return path


def same(found: list[np.ndarray] | None, rows: list[np.ndarray]) -> bool:
    return found is not None and all(np.array_equal(a, b) for a, b in zip(found, rows, strict=True))


def test_what_is_written_is_read_at_once_and_by_later_runs(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.write(KEYS, ROWS)
    assert same(made.read(KEYS[::-1]), ROWS[::-1])
    assert store(tmp_path).read(KEYS) is None  # not flushed yet
    made.flush()
    assert same(store(tmp_path).read(KEYS), ROWS)
    assert made.read([b"x" * 16]) is None


def test_two_writers_of_one_folder_know_what_either_wrote(tmp_path: Path) -> None:
    one, other = store(tmp_path), store(tmp_path)
    one.write(KEYS[:4], ROWS[:4])
    other.write(KEYS[2:], ROWS[2:])
    one.close()
    other.close()
    assert same(store(tmp_path).read(KEYS), ROWS)


def test_an_index_is_written_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "FLUSH", 3)
    made = store(tmp_path)
    made.write(KEYS[:3], ROWS[:3])
    assert same(store(tmp_path).read(KEYS[:3]), ROWS[:3])  # as a killed run leaves it


@pytest.mark.parametrize("place", [0, 20, -1])
def test_a_flipped_bit_is_seen_and_the_rows_are_written_again(tmp_path: Path, place: int) -> None:
    file = next(filled(tmp_path).glob("*.rows"))
    data = bytearray(file.read_bytes())
    data[place] ^= 4
    file.write_bytes(data)
    made = store(tmp_path)
    with pytest.warns(UserWarning, match="damaged"):
        assert made.read(KEYS) is None
    made.write(KEYS, ROWS)
    made.close()
    assert same(store(tmp_path).read(KEYS), ROWS)


@pytest.mark.filterwarnings("ignore:.*damaged")
def test_files_cut_short_or_gone_are_not_read(tmp_path: Path) -> None:
    file = next(filled(tmp_path / "short").glob("*.rows"))
    os.truncate(file, 50)
    assert store(tmp_path / "short").read(KEYS) is None
    next(filled(tmp_path / "gone").glob("*.rows")).unlink()
    assert store(tmp_path / "gone").read(KEYS) is None
    next(filled(tmp_path / "index").glob("*.npy")).write_bytes(b"no index")
    assert store(tmp_path / "index").read(KEYS) is None


def test_a_folder_deleted_in_the_middle_is_a_warning(tmp_path: Path) -> None:
    made = store(tmp_path / "a")
    made.write(KEYS, ROWS)
    shutil.rmtree(tmp_path / "a")
    assert same(made.read(KEYS), ROWS)  # what is open stays
    with pytest.warns(UserWarning, match="the run goes on"):
        made.flush()


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="the run goes on"):
        made = store(tmp_path / "file" / "folder")
    made.write(KEYS, ROWS)
    assert made.read(KEYS) is None


def test_a_full_disk_is_a_warning(tmp_path: Path) -> None:
    made = store(tmp_path)
    made.out = os.open("/dev/full", os.O_WRONLY)
    with pytest.warns(UserWarning, match="No space left"):
        made.write(KEYS, ROWS)
    made.write(KEYS, ROWS)
    made.close()
    assert store(tmp_path).read(KEYS[1:]) is None


def test_the_least_recently_used_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    for age, name in enumerate(["new", "middle", "old"]):
        os.utime(filled(tmp_path / name), (1e9 - age, 1e9 - age))
    size = cache.kept()[0].bytes
    assert [one.name for one in cache.kept()] == ["old", "middle", "new"]
    assert cache.make_room(size, 3 * size, "fresh") and [one.name for one in cache.kept()] == ["middle", "new"]
    assert cache.make_room(size, 2 * size, "middle") and [one.name for one in cache.kept()] == ["middle", "new"]
    assert not cache.make_room(4 * size, 3 * size, "fresh") and len(cache.kept()) == 2
    assert cache.empty() == 2 * size and not cache.kept()


def test_one_type_of_numbers_a_store(tmp_path: Path) -> None:
    made = Store(tmp_path, {}, "u1")
    made.write(KEYS[:2], [np.arange(7, dtype=np.uint8), np.empty(0, np.uint8)])
    made.close()
    found = Store(tmp_path, {}, "u1").read(KEYS[:2])
    assert found is not None and found[0].dtype == np.uint8 and found[0].tolist() == list(range(7)) and not len(found[1])
    found[0][0] = 5  # of its own


def test_rows_beyond_the_room_are_not_kept_and_rows_nobody_reads_make_room(tmp_path: Path) -> None:
    made = Store(tmp_path, {}, most=40)
    made.write(KEYS, ROWS)  # of 0, 12, 24, 36, 48 and 60 bytes
    made.close()
    assert [key in made.places or key in Store(tmp_path, {}).places for key in KEYS] == [True, True, True, False, False, False]
    useful = Store(tmp_path, {}, most=40)
    useful.read(KEYS[:3])
    useful.write(KEYS[3:4], ROWS[3:4])
    useful.close()
    assert tmp_path.exists()
    stale = Store(tmp_path, {}, most=40)
    stale.write(KEYS[3:4], ROWS[3:4])
    stale.close()
    assert not tmp_path.exists()


def test_stores_of_one_run_share_its_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    filled(tmp_path / "old")
    room = Room(3000)
    first = room.open("first", 1500, {"holds": "activations"})
    assert isinstance(first, Store) and {one.name for one in cache.kept()} == {"first", "old"}
    assert "it would take" in str(room.open("second", 1600, {}))  # though the first is empty yet
    assert room.promise("second", 1500) is None and room.left("second") == 1500
    assert not (tmp_path / "old").exists()
    assert Room(0).promise("x", 1) == "train.cache is 0"


def test_a_folder_that_outgrew_its_room_starts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "folder", lambda: tmp_path)
    filled(tmp_path / "a")
    opened = Room(300).open("a", 200, {"holds": "activations"})
    assert isinstance(opened, Store) and not opened.places


def test_a_folder_of_someone_else_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path)
    right = os.open

    def opens(path: Path, flags: int) -> int:
        return right(path, flags) if flags == os.O_RDONLY else refused()

    def refused(*_: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "utime", refused)
    monkeypatch.setattr(os, "open", opens)
    made = store(tmp_path)
    assert same(made.read(KEYS), ROWS)
    with pytest.warns(UserWarning, match=r"could not be written \(Permission denied\); the run goes on"):
        made.write([b"x" * 16], ROWS[:1])
    made.close()
