"""Plain text: one file a row, in any encoding, compressed or not, in folders, larger than memory."""

import bz2
import gzip
import lzma
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from omnitune.data import cached, documents
from omnitune.data.table import Table, read
from omnitune.errors import Mistake

TEXT = "Grüezi, 你好 🙂\r\n\tZeile 2\n"


def contents(table: Table) -> dict[str, str]:
    everything = range(len(table))
    return dict(zip(table.take("file", everything), table.take("text", everything), strict=True))


def put(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_is_a_row_whatever_its_encoding(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, {"a.txt": TEXT.encode(encoding)})
    table = read(tmp_path / "a.txt")
    assert contents(table) == {"a.txt": TEXT} and table.columns == ["text", "file"]


@pytest.mark.parametrize("order", ["le", "be"])
def test_utf16_of_both_orders(tmp_path: Path, order: str) -> None:
    mark = {"le": b"\xff\xfe", "be": b"\xfe\xff"}[order]
    put(tmp_path, {"a.txt": mark + TEXT.encode(f"utf-16-{order}")})
    assert contents(read(tmp_path / "a.txt")) == {"a.txt": TEXT}


def test_odd_texts_are_counted_and_named(tmp_path: Path) -> None:
    odd = {"a.txt": "“café” €".encode("cp1252"), "b.txt": b"caf\xe9 \x81", "c.txt": "a\0b\0", "d.txt": "\ufeffxy".encode("utf-16-le") + b"\0"}
    put(tmp_path, odd)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        table = read(tmp_path)
    assert list(contents(table).values()) == ["“café” €", "café \x81", "ab", "xy\ufffd"]
    said = sorted(str(one.message).partition(": ")[2] for one in caught)
    assert said == [
        "1 of 4 files damaged UTF-16, unreadable characters replaced (d.txt)",
        "1 of 4 files not UTF-8, read as Latin-1 (b.txt)",
        "1 of 4 files not UTF-8, read as Windows-1252 (a.txt)",
        "1 of 4 files with null bytes, which were removed (c.txt: 2)",
    ]


def test_many_odd_texts_are_one_warning(tmp_path: Path) -> None:
    put(tmp_path, {f"{i}.txt": b"\xe9" for i in range(9)})
    with pytest.warns(UserWarning, match=r"9 of 9 files not UTF-8, read as Windows-1252 \(0.txt, 1.txt, 2.txt, ...\)"):
        read(tmp_path)


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_compressed(tmp_path: Path, ending: str) -> None:
    path, data = tmp_path / f"a.txt.{ending}", TEXT.encode() * 50
    if ending == "zst":
        with pa.CompressedOutputStream(str(path), "zstd") as file:
            file.write(data)
    else:
        path.write_bytes({"gz": gzip, "bz2": bz2, "xz": lzma}[ending].compress(data))  # type: ignore[attr-defined]
    assert contents(read(path)) == {path.name: TEXT * 50}
    whole = path.read_bytes()
    for damage in (b"no such format", whole[: len(whole) // 2]):
        path.write_bytes(damage)
        for source in (path, tmp_path):
            with pytest.raises(Mistake, match=rf"a\.txt\.{ending}: is no intact (gzip|bzip2|xz|zstandard) file: .*Compress it again"):
                read(source)


def test_a_folder_is_a_corpus(tmp_path: Path) -> None:
    texts: dict[str, str | bytes] = {"b.txt": "two", "a/deep/x.TXT": "one", "a/empty.txt": "", "c.txt.gz": gzip.compress(b"three")}
    put(tmp_path, {**texts, "notes.md": "no", ".git/x.txt": "no", "a/.hidden.txt": "no"})
    table = read(tmp_path)
    assert list(contents(table).items()) == [("a/deep/x.TXT", "one"), ("a/empty.txt", ""), ("b.txt", "two"), ("c.txt.gz", "three")]
    assert table.where(1) == f"{tmp_path.name} row 2" and table.name == tmp_path.name


def test_parts_of_a_corpus(tmp_path: Path) -> None:
    put(tmp_path / "files", {"train.txt": "a", "test.txt": "b", "README.md": "no"})
    put(tmp_path / "folders", {"train/1.txt": "a", "train/2.txt": "c", "test/1.txt": "b"})
    for folder, train in {"files": ["a"], "folders": ["a", "c"]}.items():
        table = read(tmp_path / folder)
        assert {part: table.take("text", rows) for part, rows in (table.parts or {}).items()} == {"train": train, "test": ["b"]}


@pytest.mark.parametrize("beside", ["t.csv", "train.csv", "t.json", "metadata.csv", "cat/a.jpg"])
def test_a_text_beside_a_table_or_pictures_is_no_corpus(tmp_path: Path, beside: str) -> None:
    content = '[{"n": 1}]' if beside.endswith("json") else "file_name,n\nx,1\n"
    put(tmp_path, {"README.txt": "words", "train.txt": "a list of files", "metadata.txt": "x", beside: content})
    assert "text" not in read(tmp_path).columns


def test_a_changed_corpus_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"a/1.txt": "one", "a/2.txt": "two"})
    first = read(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(cached, "_write", None)
        assert read(tmp_path).fingerprint == first.fingerprint
    put(tmp_path, {"a/2.txt": "owt"})
    os.utime(tmp_path / "a/2.txt", ns=(1, 1))
    assert list(contents(read(tmp_path)).values()) == ["one", "owt"]
    (tmp_path / "a/1.txt").unlink()
    assert list(contents(read(tmp_path)).values()) == ["owt"]


@pytest.mark.parametrize("text", ["", " \n\t", "\ufeff", "\0"])
def test_an_empty_corpus_is_a_mistake(tmp_path: Path, text: str) -> None:
    put(tmp_path, {"a.txt": text, "b.txt": ""})
    with pytest.raises(Mistake, match=r"a\.txt: there is no text\. Give a text"):
        read(tmp_path / "a.txt")
    with pytest.raises(Mistake, match=rf"{tmp_path.name}: there is no text in any file"):
        read(tmp_path)


def test_a_giant_line(tmp_path: Path) -> None:
    line = "word and more " * 500_000
    put(tmp_path, {"a.txt": line})
    assert read(tmp_path / "a.txt").take("text", [0]) == [line]


def test_a_corpus_larger_than_memory_is_streamed_and_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "BATCH_BYTES", 1 << 18)
    rng = np.random.default_rng(0)
    texts: dict[str, Any] = {f"{i:03}.txt": rng.bytes(50_000).hex() for i in range(100)}
    put(tmp_path, texts)
    usual = pa.default_memory_pool()
    counting = pa.proxy_memory_pool(usual)
    pa.set_memory_pool(counting)
    try:
        table = read(tmp_path)
        peak, held = counting.max_memory(), counting.bytes_allocated()
    finally:
        pa.set_memory_pool(usual)
    assert peak < 2_500_000 and held < 200_000, (peak, held)
    assert contents(table) == texts
