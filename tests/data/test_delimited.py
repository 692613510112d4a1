"""CSV: types over the whole file, values unchanged, every malformed row told with its line."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from omnitune.data import delimited, text_files
from omnitune.data.audit import BadRow, list_bad_rows
from omnitune.data.table import read
from omnitune.errors import Mistake


def column(tmp_path: Path, *cells: str) -> list[Any]:
    (tmp_path / "t.csv").write_text("c,end\n" + "".join(f"{cell},x\n" for cell in cells))
    return read(tmp_path / "t.csv").take("c", range(len(cells)))


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "", "-3"], [1, None, -3]),
        (["1", "2.5", "-1e-3", "+4", ".5", "6."], [1.0, 2.5, -0.001, 4.0, 0.5, 6.0]),
        (["1", "NA", "nan", "null", '""', "N/A"], [1, None, None, None, None, None]),
        (["1.5", "NaN", " 2 "], [1.5, None, 2.0]),
        (["true", "", "False"], [True, None, False]),
        (["007", "12"], ["007", "12"]),
        (["00.5"], ["00.5"]),
        (["0", "0.5", "-0"], [0.0, 0.5, 0.0]),
        (["12345678901234567890", "1"], ["12345678901234567890", "1"]),
        (["999999999999999999"], [999999999999999999]),
        (["1234567890123456789.5"], ["1234567890123456789.5"]),
        (["1", "two", "3"], ["1", "two", "3"]),
        (["0x10"], ["0x10"]),
        (["1e999"], ["1e999"]),
        (["inf"], ["inf"]),
        (["2024-01-01"], ["2024-01-01"]),
        (["a", "", '""', "NA", " a "], ["a", None, "", "NA", " a "]),
        (["NA", "NA"], ["NA", "NA"]),
        (["", ""], [None, None]),
        (["1_000", "٣"], ["1_000", "٣"]),
        (["3.1", "3.10", "", "3"], ["3.1", "3.10", None, "3"]),
        (["19.90", "0.50", "7"], [19.9, 0.5, 7.0]),
        (["1", "1.0", "2.00"], [1.0, 1.0, 2.0]),
    ],
)
def test_types(tmp_path: Path, cells: list[str], values: list[Any]) -> None:
    found = column(tmp_path, *cells)
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]


def test_fractions_of_many_values_are_quantities_however_they_are_written(tmp_path: Path) -> None:
    cells = [f"{i / 16:.4f}" for i in range(20_000)] + ["3.1", "3.10"]
    assert column(tmp_path, *cells)[-2:] == [3.1, 3.1]


def test_bad_rows_are_listed_in_one_walk_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "".join(f'"x\ny{i}",{i}\n' for i in range(500)))
    table, opened = read(tmp_path / "t.csv"), []
    monkeypatch.setattr(text_files, "open_binary", lambda path: opened.append(path) or path.open("rb"))
    list_bad_rows(tmp_path / "bad.csv", table, [BadRow(row, "a", "odd") for row in (7, 7, *range(100, 500))])
    lines = (tmp_path / "bad.csv").read_text().splitlines()
    assert lines[1] == lines[2] == '8,"t.csv row 8 (line 16), column a",odd' and lines[-1] == '500,"t.csv row 500 (line 1000), column a",odd'
    assert len(lines) == 403 and len(opened) == 1


def test_endings_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "T.TSV").write_text("a, b\tc\n1\t2\n")
    assert read(tmp_path / "T.TSV").columns == ["a, b", "c"]


def test_columns_are_read_as_they_are_written_where_asked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1.0,1.0\nNA,NA\n,\n")
    assert read(tmp_path / "t.csv", texts=["a"]).take("a", range(3)) == ["1.0", "NA", None]
    assert read(tmp_path / "t.csv", texts=["a"]).take("b", range(3)) == [1.0, None, None]
    assert read(tmp_path / "t.csv").take("a", range(3)) == [1.0, None, None]


def test_one_word_in_a_late_block_makes_the_column_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK", 1 << 16)
    lines = [f"{i},{i},{i / 8}" for i in range(60_000)]
    lines[50_000] = "50000,late,1"
    (tmp_path / "t.csv").write_text("id,a,b\n" + "\n".join(lines))
    table = read(tmp_path / "t.csv")
    assert table.arrow["id"].num_chunks > 5
    assert table.take("a", [0, 50_000, 59_999]) == ["0", "late", "59999"]
    assert table.take("b", [0, 50_000]) == [0.0, 1.0]
    assert table.take("id", range(60_000)) == list(range(60_000))
    assert table.where(50_000) == "t.csv row 50001 (line 50002)"


def test_megabytes_in_one_cell(tmp_path: Path) -> None:
    text = 'a "quoted", long\ntext ' * 100_000
    escaped = text.replace('"', '""')
    (tmp_path / "t.csv").write_text(f'c,n\n"{escaped}",1\nshort,2\n')
    assert read(tmp_path / "t.csv").take("c", [0, 1]) == [text, "short"]


def test_windows_line_ends_and_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\r\na,b\r\n1,x\r\n\r\n2,y\r\n\r\n")
    table = read(tmp_path / "t.csv")
    assert (table.take("a", [0, 1]), table.take("b", [0, 1])) == ([1, 2], ["x", "y"])
    assert table.where(1) == "t.csv row 2 (line 5)"


@pytest.mark.parametrize("text", ["", "\n", "a,b", "a,b\n", "a,b\n\n"])
def test_no_rows(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Mistake, match=r"t.csv: there are no rows"):
        read(tmp_path / "t.csv")


def test_duplicate_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b,a,b,c\n1,2,3,4,5\n")
    with pytest.raises(Mistake) as caught:
        read(tmp_path / "t.csv")
    assert [part.what for part in caught.value.parts] == ["2 columns are called 'a'", "2 columns are called 'b'"]


def test_rows_of_a_wrong_length_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n1,"x\ny"\n\n1,2,3\nlone\n7,8\n')
    with pytest.raises(Mistake) as caught:
        read(tmp_path / "t.csv")
    assert [part.where for part in caught.value.parts] == ["t.csv row 2 (line 5)", "t.csv row 3 (line 6)"]
    assert [part.what for part in caught.value.parts] == ["3 fields where the header names 2", "1 fields where the header names 2"]


def test_many_rows_of_a_wrong_length_are_counted(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n" + "1\n" * 100)
    with pytest.raises(Mistake, match=r"t.csv: 80 more rows have a wrong number of fields"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ['a,b\n1,x\n2,"y\n3,z\n4,w\n', 'a,b\n1,"x""\n3,z'])
def test_a_quote_that_is_never_closed(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Mistake, match=r"t.csv line [23]: a quote is opened and never closed"):
        read(tmp_path / "t.csv")


def test_a_row_larger_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "BLOCK", 1 << 12)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n" + "x" * 10_000 + ",3\n")
    with pytest.raises(Mistake, match=r"t.csv: a row is larger than"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("data", "line"), [("a,b\nx,ok\ncafé,x\n".encode("latin1"), 3), ("ü,b\n1,2\n".encode("latin1"), 1), ("a,b\n1,2\n".encode("utf-16"), 1)]
)
def test_other_encodings_are_told_by_line(tmp_path: Path, data: bytes, line: int) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(Mistake, match=rf"t.csv line {line}: is not UTF-8 text.*iconv"):
        read(tmp_path / "t.csv")


@pytest.mark.parametrize("name", ["t.csv.gz", "t.jsonl.gz"])
def test_damaged_gzip(tmp_path: Path, name: str) -> None:
    text = b'{"a": 1}\n' * 5000 if "json" in name else b"a,b\n" + b"1,2\n" * 5000
    for data in (gzip.compress(text)[:-20], text):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(Mistake, match=f"{name}: is no intact gzip file"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1}\n{"a": \n{"a": 2}\n[\n', r"t.jsonl line 2: is no JSON.*\n.*t.jsonl line 4"),
        ('{"a": 1}\n{"a": 1, "a": 2}\n', "line 2.*'a' stands there twice"),
        ('{"a": 1}\n\n{"a": "x"}\n', "t.jsonl row 2, column a: text"),
        ('[{"a": 1}, 5]', "row 2: expected a mapping"),
        ('[{"a": 1}', "t.jsonl: is no JSON"),
        ("", "there are no rows"),
        ("[]", "there are no rows"),
        ('{\n "a": [1, 2]\n}', "line 1: is no JSON.*one object a line"),
    ],
)
def test_mistakes_in_json(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(Mistake) as caught:
        read(tmp_path / "t.jsonl")
    import re

    assert re.search(words, str(caught.value), re.S)


def test_json_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes('{"a": "x"}\n{"a": "café"}\n'.encode("latin1"))
    with pytest.raises(Mistake, match=r"t.jsonl line 2: is not UTF-8"):
        read(tmp_path / "t.jsonl")
