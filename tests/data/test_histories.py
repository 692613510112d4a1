"""What can be wrong with histories beyond their own column, told by row, all at once."""

from pathlib import Path
from typing import Any

import pytest

from omnitune import Mistake, yaml_files
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read

FILMS = [{"film": 1, "genre": "war"}, {"film": "2", "genre": "love"}, {"film": "3", "genre": None}, {"film": "4", "genre": "love"}]


def table(folder: Path, rows: list[dict[str, Any]] = FILMS) -> str:
    path = folder / "films.csv"
    path.write_text("\n".join([",".join(rows[0]), *(",".join(str(v or "") for v in row.values()) for row in rows)]))
    return str(path)


def rows(n: int = 40) -> list[dict[str, Any]]:
    return [
        {"user": i, "seen": [{"item": str(1 + i % 3), "time": 5 + i}, {"item": str(1 + (i + 1) % 3), "time": 9 + i}],
         "next": 1 + (i + 2) % 3, "now": 10 + i}
        for i in range(n)
    ]  # fmt: skip


def recipe(source: Any, task: Any = None, bad_rows: str = "refuse", **history: Any) -> Recipe:
    inputs = {"seen": {"kind": "behaviour", **history}}
    data = {"from": source, "split": [0.8, 0.1, 0.1], "by": ["user"], "bad_rows": bad_rows}
    return read({"data": data, "inputs": inputs, "tasks": {"next": {"kind": "rank", "target": "next", "of": "seen"} | (task or {})}})


def items(folder: Path, **settings: Any) -> dict[str, Any]:
    return {"from": table(folder), "id": "film", "columns": {"genre": {"kind": "category", "min_count": 1}}} | settings


def test_items_of_training_rows_and_of_the_table_are_candidates(tmp_path: Path) -> None:
    made = prepare(recipe(rows(), items=items(tmp_path), time="now"))
    facts = made.schema.tasks["next"]
    assert sorted(map(str, facts["items"])) == ["1", "2", "3", "4"] and facts["counts"][-1] == 0 and str(facts["items"][-1]) == "4"
    assert len(facts["counts"]) == 4 and facts["everywhere"] is True
    assert made.schema.inputs["seen"]["described"]["genre"]["facts"]["categories"] == ["love", "war"]


def test_what_was_taken_next_is_an_item_of_the_history(tmp_path: Path) -> None:
    source = [row | {"next": "fresh" if i % 2 else str(row["next"])} for i, row in enumerate(rows())]
    made = prepare(recipe(source))
    assert "fresh" in made.schema.inputs["seen"]["items"] and made.schema.inputs["seen"]["items"] == made.schema.tasks["next"]["items"]


def test_a_history_that_tells_the_future_is_refused_with_its_row() -> None:
    source = rows()
    source[3]["now"], source[5]["now"], source[7]["now"] = 11, None, "yesterday"
    for row in source:
        row["now"] = None if row["now"] is None else str(row["now"])
    with pytest.raises(Mistake) as caught:
        prepare(recipe(source, time="now"))
    text = str(caught.value)
    assert "row 4, column seen: item 2 of 2 comes after the time of the row (now): the history tells the future" in text
    assert "row 8, column now: 'yesterday' is no time" in text and "row 6" not in text and "2 rows cannot be read" in text
    made = prepare(recipe(source, bad_rows="skip", time="now"))
    assert {bad.row for bad in made.bad} == {3, 7}
    with pytest.raises(Mistake, match=r"inputs\.seen\.time.*no column 'nw'.*Did you mean 'now'"):
        prepare(recipe(source, time="nw"))


def test_items_that_no_table_describes_are_refused_with_their_rows_or_do_without(tmp_path: Path) -> None:
    source = rows()
    source[2]["seen"], source[4]["next"] = [{"item": "9", "time": 0}], 77
    with pytest.raises(Mistake) as caught:
        prepare(recipe(source, items=items(tmp_path)))
    assert "row 3, column seen: item '9' stands in no row of inputs.seen.items" in str(caught.value)
    assert "row 5, column next: item '77' stands in no row" in str(caught.value)
    facts = prepare(recipe(source, items=items(tmp_path, unknown="without"))).schema.inputs["seen"]
    cells = dict(zip(map(str, facts["items"]), facts["described"]["genre"]["cells"], strict=True))
    assert cells["9"] == [] and cells["1"] == ["war"]


@pytest.mark.parametrize(
    ("films", "columns", "wrong"),
    [
        ([*FILMS, {"film": "2", "genre": "war"}], {}, "films.csv row 5.*column film.*a second row of item '2'"),
        ([*FILMS, {"film": None, "genre": "war"}], {}, "films.csv row 5.*an item without an id"),
        (FILMS, {"gnre": "category"}, "films.csv has no column 'gnre'.*Did you mean 'genre'"),
        (FILMS, {"genre": "number"}, "films.csv row 1.*'war' is not a number(.|\n)*row 2.*'love'"),
    ],
)
def test_what_is_wrong_with_the_table_of_items_is_said(films: Any, columns: Any, wrong: str, tmp_path: Path) -> None:
    given = {"from": table(tmp_path, films), "id": "film", "columns": columns or {"genre": "category"}}
    with pytest.raises(Mistake, match=wrong):
        prepare(recipe(rows(), items=given))


def test_what_a_recipe_says_of_items_is_checked_and_survives(tmp_path: Path) -> None:
    made = recipe(rows(), items=items(tmp_path))
    assert read(yaml_files.parse(yaml_files.write(made.to_dict()), "recipe")).inputs == made.inputs
    with pytest.raises(Mistake, match=r"tasks\.next\.of: 'sen' is no input of histories\. Did you mean 'seen'"):
        recipe(rows(), {"of": "sen"})
    with pytest.raises(Mistake, match=r"inputs\.seen\.items\.columns: required"):
        recipe(rows(), items={"from": "x.csv"})
    with pytest.raises(Mistake, match=r"inputs\.seen\.items\.idd: unexpected field"):
        recipe(rows(), items=items(tmp_path) | {"idd": "film"})
