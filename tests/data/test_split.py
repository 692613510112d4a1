"""split: sides by content, stable under growth and order, equal over file formats."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from omnitune.data.split import SIDES, digests, leaks, split
from omnitune.data.table import Table, read
from omnitune.errors import Mistake

SHARES = (0.6, 0.2, 0.2)
GOLDEN = ["11292c262c65f781", "7bc872e2fbd65f66", "c455160b86d45fd1"]
values = st.one_of(st.none(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), st.booleans(), st.text(min_size=1, max_size=5))
keys = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=4), min_size=1, max_size=40)


def sides(table: Table, by: list[str], **more: Any) -> list[str]:
    """The side of every row."""
    found = split(table, SHARES, by, **more)
    side = np.empty(len(table), dtype=object)
    for name, rows in found.items():
        side[rows] = name
    return list(side)


def filled(texts: list[str]) -> list[str]:
    """`texts` after enough others that no side is empty."""
    return [f"filler {i}" for i in range(40)] + texts


@given(keys, keys, st.randoms(use_true_random=False))
def test_a_row_keeps_its_side_when_rows_are_added_or_moved(first: list[str], more: list[str], random: Any) -> None:
    grown = filled(first + more)
    random.shuffle(grown)
    before = dict(zip(filled(first), sides(read({"t": filled(first)}), ["t"]), strict=True))
    after = dict(zip(grown, sides(read({"t": grown}), ["t"]), strict=True))
    assert before == {text: after[text] for text in before}


@given(keys)
def test_every_row_stands_on_one_side_and_copies_stand_together(texts: list[str]) -> None:
    twice = filled(texts) * 2
    parts = split(read({"t": twice}), SHARES, ["t"])
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(len(twice)))
    assert all(np.array_equal(rows, np.unique(rows)) for rows in parts.values())
    found = sides(read({"t": twice}), ["t"])
    assert found[: len(twice) // 2] == found[len(twice) // 2 :]
    assert leaks(read({"t": twice}), parts, ["t"]) == {"validation": 0, "test": 0}


@given(st.lists(st.tuples(values, values), min_size=2, max_size=2, unique_by=str))
def test_different_values_differ_and_equal_ones_agree(pairs: list[tuple[Any, Any]]) -> None:
    from omnitune.data.split import _canonical

    (a, b), (c, d) = pairs
    row = lambda *cells: b"".join(map(_canonical, cells))  # noqa: E731
    assert (row(a, b) == row(c, d)) == ((a, b) == (c, d))


def test_one_is_one_also_as_text() -> None:
    def one(value: Any) -> int:
        return int(digests(read([{"a": value}]), np.arange(1), ["a"])[0])

    assert one(1) == one(1.0) == one(True) == one("1") == one(" 1.0 ") == one("true")
    assert len({one(1), one("01"), one("1 one"), one(b"1"), one([1]), one({"a": 1}), one(None)}) == 7
    assert one("NA") == one(None) and one("12345678901234567890") != one(float("12345678901234567890"))
    assert one({"a": 1, "b": None}) == one({"a": 1.0})
    assert one("") == one(None)


def test_a_word_in_a_new_row_moves_no_row_of_a_csv_file(tmp_path: Path) -> None:
    cells = [*(str(i) for i in range(100)), "", "NA", "null", "0.50", "1e3", "-7", ".5"]
    before, after, typed = tmp_path / "before.csv", tmp_path / "after.csv", tmp_path / "typed.parquet"
    before.write_text("customer,x\n" + "".join(f"{cell},{i}\n" for i, cell in enumerate(cells)))
    after.write_text(before.read_text() + "C-9,0\n")
    read(before).arrow.to_pandas().to_parquet(typed)
    rows = np.arange(len(cells))
    assert read(before).kinds["customer"] == "number" and read(after).kinds["customer"] == "text"
    found = [digests(read(table), rows, ["customer"], fallback=["x"]) for table in (before, after, typed)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_shares_are_met() -> None:
    parts = split(read({"t": [f"row {i}" for i in range(20_000)]}), (0.8, 0.15, 0.05), ["t"])
    assert [round(len(parts[side]) / 20_000, 2) for side in SIDES] == pytest.approx([0.8, 0.15, 0.05], abs=0.011)


def test_a_larger_training_share_moves_no_row_out_of_training() -> None:
    table = read({"t": [str(i) for i in range(500)]})
    small, large = (split(table, shares, ["t"])["train"] for shares in ((0.5, 0.25, 0.25), (0.7, 0.15, 0.15)))
    assert set(small) <= set(large)


def test_shares_of_zero_get_nothing() -> None:
    table = read({"t": [str(i) for i in range(5000)]})
    assert [len(split(table, shares, ["t"])[side]) for shares, side in [((0.7, 0.3, 0.0), "test"), ((1.0, 0.0, 0.0), "validation")]] == [0, 0]
    assert len(split(table, (1.0, 0.0, 0.0), ["t"])["train"]) == 5000
    assert len(split(table, (0.6999999, 0.3, 0.0), ["t"])["test"]) == 0


def test_copies_of_a_table_in_other_formats_agree(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "text": [f'say "{i}",\nthen ü' if i % 7 else None for i in range(400)], "whole": rng.integers(-9, 9, 400), "fraction": rng.normal(size=400),
        "gap": [float(i) if i % 3 else None for i in range(400)], "yes": rng.random(400) > 0.5,
    })  # fmt: skip
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "t.tsv.gz", index=False, sep="\t")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_feather(tmp_path / "t.feather")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True, double_precision=15)
    by = ["whole", "text", "yes", "gap"]
    expected = digests(read(frame), np.arange(400), [*by, "fraction"])
    for name in ("t.csv", "t.tsv.gz", "t.parquet", "t.feather"):
        assert np.array_equal(digests(read(tmp_path / name), np.arange(400), [*by, "fraction"]), expected), name
    assert np.array_equal(digests(read(tmp_path / "t.jsonl"), np.arange(400), by), digests(read(frame), np.arange(400), by))


def test_the_order_of_columns_does_not_matter() -> None:
    table = read({"a": [1, 2, 3], "b": ["x", "y", "z"]})
    assert np.array_equal(digests(table, np.arange(3), ["a", "b"]), digests(table, np.arange(3), ["b", "a"]))


def test_rows_without_content_are_told_apart_by_other_columns() -> None:
    table = read({"text": [None] * 300, "n": list(range(300)), "constant": [1] * 300})
    assert set(sides(table, ["text"])) == set(SIDES)
    assert sides(table, ["text"]) == sides(table, ["text"], fallback=["n", "constant", "text"])
    with pytest.raises(Mistake, match=r"300 readable rows, of which none falls to"):
        split(table, SHARES, ["text"], fallback=["constant"])


def test_a_row_with_content_ignores_the_other_columns() -> None:
    rows = {"text": [f"t{i}" for i in range(100)] * 2, "n": list(range(200))}
    found = sides(read(rows), ["text"])
    assert found[:100] == found[100:]


def test_media_count_by_their_bytes(tmp_path: Path) -> None:
    for i in range(60):
        (tmp_path / f"a{i}.png").write_bytes(b"picture %d" % i)
        (tmp_path / f"copy{i}.png").write_bytes(b"picture %d" % i)
    paths = [f"a{i}.png" for i in range(60)] + [f"copy{i}.png" for i in range(60)]
    pd.DataFrame({"photo": paths}).to_csv(tmp_path / "t.csv", index=False)
    found = sides(read(tmp_path / "t.csv"), ["photo"], media={"photo"})
    assert found[:60] == found[60:]
    assert found == sides(read({"photo": [(tmp_path / path).read_bytes() for path in paths]}), ["photo"], media={"photo"})
    assert found != sides(read(tmp_path / "t.csv"), ["photo"])


def test_only_the_rows_asked_for_are_parted() -> None:
    table = read({"t": [str(i) for i in range(300)]})
    parts = split(table, SHARES, ["t"], rows=np.arange(299, 100, -1))
    assert np.array_equal(np.sort(np.concatenate(list(parts.values()))), np.arange(101, 300))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_too_few_rows_for_a_side(n: int) -> None:
    with pytest.raises(Mistake, match=rf"data.split: rows has {n} readable rows, of which none falls to .*Give more rows"):
        split(read({"t": [str(i) for i in range(n)]}), (0.8, 0.1, 0.1), ["t"])


def folder(place: Path, **parts: list[str]) -> Table:
    for part, texts in parts.items():
        pd.DataFrame({"t": texts}).to_csv(place / f"{part}.csv", index=False)
    return read(place)


def test_given_parts_are_kept(tmp_path: Path) -> None:
    table = folder(tmp_path, train=["a", "b"], validation=["c"], test=["d", "e"])
    assert {k: v.tolist() for k, v in split(table, "given", ["t"]).items()} == {"train": [0, 1], "validation": [2], "test": [3, 4]}
    left = split(table, "given", ["t"], rows=np.array([0, 2, 4]))
    assert {k: v.tolist() for k, v in left.items()} == {"train": [0], "validation": [2], "test": [4]}


@pytest.mark.parametrize("there", [{"test"}, {"validation"}, set()])
def test_missing_parts_are_carved_out_of_training(tmp_path: Path, there: set[str]) -> None:
    texts = [f"row {i}" for i in range(1000)]
    table = folder(tmp_path, train=texts, **{part: ["x", "y"] for part in there})
    parts = split(table, "given", ["t"])
    for side in {"validation", "test"} - there:
        assert 60 < len(parts[side]) < 140
        assert set(parts[side]) <= set(range(1000))
    assert sum(len(parts[side]) for side in SIDES) == len(table)
    assert leaks(table, parts, ["t"]) == {"validation": 0, "test": 0}


def test_given_without_parts_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"data.split: rows has no parts of its own.*Give shares"):
        split(read({"t": ["a"]}), "given", ["t"])


def test_leaks_between_given_parts_are_counted_and_kept(tmp_path: Path) -> None:
    table = folder(tmp_path, train=["a", "b", "c"], validation=["d"], test=["b", "b", "e", "a"])
    parts = split(table, "given", ["t"])
    assert len(parts["test"]) == 4
    assert leaks(table, parts, ["t"]) == {"validation": 0, "test": 3}


def test_many_rows_are_parted_in_little_time() -> None:
    table = read(pd.DataFrame({"t": [f"a short review number {i}" for i in range(100_000)]}))
    start = time.process_time()
    split(table, SHARES, ["t"])
    assert time.process_time() - start < 3


def test_digests_are_those_of_earlier_versions() -> None:
    table = read([{"t": "a review", "n": 3, "x": 0.25}, {"t": None, "n": 4, "x": None}, {"t": "", "n": None, "x": 1.0}])
    assert [f"{d:016x}" for d in digests(table, np.arange(3), ["t", "n", "x"])] == GOLDEN
