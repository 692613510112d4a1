import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnitune.cli import app
from omnitune.commands.check import check
from omnitune.errors import Mistake
from omnitune.recipe import read

RECIPE = """\
data: reviews.csv
inputs: {review: text, price: number}
tasks: {mood: {kind: classify, target: label}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    return tmp_path / "recipe.yaml"


def run(*words: str):
    return CliRunner().invoke(app, ["check", *words])


def test_a_recipe_that_is_right_is_said_to_be(recipe: Path) -> None:
    done = run(str(recipe), "train.lr=1e-4")
    assert done.exit_code == 0 and "review (text), price (number)" in done.stdout
    assert check(recipe, ["train.lr=1e-4"]).fingerprint in done.stdout, "the overrides count"


def test_json_is_the_complete_recipe(recipe: Path) -> None:
    done = run(str(recipe), "tuning=lora", "--json")
    assert read(json.loads(done.stdout)) == check(recipe, ["tuning=lora"])


def test_all_mistakes_come_at_once_on_stderr_with_exit_code_2(recipe: Path) -> None:
    done = run(str(recipe), "train.lrr=1", "inputs.review.kind=txt", "tasks.mood.targt=x", "train.epochs=-1")
    assert done.exit_code == 2 and not done.stdout
    lines = done.stderr.splitlines()
    assert all(line.startswith("error: ") for line in lines)
    for place in ("train.lrr: unexpected field. Did you mean 'lr'", "inputs.review: no modality called 'txt'. Did you mean 'text'",
                  "tasks.mood.targt: unexpected field. Did you mean 'target'", "train.epochs:"):  # fmt: skip
        assert any(place in line for line in lines), (place, lines)
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("tasks.mood.weight=-1", "tasks.mood.weight"), ("tasks.mood.weight=.nan", "tasks.mood.weight"), ("train.epochs=.inf", "train.epochs"),
        ("train.lr=.inf", "train.lr"), ("train.minutes=.inf", "train.minutes"), ("train.clip=.nan", "train.clip"), ("data=", "data.from: must name"),
        ("data.from=", "data.from: must name"), ("data.from=' '", "data.from: must name"),
        ("train.stop_on=mood.acuracy", "train.stop_on: 'mood.acuracy' is not measured. Did you mean 'accuracy'"),
        ("expect={mood.acuracy: [0, 1]}", "expect.mood.acuracy: 'mood.acuracy' is not measured"),
        ("expect={mood.accuracy: [0.9, 0.1]}", "a range must rise"),
        ("expect={mood.accuracy: [.nan, 1]}", "a range must rise"), ("data.by=[2024-13-45]", "month must be in 1..12. Put a text"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(recipe: Path, change: str, says: str) -> None:
    done = run(str(recipe), change)
    assert done.exit_code == 2 and says in done.stderr and "Traceback" not in done.output, done.output


def test_a_file_that_is_not_there_is_named() -> None:
    done = run("nowhere.yaml")
    assert done.exit_code == 2 and "nowhere.yaml: no such file" in done.stderr


def test_from_python_the_mistake_is_raised() -> None:
    with pytest.raises(Mistake, match="inputs: required"):
        check({"data": "x.csv", "tasks": {"y": {"kind": "regress", "target": "y"}}})
