"""From a table to a recipe that says why."""

import base64
import datetime
import io
import json
import random
from pathlib import Path
from typing import Any

import pytest

from omnitune.commands.infer import Inferred, infer
from omnitune.data.prepared import prepare
from omnitune.errors import Mistake
from omnitune.recipe import read
from omnitune.yaml_files import parse
from sounds import file, tone

WORDS = ["the", "dress", "fits", "well", "and", "looks", "lovely", "but", "its", "seams", "came", "apart", "after", "one", "wash", "sadly"]


def picture(i: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (4, 4), (i % 256, 0, 0)).save(file, "PNG")
    return file.getvalue()


def columns(n: int = 300) -> dict[str, list[Any]]:
    rng = random.Random(0)
    stars = [rng.randint(1, 5) for _ in range(n)]
    return {
        "review": [" ".join(rng.choices(WORDS, k=12)) if i % 9 else None for i in range(n)],
        "title": [" ".join(rng.choices(WORDS, k=2)) for _ in range(n)],
        "price": [round(rng.uniform(5, 90), 2) for _ in range(n)],
        "age": [rng.randint(18, 80) for _ in range(n)],
        "shop": [rng.choice(["Bern", "Basel", "Zürich"]) for _ in range(n)],
        "shop_id": [rng.randint(1, 9) for _ in range(n)],
        "gift": [rng.random() < 0.3 for _ in range(n)],
        "photo": [f"photos/{i}.jpg" for i in range(n)],
        "inline": ["data:image/png;base64," + base64.b64encode(picture(i)).decode() for i in range(n)],
        "raw": [picture(i) for i in range(n)],
        "row": list(range(1, n + 1)),
        "order_id": [90_000 + 7 * i * i for i in range(n)],
        "code": [f"{rng.getrandbits(40):x}" for _ in range(n)],
        "country": ["CH"] * n,
        "nothing": [None] * n,
        "when": [datetime.date(2026, 1, 1) + datetime.timedelta(days=i) for i in range(n)],
        "posted": [(datetime.datetime(2026, 1, 1) + datetime.timedelta(hours=7 * i)).isoformat() for i in range(n)],
        "likes": [[rng.choice(["tea", "art"]), f"no {i}"] for i in range(n)],
        "listed": [f'["{rng.choice(["tea", "art"])}", "no {i}"]' for i in range(n)],
        "parted": [rng.choice(["tea;art", "tea", "art;sun"]) for _ in range(n)],
        "call": [f"calls/{i}.wav" for i in range(n)],
        "points": [[1.0, 2.0]] * n,
        "walk": [[float(i), i + 0.5, i - 1.0][: 2 + i % 2] for i in range(n)],
        "stars": stars,
        "happy": [int(star > 3) for star in stars],
        "tags": [rng.choice(["red|warm", "red", "blue|warm", "blue|cold|new"]) for _ in range(n)],
        "mood": [rng.choice(["glad", "sad", "so-so"]) for _ in range(n)],
    }


def test_columns_of_odd_names() -> None:
    odd = {"": "a", "a\nb": "b", "what, " * 50: "c", "x:y # z": "d", " ": "e", "\u2028": "f", "a_b": "g", "1": "h", "null": "i"}
    table = {name: [f"{letter}{i % 3}" for i in range(60)] for name, letter in odd.items()} | {"const\nant": ["x\ny"] * 60}
    table |= {"__index_level_0__": random.Random(0).sample(range(60), 60), "y\nz": [i % 3 for i in range(60)]}
    found = infer(table, "y\nz")
    assert {found.recipe.column(name) for name in found.recipe.inputs} == set(odd) and set(found.left_out) == {"const\nant", "__index_level_0__"}
    again = parse(str(found), "shown")
    assert read(again | {"data": {"from": table}}).to_dict() == found.recipe.to_dict()
    prepared = prepare(found.recipe.replace(data=found.recipe.data.replace(split=(1.0, 0.0, 0.0))))
    assert [len(facts["categories"]) for facts in prepared.schema.inputs.values()] == [3] * 9


@pytest.mark.parametrize(
    ("value", "says"), [(float("inf"), "inf is no finite number"), ({"a": 1}, "got dict"), (b"x", "got bytes")], ids=["inf", "dict", "bytes"]
)
def test_targets_that_cannot_be_asked_for(value: Any, says: str) -> None:
    kind = 1.0 if isinstance(value, float) else value
    with pytest.raises(Mistake, match=f"target 'y': .*{says}"):
        infer({"x": [f"{i % 4}" for i in range(40)], "y": [kind, value] * 20}, "y")


def test_infinite_numbers_are_numbers() -> None:
    found = infer({"x": [float("inf"), 1.5, -2.5, 3.0] * 10, "y": [0, 1] * 20}, "y")
    assert found.values["inputs"]["x"] == "number" and "infinite" in found.reasons["inputs.x"]


