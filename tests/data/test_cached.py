"""The cache of converted tables: memory-mapped, streamed, whole or not there at all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from omnitune.data import cached, delimited, files
from omnitune.data.table import read
from omnitune.errors import Mistake

ROOT = Path(__file__).parents[2]
READ = "import sys; from omnitune.data.table import read; print(read(sys.argv[1]).fingerprint)"


def python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def copies(cache: Path) -> list[Path]:
    return sorted((cache / "tables").rglob("*.*"))


@pytest.fixture
def pool() -> Iterator[pa.MemoryPool]:
    """Counts what Arrow allocates from here on."""
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    yield counting
    pa.set_memory_pool(usual)


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl", "feather"])
def test_a_table_larger_than_memory_is_streamed_and_mapped(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Peak and final allocations are small beside the table."""
    monkeypatch.setattr(files, "BATCH_BYTES", 1 << 19)
    monkeypatch.setattr(delimited, "BLOCK", 1 << 19)
    rng = np.random.default_rng(0)
    table = pa.table({"text": [rng.bytes(500).hex() for _ in range(16_000)], "n": np.arange(16_000)})
    path = tmp_path / f"large.{kind}"
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=1000)
    elif kind == "feather":
        table.to_pandas().to_feather(path, chunksize=1000)
    else:
        table.to_pandas().to_csv(path, index=False) if kind == "csv" else table.to_pandas().to_json(path, orient="records", lines=True)
    size = table.nbytes
    del table
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    try:
        large = read(path)
        peak, held = counting.max_memory(), counting.bytes_allocated()
    finally:
        pa.set_memory_pool(usual)
    assert large.arrow.nbytes >= 0.99 * size > 16_000_000
    assert peak < size / 2, (peak, size)
    assert held < size / 50
    assert large.take("n", [15_999, 3]) == [15_999, 3]


def test_a_second_reading_converts_nothing(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(10)}).to_csv(path, index=False)
    first = read(path)
    place = copies(cache)
    monkeypatch.setattr(cached, "_write", None)
    again = read(path)
    assert again.fingerprint == first.fingerprint
    assert len(place) == 1 and copies(cache) == place


def test_a_changed_file_is_read_anew_and_its_old_copy_goes(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,x\n")
    old = read(path)
    path.write_text("a,b\n2,x\n")
    os.utime(path, ns=(1, 1))
    assert read(path).take("a", [0]) == [2]
    assert old.take("a", [0]) == [1]
    assert len(copies(cache)) == 1


def test_tables_of_one_name_do_not_mix(tmp_path: Path) -> None:
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "t.csv").write_text(f"a,b\n{i},x\n")
        os.utime(tmp_path / str(i) / "t.csv", ns=(1, 1))
    assert [read(tmp_path / str(i) / "t.csv").take("a", [0]) for i in range(2)] == [[0], [1]]


def test_a_damaged_copy_is_made_anew(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(1000)}).to_csv(path, index=False)
    read(path)
    (place,) = copies(cache)
    place.write_bytes(place.read_bytes()[:1000])
    assert read(path).take("a", [999]) == [999]


def test_a_mistake_leaves_nothing_behind(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n3\n")
    with pytest.raises(Mistake):
        read(tmp_path / "t.csv")
    assert [path for path in copies(cache) if path.is_file()] == []


def test_what_was_abandoned_goes_after_a_day(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    read(path)
    folder = copies(cache)[0].parent
    for name, age in [("old.half", 90_000), ("young.half", 60)]:
        (folder / name).touch()
        os.utime(folder / name, (time.time() - age, time.time() - age))
    path.write_text("a,b\n1,2\n3,4\n")
    read(path)
    assert (folder / "young.half").exists() and not (folder / "old.half").exists()


@pytest.mark.slow
def test_a_killed_conversion_is_never_used(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(300_000), "t": "some words of a row"}).to_csv(path, index=False)
    slow = "import omnitune.data.delimited as d; d.BLOCK = 1 << 12; "
    process = python(slow + READ, path)
    deadline = time.time() + 30
    while not list((cache / "tables").rglob("*.half")) and time.time() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [place.suffix for place in copies(cache)] == [".half"]
    assert read(path).take("a", [0, 299_999]) == [0, 299_999]


@pytest.mark.slow
def test_processes_at_once_agree(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(50_000), "t": "words"}).to_csv(path, index=False)
    processes = [python(READ, path) for _ in range(3)]
    outputs = [process.communicate() for process in processes]
    assert {out for out, _ in outputs} == {read(path).fingerprint + "\n"}, outputs
    assert [place.suffix for place in copies(cache)] == [".arrow"]


def test_a_full_disk_is_a_mistake(tmp_path: Path, cache: Path) -> None:
    """The system refuses to write more than 100 kB to a file, as a full disk would."""
    path = tmp_path / "t.csv"
    pd.DataFrame({"a": range(100_000)}).to_csv(path, index=False)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)); "
    _, errors = python(limit + READ, path).communicate()
    assert "Mistake" in errors and "the disk is full. Make room, or set OMNITUNE_CACHE" in errors, errors
    assert [place for place in copies(cache) if place.is_file()] == []


def test_a_cache_that_cannot_be_written_is_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "file"))
    with pytest.raises(Mistake, match=r"cannot be written.*Set OMNITUNE_CACHE"):
        read(tmp_path / "t.csv")


def test_copies_have_the_rights_of_new_files(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    read(tmp_path / "t.csv")
    (copy,) = cache.rglob("*.arrow")
    assert copy.stat().st_mode & 0o777 == (tmp_path / "t.csv").stat().st_mode & 0o777


def test_a_copy_that_another_user_keeps_to_himself_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    mapped, asked = cached._mapped, []

    def refused_once(place: Path) -> Any:
        asked.append(place)
        if len(asked) == 1:
            raise PermissionError(13, "Permission denied", str(place))
        return mapped(place)

    monkeypatch.setattr(cached, "_mapped", refused_once)
    assert read(tmp_path / "t.csv").take("a", [0]) == [1]
    monkeypatch.setattr(cached, "_mapped", lambda place: (_ for _ in ()).throw(PermissionError(13, "Permission denied", str(place))))
    with pytest.raises(Mistake, match=r"tables.*\.arrow: cannot be opened: Permission denied"):
        read(tmp_path / "t.csv")


def test_the_cache_is_in_the_home_folder_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMNITUNE_CACHE")
    assert cached.folder() == Path.home() / ".cache" / "omnitune" / "tables"
