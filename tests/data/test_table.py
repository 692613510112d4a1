"""read and Table: every source, values as plain Python, places for messages."""

import datetime
import decimal
import io
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from omnitune.data import table
from omnitune.data.columns import Column
from omnitune.data.table import Table, read
from omnitune.errors import Mistake

ROWS = [
    {"text": "good, äöü", "n": 1, "x": 0.5, "yes": True},
    {"text": 'two\n"lines"', "n": None, "x": None, "yes": None},
    {"text": "NA", "n": -3, "x": 2.0, "yes": False},
]


def contents(table: Table) -> list[dict[str, Any]]:
    columns = {column: table.take(column, range(len(table))) for column in table.columns}
    return [{column: values[i] for column, values in columns.items()} for i in range(len(table))]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS).astype({"n": "Int64"})


SOURCES = {
    "a.csv": lambda p: frame().to_csv(p, index=False),
    "a.tsv": lambda p: frame().to_csv(p, index=False, sep="\t"),
    "semicolon.csv": lambda p: frame().to_csv(p, index=False, sep=";"),
    "bom.CSV": lambda p: frame().to_csv(p, index=False, encoding="utf-8-sig"),
    "a.csv.gz": lambda p: frame().to_csv(p, index=False),
    "a.csv.bz2": lambda p: frame().to_csv(p, index=False),
    "a.tsv.xz": lambda p: frame().to_csv(p, index=False, sep="\t"),
    "a.csv.zst": lambda p: zstandard(p, frame().to_csv(index=False)),
    "a.jsonl": lambda p: frame().to_json(p, orient="records", lines=True),
    "a.jsonl.gz": lambda p: frame().to_json(p, orient="records", lines=True),
    "a.jsonl.bz2": lambda p: frame().to_json(p, orient="records", lines=True),
    "a.ndjson.xz": lambda p: frame().to_json(p, orient="records", lines=True),
    "a.jsonl.zst": lambda p: zstandard(p, frame().to_json(orient="records", lines=True)),
    "lines.json": lambda p: frame().to_json(p, orient="records", lines=True),
    "list.json": lambda p: frame().to_json(p, orient="records", indent=1),
    "a.parquet": lambda p: frame().to_parquet(p),
    "a.feather": lambda p: frame().to_feather(p),
    "file.arrow": lambda p: write_arrow(p, pa.ipc.new_file),
    "stream.arrow": lambda p: write_arrow(p, pa.ipc.new_stream),
}


def zstandard(path: Path, text: str) -> None:
    with pa.CompressedOutputStream(str(path), "zstd") as file:
        file.write(text.encode())


def write_arrow(path: Path, writer: Any) -> None:
    table = pa.Table.from_pandas(frame())
    with writer(str(path), table.schema) as file:
        file.write_table(table, 2)


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_file_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    SOURCES[name](tmp_path / name)
    table = read(tmp_path / name)
    assert contents(table) == ROWS
    assert (table.name, table.root, table.parts) == (name, tmp_path, None)
    assert contents(read(str(tmp_path / name))) == ROWS


@pytest.mark.parametrize(
    "source",
    [
        ROWS,
        tuple(ROWS),
        {column: [row[column] for row in ROWS] for column in ROWS[0]},
        frame(),
        frame().set_index("text", drop=False),
        pa.Table.from_pylist(ROWS),
        pa.table({"text": pa.array([r["text"] for r in ROWS], pa.large_string()), **{c: [r[c] for r in ROWS] for c in ("n", "x", "yes")}}),
        pa.Table.from_pylist(ROWS).to_reader(),
    ],
)
def test_every_kind_of_object_gives_the_same_rows(source: Any) -> None:
    table = read(source)
    assert contents(table) == ROWS
    assert table.root is None
    assert read(table) is table


def test_a_generator_of_rows_and_missing_keys() -> None:
    table = read(row for row in [{"a": 1}, {"b": "x"}, {"a": 2, "c": None}])
    assert contents(table) == [{"a": 1, "b": None, "c": None}, {"a": None, "b": "x", "c": None}, {"a": 2, "b": None, "c": None}]