def test_what_was_asked_for_has_no_reason_of_ours() -> None:
    table = {"row_id": random.Random(0).sample(range(300), 300), "n": [i % 7 for i in range(300)], "y": [i % 2 for i in range(300)]}
    plain = infer(table, "y")
    assert {"data", "inputs.n", "tasks.y"} <= set(plain.reasons) and "row_id" in plain.left_out
    changed = infer(table, "y", ["data.split=[0.5, 0.25, 0.25]", "inputs.n=category", "tasks.y.kind=regress", "inputs.row_id=number"])
    assert not {"data", "inputs.n", "tasks.y"} & set(changed.reasons) and not changed.left_out
    shown = str(infer(table, "y", ["data.split=[0.5, 0.25, 0.25]"]))
    assert "80 %" not in shown and "# 7 whole numbers" not in shown


def test_numbers_of_which_some_are_written_in_two_ways() -> None:
    texts = {"release": ["3.1", "3.10", "NA", "4.25"] * 10, "price": ["2.5", "2.50", "3.75", "4", "5.125"] * 8}
    found = infer(texts | {"words": [" ".join(WORDS[i % 9 : i % 9 + 5]) for i in range(40)]}, "price")
    assert found.values["tasks"]["price"]["kind"] == "regress"
    assert found.values["inputs"]["release"] == "number" and "if 3.1 and 3.10 are two names" in found.reasons["inputs.release"]
    assert infer({"id": ["1", "2"] * 20, "text": texts["price"], "y": [0, 1] * 20}, "y").values["inputs"]["id"] == "category"


INPUTS = {
    "review": "text", "title": "text", "price": "number", "age": "number", "shop": "category", "shop_id": "category", "gift": "category",
    "photo": "image", "inline": "image", "raw": "image", "walk": "series", "call": "audio", "when": "date",
    "posted": "date", "likes": "set", "listed": "set", "parted": "set",
}  # fmt: skip
LEFT_OUT = {
    "row": "counts", "order_id": "identifies", "code": "names its row", "country": "always 'CH'", "nothing": "empty",
    "points": "always [1.0, 2.0]",
}  # fmt: skip
TASKS = {"stars": "classify", "happy": "classify", "tags": "label", "mood": "classify"}


@pytest.fixture(scope="module")
def inferred() -> Inferred:
    return infer(columns(), list(TASKS))


@pytest.mark.parametrize("column", INPUTS)
def test_a_column_is_read_as_what_it_holds(inferred: Inferred, column: str) -> None:
    assert inferred.recipe.inputs[column].kind == INPUTS[column]
    assert inferred.reasons[f"inputs.{column}"]


@pytest.mark.parametrize("column", LEFT_OUT)
def test_a_column_that_says_nothing_is_left_out_with_the_reason(inferred: Inferred, column: str) -> None:
    assert column not in inferred.recipe.inputs
    assert LEFT_OUT[column] in inferred.left_out[column]


@pytest.mark.parametrize("column", TASKS)
def test_a_target_is_asked_for_as_what_it_holds(inferred: Inferred, column: str) -> None:
    assert inferred.recipe.tasks[column].kind == TASKS[column]
    assert column not in inferred.recipe.inputs, "a target is never an input"


def test_every_column_has_a_place(inferred: Inferred) -> None:
    assert set(inferred.recipe.inputs) | set(inferred.recipe.tasks) | set(inferred.left_out) == set(columns(2))


@pytest.mark.parametrize(
    ("values", "kind"),
    [([0.5, 1.25, 9.0, None] * 20, "regress"), (list(range(40)) * 2, "regress"), (["a", "b"] * 40, "classify"), ([True, False] * 40, "classify"),
     ([["x"], ["x", "y"], []] * 20, "label"), (['["x"]', '["x", "y"]', "[]"] * 20, "label"),
     (["a;b", "b;c", "a;c"] * 20, "label"), ([1, 2, 3] * 20, "classify")],
)  # fmt: skip
def test_targets(values: list[Any], kind: str) -> None:
    rng = random.Random(1)
    assert infer({"x": [rng.random() for _ in values], "y": values}, "y").recipe.tasks["y"].kind == kind


def test_a_set_of_texts_is_parted_where_they_are(inferred: Inferred) -> None:
    assert inferred.values["inputs"]["parted"] == {"kind": "set", "separator": ";"} and inferred.values["inputs"]["likes"] == "set"


STEPS = [[{"item": f"film {j % 5}", "time": 60 * j} for j in range(i % 4)] for i in range(60)]


