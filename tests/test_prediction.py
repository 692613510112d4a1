"""A table to be answered is read as the training table was, whatever else stands in it, and in whatever form its rows come."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from omnitune.artifact import Artifact
from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from omnitune.recipe import read

Row = dict[str, Any]
HEADER = ["amount", "store", "member", "state", "release"]
RECIPE: Row = {
    "inputs": {"amount": "number"} | {name: {"kind": "category", "width": 8} for name in HEADER[1:]},
    "tasks": {"high": {"kind": "classify", "target": "high"}}, "train": {"epochs": 2, "batch": 32, "head_lr": 0.05},
}  # fmt: skip


def table(n: int = 160) -> list[list[str]]:
    """Cells of a CSV file: numbers, whole numbers and true/false as categories, and two columns that are text by one of their values."""
    rng = np.random.default_rng(0)
    return [
        [
            f"{rng.normal():.3f}",
            str(rng.integers(1, 4)),
            str(rng.random() < 0.5),
            str(rng.choice(["True", "False", "unknown"])),
            f"3.{[1, '10'][i % 2]}",
        ]
        for i in range(n)
    ]


def written(path: Path, cells: list[list[str]], header: list[str] = HEADER) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in [header, *cells]))
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("prediction")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMNITUNE_CACHE", str(folder / "cache"))
        answers = [str(int(row[1] == "2" or row[2] == row[3])) for row in table()]
        cells = [[*row, answer] for row, answer in zip(table(), answers, strict=True)]
        source = written(folder / "train.csv", cells, [*HEADER, "high"])
        return fit(read({"data": {"from": source, "split": [0.6, 0.2, 0.2]}, **RECIPE}), folder / "run")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNITUNE_CACHE", str(tmp_path / "cache"))


def likely(answers: list[Row]) -> list[float]:
    return [answer["high"]["probabilities"]["1"] for answer in answers]


def test_what_training_read_is_saved(made: Artifact) -> None:
    assert made.schema.columns == {"amount": "number", "store": "number", "member": "flag", "state": "text", "release": "text"}
    assert made.schema.inputs["release"]["categories"] in (["3.1", "3.10"], ["3.10", "3.1"])


@pytest.mark.parametrize("column", range(5))
def test_one_odd_cell_changes_no_other_answer(made: Artifact, column: int, tmp_path: Path) -> None:
    cells = table(20)
    usual = likely(made.predict(written(tmp_path / "usual.csv", cells)))
    cells.append([*cells[0][:column], "C-9", *cells[0][column + 1 :]])
    odd = made.predict(written(tmp_path / "odd.csv", cells))
    assert likely(odd[:20]) == pytest.approx(usual, abs=1e-6)
    assert "'C-9' is not a number" in odd[20]["error"] if column == 0 else "high" in odd[20]


def test_a_column_that_looks_otherwise_is_read_as_in_training(made: Artifact, tmp_path: Path) -> None:
    cells = [row for row in table(60) if row[3] != "unknown" and row[4] == "3.10"]
    usual = likely(made.predict(written(tmp_path / "usual.csv", [*cells, ["1.0", "2", "True", "unknown", "3.1"]])))[:-1]
    changed = [[amount, f"{store}.0", member.upper(), *more] for amount, store, member, *more in cells]
    assert likely(made.predict(written(tmp_path / "changed.csv", changed))) == pytest.approx(usual, abs=1e-6)
    dictionaries = [dict(zip(HEADER, row, strict=True)) for row in changed]  # as csv.DictReader gives them
    assert likely(made.predict(dictionaries)) == pytest.approx(usual, abs=1e-6)


def test_an_odd_value_in_a_json_file_is_the_matter_of_its_row(made: Artifact, tmp_path: Path) -> None:
    row: Row = {"amount": 0.5, "store": 2, "member": True, "state": "True", "release": "3.10"}
    rows = [{name: row[name] for name in HEADER[1:]}, row, row | {"amount": "many"}, row | {"store": [2]}, row | {"member": "true", "new": 1}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "t.json").write_text(json.dumps(rows))
    for name in ("t.jsonl", "t.json"):
        answers = made.predict(tmp_path / name)
        assert [set(answer) for answer in answers] == [{"high"}, {"high"}, {"error"}, {"error"}, {"high"}]
        assert likely([answers[1], answers[4]]) == pytest.approx(likely([made.predict(row)] * 2), abs=1e-6)
    (tmp_path / "t.jsonl").write_text('{"amount": 1}\n{"amount": 2, "stor": 3}\n')
    with pytest.raises(Mistake, match=r"t.jsonl: no column 'store'. Did you mean 'stor'"):
        made.predict(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text("{}\n[1]\n")
    with pytest.raises(Mistake, match=r"t.jsonl row 1: expected a mapping"):
        made.predict(tmp_path / "t.jsonl")
    (tmp_path / "t.jsonl").write_text("\n")
    with pytest.raises(Mistake, match=r"t.jsonl: there are no rows"):
        made.predict(tmp_path / "t.jsonl")


def test_a_column_of_missing_words_is_missing(made: Artifact, tmp_path: Path) -> None:
    cells = [["NA", "null", "N/A", *row[3:]] for row in table(4)]
    empty = [["", "", "", *row[3:]] for row in table(4)]
    assert made.predict(written(tmp_path / "na.csv", cells)) == made.predict(written(tmp_path / "empty.csv", empty))


@pytest.mark.parametrize("missing", [pd.NA, pd.NaT, np.float32("nan"), np.float64("nan"), np.datetime64("NaT"), float("nan")], ids=repr)
def test_missing_values_of_other_libraries(made: Artifact, missing: Any) -> None:
    row = dict(zip(HEADER, table(1)[0], strict=True))
    for column in HEADER:
        assert made.predict([row | {column: missing}]) == made.predict([row | {column: None}])


def test_values_of_numpy_are_those_of_python(made: Artifact) -> None:
    row: Row = {"amount": 0.5, "store": 2, "member": True, "state": "True", "release": "3.10"}
    other = {"amount": np.float32(0.5), "store": np.int64(2), "member": np.bool_(True), "state": np.str_("True"), "release": "3.10"}
    assert made.predict(row) == made.predict(other)


@pytest.mark.parametrize("form", [list, iter])
def test_a_key_that_some_rows_lack_is_a_missing_value_wherever_they_stand(made: Artifact, form: Any) -> None:
    whole: list[Row] = [{"amount": 0.5, "store": 2, "member": True, "state": "True", "release": "3.10"}] * 512
    lacking = [{name: value for name, value in whole[0].items() if name != "store"}] * 513
    answers = made.predict(form([*whole, *lacking]))
    assert len(answers) == 1025
    assert likely(answers[-1:]) == pytest.approx(likely(made.predict([whole[0] | {"store": None}])), abs=1e-6)
    with pytest.raises(Mistake, match="no column 'store'"):
        made.predict(form(lacking))


def test_a_data_set_is_no_row(made: Artifact) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"amount": 0.5, "store": 2, "member": True, "state": "True", "release": "3.10"}] * 3
    usual = made.predict(rows)
    assert made.predict(datasets.DatasetDict({"test": datasets.Dataset.from_list(rows)})) == usual