@pytest.mark.parametrize("place", ["memory", "t.parquet", "t.arrow", "dictionary", "t.dictionary.arrow"])
def test_views_are_values(tmp_path: Path, place: str) -> None:
    kinds = {
        "text": pa.string_view(),
        "bytes": pa.binary_view(),
        "list": pa.list_(pa.string_view()),
        "struct": pa.struct([("path", pa.string_view())]),
    }
    rows = [{"text": "a", "bytes": b"x", "list": ["b"], "struct": {"path": "c"}}, dict.fromkeys(kinds)]
    table = pa.table({name: pa.array([row[name] for row in rows], kind) for name, kind in kinds.items()})
    if "dictionary" in place:
        table = table.set_column(0, "text", table["text"].combine_chunks().dictionary_encode())
    if place == "t.parquet":
        pq.write_table(table, tmp_path / place)
    elif place.endswith(".arrow"):
        with pa.ipc.new_file(str(tmp_path / place), table.schema) as file:
            file.write_table(table)
    source = tmp_path / place if place.startswith("t.") else table
    found = read(source)
    assert contents(found) == rows and len(found.fingerprint) == 16 and found.kinds == {"text": "text"}


def test_names_that_are_no_texts_keep_their_values() -> None:
    assert contents(read([{1: "a", ("x", 2): 3}, {1: "b"}])) == [{"1": "a", "('x', 2)": 3}, {"1": "b", "('x', 2)": None}]
    assert contents(read({1: ["a"], None: [2]})) == [{"1": "a", "None": 2}]
    with pytest.raises(Mistake, match=r"rows row 2: two columns are called '1': 1 and '1'"):
        read([{1: "a"}, {1: "a", "1": "b"}])
    with pytest.raises(Mistake, match=r"rows: two columns are called '1'"):
        read({1: ["a"], "1": ["b"]})


def test_a_small_nan_is_missing_in_any_column() -> None:
    assert read([{"t": "a"}, {"t": np.float32("nan")}]).take("t", [0, 1]) == ["a", None]
    assert read([{"n": np.float32(0.5)}, {"n": np.float32("nan")}]).take("n", [0, 1]) == [0.5, None]


def test_values_become_plain_python() -> None:
    moment, day = datetime.datetime(2024, 2, 29, 12, 0, 0, 5), datetime.date(2024, 1, 1)
    arrow = pa.table({
        "dictionary": pa.array(["a", None, "b"]).dictionary_encode(),
        "large": pa.array(["x", None, "z"], pa.large_string()),
        "decimal": pa.array([decimal.Decimal("1.10"), None, decimal.Decimal("2")], pa.decimal128(9, 2)),
        "stamp": pa.array([moment, None, moment], pa.timestamp("ns")),
        "day": pa.array([day, None, day]),
        "float": pa.array([1.5, float("nan"), None]),
        "bytes": pa.array([b"a", None, b""]),
        "list": pa.array([["a"], None, []]),
        "struct": pa.array([{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "p"}]),
        "half": pa.array([np.float16(1), np.float16("nan"), None], pa.float16()),
    })  # fmt: skip
    table = read(arrow)
    expected: dict[str, list[Any]] = {
        "dictionary": ["a", None, "b"], "large": ["x", None, "z"], "decimal": [decimal.Decimal("1.10"), None, decimal.Decimal("2.00")],
        "stamp": [moment, None, moment], "day": [day, None, day], "float": [1.5, None, None], "bytes": [b"a", None, b""], "list": [["a"], None, []],
        "struct": [{"bytes": b"x", "path": None}, None, {"bytes": None, "path": "p"}], "half": [1.0, None, None],
    }  # fmt: skip
    for column, values in expected.items():
        found = table.take(column, [0, 1, 2])
        assert found == values
        assert [type(v) for v in found] == [type(v) for v in values], column


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
def test_take_gives_any_rows_in_any_order_over_any_chunks(sizes: list[int], data: Any) -> None:
    cells = [f"v{i}" if i % 5 else None for i in range(sum(sizes) + 1)]
    ends = np.cumsum([0, *sizes, 1])
    arrow = pa.table({"c": pa.chunked_array([cells[a:b] for a, b in pairwise(ends)], pa.string())})
    numbers = data.draw(st.lists(st.integers(0, len(cells) - 1)))
    assert read(arrow).take("c", numbers) == [cells[i] for i in numbers]