@pytest.mark.parametrize(
    ("cells", "kind", "why"),
    [(STEPS, "behaviour", "each with its item"), ([json.dumps(steps) for steps in STEPS], "behaviour", "each with its item"),
     ([["a", "b", "a"][: 1 + i % 3] for i in range(60)], "behaviour", "some of them twice"),
     ([["a", "b", "c"][: 1 + i % 3] for i in range(60)], "set", "lists of names"),
     ([str(["a", "b", "a"][: 1 + i % 3]) for i in range(60)], "set", "lists of names"),
     ([[1.0, 1.0, 2.0][: 2 + i % 2] for i in range(60)], "series", "numbers")],
)  # fmt: skip
def test_lists_of_items_are_what_was_taken(cells: list[Any], kind: str, why: str) -> None:
    found = infer({"seen": cells, "y": ["a", "b"] * 30}, "y")
    assert found.recipe.inputs["seen"].kind == kind and why in found.reasons["inputs.seen"]
    whole = found.recipe.replace(data=found.recipe.data.replace(split=(1.0, 0.0, 0.0)))
    assert prepare(whole).schema.inputs["seen"], "the cells are what that kind reads"


def test_what_is_shown_is_the_recipe(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {name: values for name, values in columns().items() if name not in ("inline", "raw")}
    pq.write_table(pa.table(table), tmp_path / "shop.parquet")
    inferred = infer(tmp_path / "shop.parquet", ["mood"], minutes=3)
    shown = str(inferred)
    assert read(parse(shown, "shown")) == inferred.recipe
    assert inferred.recipe.train.minutes == 3
    body = [line for line in shown.splitlines() if line.startswith("  ")]
    assert all("  # " in line for line in body), "each line has its reason"
    assert "# left out: country: always 'CH': nothing to learn from" in shown


def test_names_with_dots_become_names_without() -> None:
    rng = random.Random(1)
    inferred = infer({"a.b": [rng.random() for _ in range(60)], "a_b": [rng.random() for _ in range(60)], "c.d": ["x", "y"] * 30}, "c.d")
    assert {name: inferred.recipe.column(name) for name in inferred.recipe.inputs} == {"a_b": "a.b", "a_b_": "a_b"}
    assert inferred.recipe.tasks["c_d"].columns() == ("c.d",)
    assert read(parse(str(inferred).replace("memory:dict", "x.csv"), "shown")).inputs == inferred.recipe.inputs


def test_a_column_that_tells_the_target_is_pointed_out() -> None:
    rng = random.Random(1)
    refund = [rng.choice([0.0, 12.5]) for _ in range(400)]
    table = {"refund": refund, "noise": [rng.random() for _ in refund], "returned": [value > 0 for value in refund]}
    warnings = infer(table, "returned").warnings
    assert any("'refund' alone predicts 'returned'" in warning for warning in warnings)
    assert not any("noise" in warning for warning in warnings)


def test_few_rows_keep_the_backbone_as_it_is() -> None:
    few, many = (infer({name: columns(n)[name] for name in ("review", "mood")}, "mood") for n in (100, 300))
    assert (few.recipe.tuning.kind, many.recipe.tuning.kind) == ("probe", "freeze")
    assert any("Only 10 test rows" in warning for warning in few.warnings)


def test_a_budget_is_climbed_in() -> None:
    few, many = (infer({name: columns(n)[name] for name in ("review", "mood")}, "mood", minutes=2) for n in (100, 300))
    assert (few.recipe.tuning.kind, many.recipe.tuning.kind) == ("probe", "auto")
    assert "as far as 2 minutes go" in str(many) and many.recipe.train.minutes == 2


def test_what_cannot_be_inferred_is_said() -> None:
    table = columns(60)
    for chosen, says in {"moood": "Did you mean 'mood'", "nothing": "is empty", "code": "60 different values are no classes"}.items():
        with pytest.raises(Mistake, match=says):
            infer(table, chosen)
    with pytest.raises(Mistake, match=r"no column can be an input\. country: always 'CH'"):
        infer({"country": ["CH"] * 60, "mood": table["mood"]}, "mood")
    with pytest.raises(Mistake, match="no target is named"):
        infer(table, [])


@pytest.mark.parametrize("form", ["wav", "mp3", "arrays", "mapping", "uri"])
def test_sounds_are_recognised_in_every_form(form: str) -> None:
    cells: list[Any] = [file(tone(0.1, hertz=200 + i), form="MP3" if form == "mp3" else "WAV") for i in range(30)]
    if form == "arrays":
        cells = [{"array": tone(0.1, hertz=200 + i).tolist(), "sampling_rate": 16_000} for i in range(30)]
    elif form == "mapping":
        cells = [{"bytes": None, "path": f"calls/{i}.flac"} for i in range(30)]
    elif form == "uri":
        cells = ["data:audio/wav;base64," + base64.b64encode(cell).decode() for cell in cells]
    found = infer({"x": cells, "y": [i % 2 for i in range(30)]}, "y")
    assert found.values["inputs"]["x"] == {"kind": "audio", "backbone": "sample:whisper-tiny-en"}
