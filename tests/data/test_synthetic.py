"""Rows that a model wrote stand behind those of the table, teach and never measure; what does not fit is said with its own file and row."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import moods
from omnitune.data.prepared import Prepared, prepare
from omnitune.data.synthetic import Augmented, about
from omnitune.data.table import read as read_table
from omnitune.errors import Mistake
from omnitune.evaluation.synthetic import facts
from omnitune.recipe import read
from runs import rows, table_recipe, write_csv


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("moods") / "moods.csv", moods.rows())


def more(folder: Path, *texts: str | None, **columns: Any) -> Path:
    """A file of synthetic rows with these texts."""
    values: dict[str, Any] = {"text": list(texts), "mood": ["glad"] * len(texts), "synthetic": [True] * len(texts)} | columns
    path = folder / "more.parquet"
    pq.write_table(pa.table({name: value for name, value in values.items() if value is not None}), path)
    return path


def grown(table: Path, file: Path | str, *overrides: str) -> Prepared:
    return prepare(moods.telling(table, f"data.synthetic={file}", *overrides))


def test_the_rows_of_the_table_keep_their_numbers_and_sides(table: Path, tmp_path: Path) -> None:
    plain, prepared = prepare(moods.telling(table)), grown(table, more(tmp_path, "a new coat", "a newer coat"))
    assert isinstance(prepared.source, Augmented) and len(prepared.source) == 162
    for part in ("validation", "test"):
        assert prepared.parts[part].tolist() == plain.parts[part].tolist()
    assert prepared.parts["train"].tolist() == [*plain.parts["train"].tolist(), 160, 161]
    assert prepared.real().parts["train"].tolist() == plain.parts["train"].tolist() and plain.real() is plain
    assert prepared.schema.rows["train"] == plain.schema.rows["train"] + 2
    assert prepared.table.take("text", [161, 0]) == ["a newer coat", moods.rows()[0]["text"]]
    assert prepared.table.take("thing", [161]) == [None]  # which the recipe does not read
    assert prepared.table.places([161, 3]) == {161: "more.parquet row 2", 3: "moods.csv row 4 (line 5)"}
    assert prepared.table.fingerprint not in (plain.table.fingerprint, grown(table, more(tmp_path, "a new coat")).table.fingerprint)


def test_what_a_held_out_row_says_is_left_out_and_counted(table: Path, tmp_path: Path) -> None:
    plain = prepare(moods.telling(table))
    held = [moods.rows()[plain.parts[part][0]]["text"] for part in ("validation", "test")]
    seen = moods.rows()[plain.parts["train"][0]]["text"]
    prepared = grown(table, more(tmp_path, held[0], "a new coat", held[1], seen))
    assert prepared.copies == 2 and prepared.parts["train"][-2:].tolist() == [161, 163]
    assert prepared.straddling() == {}


def test_neither_its_group_nor_its_text_may_be_held_out(table: Path, tmp_path: Path) -> None:
    by_thing = ("data.by=[thing]", "data.split=[0.4, 0.2, 0.4]")
    plain = prepare(moods.telling(table, *by_thing))
    apart = {moods.rows()[row]["thing"] for row in plain.parts["test"]}
    taught = next(thing for thing in moods.THINGS if thing not in apart | {moods.rows()[row]["thing"] for row in plain.parts["validation"]})
    text = moods.rows()[plain.parts["test"][0]]["text"]
    file = more(tmp_path, "a new thing", "a newer thing", text, thing=[next(iter(apart)), taught, taught])
    prepared = grown(table, file, *by_thing)
    assert prepared.copies == 2 and prepared.parts["train"][-1] == 161
    assert prepared.parts["train"][:-1].tolist() == plain.parts["train"].tolist()


def test_given_parts_stay_as_they_are_given(tmp_path: Path) -> None:
    every = moods.rows()
    for part, some in {"train": every[:100], "validation": every[100:120], "test": every[120:]}.items():
        write_csv(tmp_path / f"{part}.csv", some)
    (tmp_path / "apart").mkdir()
    prepared = grown(tmp_path, more(tmp_path / "apart", "a new coat", every[150]["text"]), "data.split=given")
    known = {text: row for row, text in enumerate(prepared.table.take("text", np.arange(160)))}
    assert prepared.parts["train"].tolist()[-1] == 160 and prepared.copies == 1 and len(prepared.parts["train"]) == 101
    assert known[every[150]["text"]] in prepared.parts["test"]


def test_rows_that_do_not_say_that_they_are_synthetic_are_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"more.parquet: has no column 'synthetic'. Rows that people wrote belong into the table"):
        grown(table, more(tmp_path, "a new coat", synthetic=None))
    with pytest.raises(Mistake) as told:
        grown(table, more(tmp_path, "a", "b", "c", synthetic=[True, False, None]))
    assert "more.parquet row 2, column synthetic: is not true" in str(told.value) and "2 rows are not marked" in str(told.value)


def test_another_type_a_lacking_column_and_a_bad_row_are_told_with_their_own_file(table: Path, tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"more.parquet, column mood: holds int64, but string in moods.csv. Give a column one type in both"):
        grown(table, more(tmp_path, "a new coat", mood=[1]))
    with pytest.raises(Mistake, match=r"more.parquet has no column 'mood'"):
        grown(table, more(tmp_path, "a new coat", mood=None))
    with pytest.raises(Mistake, match=r"nowhere.parquet: there is no such file"):
        grown(table, tmp_path / "nowhere.parquet")
    numbers = table_recipe(str(write_csv(tmp_path / "numbers.csv", rows(60))), f"data.synthetic={tmp_path / 'odd.parquet'}")
    odd = {"a": [1.0, 2.0], "b": [1.0, 2.0], "color": ["red"] * 2, "class": ["low"] * 2, "value": [1.0, float("inf")], "synthetic": [True] * 2}
    pq.write_table(pa.table(odd), tmp_path / "odd.parquet")
    with pytest.raises(Mistake, match=r"odd.parquet row 2, column value"):
        prepare(numbers)


def test_they_are_of_one_table_and_of_nobodys_history(table: Path) -> None:
    with pytest.raises(Mistake) as told:
        moods.telling(table, f"tables={{others: {{from: {table}, synthetic: more.parquet}}}}", "tasks.mood.table=others")
    assert "tables.others.synthetic: synthetic rows are of the one table `data`" in str(told.value)
    values = {
        "data": {"from": str(table), "synthetic": "more.parquet"},
        "inputs": {"past": {"kind": "behaviour"}},
        "tasks": {"next": {"kind": "rank", "of": "past", "target": "thing"}},
    }
    with pytest.raises(Mistake) as told:
        read(values)
    assert "data.synthetic: 'past' reads what people did, which nobody wrote" in str(told.value)


def test_a_file_says_of_itself_what_its_metadata_say(table: Path, tmp_path: Path) -> None:
    plain = more(tmp_path, "a new coat", "a newer coat")
    assert about(read_table(plain)) == {} == about(read_table(table))
    told = pq.read_table(plain).replace_schema_metadata({b"omnitune": b'{"way": "paraphrase"}'})
    pq.write_table(told, tmp_path / "told.parquet")
    assert about(read_table(f"{tmp_path / 'told.parquet'}#1")) == {"way": "paraphrase"}
    assert len(grown(table, f"{tmp_path / 'told.parquet'}#1").parts["train"]) == len(prepare(moods.telling(table)).parts["train"]) + 1


def test_documents_in_pieces_are_counted_by_their_rows(table: Path, tmp_path: Path) -> None:
    pieces = ("inputs.text.pieces=true", "inputs.text.max_tokens=16", "tasks.words={kind: generate, of: text}", "inputs.text.backbone.context=16")
    plain = prepare(moods.telling(table, *pieces))
    prepared = grown(table, more(tmp_path, "a new coat " * 20), *pieces)
    taught = prepared.parts["train"]
    written = taught[prepared.table.origin(taught) == 160]
    assert len(written) > 3 and len(taught) == len(plain.parts["train"]) + len(written)
    assert len(prepared.real().parts["train"]) == len(plain.parts["train"])
    assert facts(prepared)["synthetic"]["rows"] == {"train": 1, "validation": 0, "test": 0}