cell = st.one_of(st.none(), st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8))


@given(st.lists(st.tuples(cell, st.one_of(st.none(), st.integers(-(10**17), 10**17))), min_size=1, max_size=12))
def test_csv_round_trip(pairs: list[tuple[str | None, int | None]]) -> None:
    """Through the file as a program writes it: empty cells are missing, quoted ones are texts."""
    quoted = ["" if text is None else '"' + text.replace('"', '""') + '"' for text, _ in pairs]
    lines = ["text,n,end", *[f"{text},{'' if n is None else n},w" for text, (_, n) in zip(quoted, pairs, strict=True)]]
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes("\n".join(lines).encode())
        table = read(path)
        found = list(zip(table.take("text", range(len(table))), table.take("n", range(len(table))), strict=True))
    words = {text for text, _ in pairs if text is not None}
    if any(text.lower() in ("true", "false") or is_number(text) for text in words):
        assert len(found) == len(pairs)  # a column of numbers or truth values is one, quoted or not
    else:
        assert found == pairs


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_where_names_file_row_line_and_column(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text('text,age\n\n"two\nlines, 5"" long",1\n5" pipe,2\nc,3\n')
    table = read(tmp_path / "r.csv")
    assert [table.where(i, "age") for i in range(3)] == [
        "r.csv row 1 (line 3), column age", "r.csv row 2 (line 5), column age", "r.csv row 3 (line 6), column age",
    ]  # fmt: skip
    assert table.where(0) == "r.csv row 1 (line 3)"
    (tmp_path / "r.csv").unlink()
    assert table.where(0) == "r.csv row 1"
    assert read(ROWS).where(1, "n") == "rows row 2, column n"
    assert read(ROWS, name="request").where(1) == "request row 2"


@pytest.mark.parametrize("k", [1, 7, 200, 100_000])
def test_a_sample_is_stable_ordered_and_part_of_larger_ones(tmp_path: Path, k: int) -> None:
    pd.DataFrame({"i": range(1000)}).to_parquet(tmp_path / "t.parquet", row_group_size=100)
    table = read(f"{tmp_path}/t.parquet#{k}")
    rows = table.take("i", range(len(table)))
    assert len(rows) == min(k, 1000)
    assert rows == sorted(set(rows)) == read(f"{tmp_path}/t.parquet#{k}").take("i", range(len(table)))
    assert set(rows) <= set(read(f"{tmp_path}/t.parquet#{k + 1}").take("i", range(min(k + 1, 1000))))
    assert table.where(0) == f"t.parquet row {rows[0] + 1}"


@pytest.mark.parametrize("end", ["#", "#0", "#-5", "#half", "#1.5"])
def test_a_bad_sample_is_a_mistake(tmp_path: Path, end: str) -> None:
    frame().to_parquet(tmp_path / "t.parquet")
    with pytest.raises(Mistake, match=r"is no number of rows.*#500"):
        read(f"{tmp_path}/t.parquet{end}")


def test_a_name_with_a_hash_is_a_name(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "c#5", index=False)
    (tmp_path / "c#5").rename(tmp_path / "c#5.csv")
    (tmp_path / "d#1").mkdir()
    frame().to_csv(tmp_path / "d#1" / "t.csv", index=False)
    assert len(read(tmp_path / "c#5.csv")) == len(read(tmp_path / "d#1")) == len(read(f"{tmp_path}/d#1/t.csv")) == 3
    assert len(read(f"{tmp_path}/c#5.csv#2")) == 2


def test_samples_of_the_product_are_read_as_folders(cache: Path) -> None:
    place = cache / "samples" / "elpv"
    (place / "images").mkdir(parents=True)
    (place / "images" / "cell.png").write_bytes(b"a cell")
    pq.write_table(pa.table({"image": ["images/cell.png"] * 3, "defect": [0.0, 1.0, None]}), place / "data.parquet")
    table = read("sample:elpv")
    assert (table.name, table.root, table.take("defect", range(3))) == ("sample:elpv", place, [0.0, 1.0, None])
    assert Column(table, "image", np.arange(1), media=True)[0] == b"a cell"
    assert len(read("sample:elpv#2")) == 2
    with pytest.raises(Mistake, match=r"sample:elvp: no such sample. Did you mean 'elpv'"):
        read("sample:elvp")


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    frame().to_parquet(tmp_path / "a.parquet")
    frame().to_parquet(tmp_path / "b.parquet", row_group_size=1)
    table = read(tmp_path / "a.parquet")
    assert table.fingerprint == read(tmp_path / "b.parquet").fingerprint == read(read(tmp_path / "b.parquet").arrow.combine_chunks()).fingerprint
    others = [ROWS[:2], ROWS[::-1], [{**row, "n": 5} for row in ROWS], [{"Text": row["text"], **row} for row in ROWS]]
    assert len({table.fingerprint, *[read(other).fingerprint for other in others]}) == 5


def test_fingerprints_of_long_tables_do_not_depend_on_chunks() -> None:
    whole = pa.table({"t": [f"{i}" if i % 3 else None for i in range(5000)]})
    chunks = pa.concat_tables([whole.slice(0, 1), whole.slice(1, 3001), whole.slice(3002)])
    assert read(whole).fingerprint == read(chunks).fingerprint


def test_pictures_and_paths_in_rows() -> None:
    table = read([{"photo": Image.new("L", (2, 2)), "file": Path("a/b.png")}, {"photo": None, "file": None}])
    photo, missing = table.take("photo", [0, 1])
    assert Image.open(io.BytesIO(photo)).size == (2, 2)
    assert (missing, table.take("file", [0])) == (None, ["a/b.png"])
    assert read(pd.DataFrame({"photo": [Image.new("L", (2, 2)), None]})).take("photo", [0]) == [photo]


def test_nan_means_missing_among_texts() -> None:
    assert read([{"t": float("nan")}, {"t": "a"}, {"t": None}]).take("t", [0, 1, 2]) == [None, "a", None]
    assert read(pd.DataFrame({"t": ["a", float("nan"), None, pd.NA]}, dtype=object)).take("t", range(4)) == ["a", None, None, None]
    rows = [{"t": float("nan")}] * 5000 + [{"t": "a"}]
    assert read(rows).take("t", [0, 5000]) == [None, "a"]


def test_types_that_widen_over_many_rows() -> None:
    rows: list[dict[str, Any]] = [{"n": i, "deep": {"a": 1}} for i in range(5000)] + [{"n": 0.5, "deep": {"b": ["x"]}}]
    table = read(rows)
    assert table.take("n", [4999, 5000]) == [4999.0, 0.5]
    assert table.take("deep", [0, 5000]) == [{"a": 1, "b": None}, {"a": None, "b": ["x"]}]


def many(value: Any, then: Any) -> list[dict[str, Any]]:
    return [{"ok": i, "c": value} for i in range(5000)] + [{"ok": 1, "c": then}]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ([], "rows: there are no rows"),
        ({}, "there are no rows"),
        ({"a": []}, "there are no rows"),
        (pd.DataFrame({"a": []}), "DataFrame: there are no rows"),
        ([{}], "row 1: expected a mapping"),
        ([{"a": 1}, 5], "row 2: expected a mapping of columns to values, got 5"),
        ({"a": [1], "b": [1, 2]}, "columns differ in length: a 1, b 2"),
        ({"a": 1}, "one list a column"),
        (5, "no table is read from int"),
        (pa.table([[1], [2]], names=["a", "a"]), "2 columns are called 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "2 columns are called 'a'"),
        ([{"a": 1}, {"a": None}, {"a": "x"}], r"rows row 3, column a: text \('x'\), where rows before hold a number"),
        ([{"a": "x"}, {"a": True}], "row 2, column a: true or false"),
        ([{"a": True}, {"a": 1}], "row 2, column a: a number"),
        (many(1, "x"), "row 5001, column c: text"),
        (many("x", b"y"), "row 5001, column c: bytes"),
        (pd.DataFrame({"a": [1, 2, "x"]}), "DataFrame row 3, column a: text"),
        ([{"a": [1]}, {"a": ["x"]}], "row 2, column a"),
        ([{"a": 1}, {"a": 2**70}], "row 2, column a: 1180591620717411303424"),
        ([{"a": object()}], "row 1, column a"),
        ([{"a": "ok"}, {"a": "\ud800"}], "row 2, column a"),
        (many([1], ["x"]), r"rows row 5001, column c"),
        ([{"c": [1]}] * 1024 + [{"c": ["x"]}], "column c: rows 1025 to 1025 hold list.*string.*rows before hold list.*int64"),
        ("", "names no source"),
    ],
)
def test_mistakes_in_objects(source: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        read(source)


def test_all_mixed_columns_are_told_at_once() -> None:
    with pytest.raises(Mistake) as caught:
        read([{"a": 1, "b": "x", "c": 1}, {"a": "y", "b": 2, "c": 2}])
    assert [part.where for part in caught.value.parts] == ["rows row 2, column a", "rows row 2, column b"]


def test_missing_files_name_their_neighbours(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "reviews.csv", index=False)
    for slip, words in [("review.csv", "Did you mean 'reviews.csv'"), ("nothing.parquet", "Look in"), ("no/where.csv", "There is no folder")]:
        with pytest.raises(Mistake, match=words):
            read(tmp_path / slip)


def test_an_unknown_ending_names_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(b"x")
    (tmp_path / "a.parquet.gz").write_bytes(b"x")
    for name in ("a.xlsx", "a.parquet.gz"):
        with pytest.raises(Mistake, match=r"no table is read from \.(xlsx|gz)\. There are: .*\.csv, .*\.parquet"):
            read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.feather"])
@pytest.mark.parametrize("damage", ["truncated", "empty", "text"])
def test_damaged_files_are_mistakes(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    SOURCES["a.parquet" if name.endswith("parquet") else "a.feather"](path)
    whole = path.read_bytes()
    path.write_bytes({"truncated": whole[: len(whole) // 2], "empty": b"", "text": b"some text " * 50}[damage])
    with pytest.raises(Mistake, match=rf"{name}: is no intact (Parquet|Arrow) file"):
        read(path)


def test_a_damaged_page_inside_parquet_is_a_mistake(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": [f"text {i}" for i in range(2000)]}), tmp_path / "t.parquet", compression="zstd")
    data = bytearray((tmp_path / "t.parquet").read_bytes())
    data[100:3000] = bytes(2900)
    (tmp_path / "t.parquet").write_bytes(data)
    with pytest.raises(Mistake, match=r"t.parquet: is no intact Parquet file"):
        read(tmp_path / "t.parquet")


def test_reading_loads_neither_torch_nor_datasets() -> None:
    code = "import sys, omnitune.data.table as t; t.read([{'a': 1}]); assert not {'torch', 'datasets'} & set(sys.modules), sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": "src", "PATH": ""}, cwd=Path(__file__).parents[2])


def test_blocks_are_bounded_in_rows_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "TAKEN", 5)
    monkeypatch.setattr(table, "TAKEN_BYTES", 100)
    sizes = [3, 40, 40, 40, 500, 1, None, 1, 1, 1, 1, 1, 99, 2]
    made = read([{"text": None if size is None else "x" * size, "n": i} for i, size in enumerate(sizes)])
    numbers = np.arange(len(sizes))
    assert [block.tolist() for block in made.blocks("text", numbers)] == [[0, 1, 2], [3], [4], [5, 6, 7, 8, 9], [10, 11], [12], [13]]
    assert [block.tolist() for block in made.blocks("text", numbers[[4, 1, 0]])] == [[4], [1, 0]]
    assert [len(block) for block in made.blocks("n", numbers)] == [5, 5, 4]
    assert list(made.blocks("text", numbers[:0])) == []


def test_the_fingerprint_of_long_texts_is_made_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"{i} " * 50} for i in range(30)]
    together, parted = pa.Table.from_pylist(rows), pa.concat_tables([pa.Table.from_pylist(rows[:7]), pa.Table.from_pylist(rows[7:])])
    whole = read(together).fingerprint
    monkeypatch.setattr(table, "TAKEN_BYTES", 1000)
    assert read(together).fingerprint == read(parted).fingerprint != whole
