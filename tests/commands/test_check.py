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


def test_a_file_that_is_not_there_is_named() -> None:
    done = run("nowhere.yaml")
    assert done.exit_code == 2 and "nowhere.yaml: no such file" in done.stderr


def test_from_python_the_mistake_is_raised() -> None:
    with pytest.raises(Mistake, match="inputs: required"):
        check({"data": "x.csv", "tasks": {"y": {"kind": "regress", "target": "y"}}})
