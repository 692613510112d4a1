"""Texts that are held to something, the same by a recipe, in Python and by flags; and nothing is changed that is right already."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import instructions
from omnitune import Artifact, Control, Mistake, Sampling, fit
from omnitune.cli import app
from omnitune.commands.check import check
from omnitune.commands.predict import flat

ROWS = [{name: row[name] for name in ("light", "place", "minutes")} for row in instructions.rows(20)]
CHOICES = ("stop here", "go on", "wait a little")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    recipe = instructions.recipe(None, "train.epochs=6", control={"choices": CHOICES}, answer_tokens=24)
    return fit(recipe, tmp_path_factory.mktemp("control") / "run")


def held(trained: Artifact, control: Control) -> list[dict[str, object]]:
    return [answer["means"] for answer in trained.predict(ROWS, sampling=Sampling(100, 0, control=control))]


def test_the_report_tells_how_often_and_how_sure(trained: Artifact) -> None:
    models = trained.report.tasks["means"]["written"]["metrics"]["models"]
    assert models["before"]["meets"]["value"] == models["after"]["meets"]["value"] == 1.0 and models["simple"]["meets"]["value"] is None
    assert models["before"]["calibration_error"]["value"] == pytest.approx(models["before"]["exact_match"]["value"], abs=0.01), (
        "it is sure of nothing"
    )
    assert models["after"]["calibration_error"]["value"] != models["before"]["calibration_error"]["value"]
    assert models["simple"]["calibration_error"]["value"] is None
    shown = trained.report.tasks["means"]["written"]["examples"]
    assert all(example["before"] in CHOICES for example in shown), "before training, too"


def test_what_is_right_already_is_the_same_text_token_by_token(trained: Artifact) -> None:
    free = held(trained, Control())
    texts = tuple(sorted({str(one["value"]) for one in free}))
    assert len(texts) > 1
    for control in (
        Control(choices=(*texts, "no")), Control(regex="[a-z ]+"), Control(forbid=("zz", "wa it")), Control(min_tokens=1),
        Control(forbid=("red",), regex="[a-z ]+"),
    ):  # fmt: skip
        said = held(trained, control)
        assert [one["tokens"] for one in said] == [one["tokens"] for one in free], control
        assert all(one["meets"] for one in said)


def test_required_words_come_where_the_model_would_end(trained: Artifact) -> None:
    free, said = held(trained, Control()), held(trained, Control(require=("blue",)))
    assert all(one["meets"] and "blue" in str(one["value"]).split() for one in said), said
    assert sum(str(one["value"]).startswith(str(other["value"])) for one, other in zip(said, free, strict=True)) > 15


def test_the_recipe_holds_in_prediction_unless_it_is_said_otherwise(trained: Artifact) -> None:
    plain = [answer["means"] for answer in trained.predict(ROWS)]
    assert plain == held(trained, Control(choices=CHOICES)) and all(one["meets"] for one in plain)
    assert trained.recipe.tasks["means"].control == Control(choices=CHOICES)
    other = held(trained, Control(choices=("no", "yes")))
    assert {one["value"] for one in other} <= {"no", "yes"}
    assert flat({"means": other[0]})["means:meets"] is True


def test_flags_say_the_same(trained: Artifact, tmp_path: Path) -> None:
    table, schema = tmp_path / "rows.jsonl", tmp_path / "schema.json"
    table.write_text("\n".join(map(json.dumps, ROWS)))
    schema.write_text('{"enum": [1, true], "x-guidance": {"whitespace_flexible": false}}')
    for flags, control in (
        (["--choice", "no", "--choice", "yes"], Control(choices=("no", "yes"))),
        (["--regex", "[0-9]{3}", "--min-tokens", "2"], Control(regex="[0-9]{3}", min_tokens=2)),
        (["--forbid", "stop", "--require", "on"], Control(forbid=("stop",), require=("on",))),
        (["--json-schema", str(schema)], Control(json_schema=json.loads(schema.read_text()))),
        (["--parses", "python", "--tries", "2"], Control(parses="python", tries=2)),
    ):
        done = CliRunner().invoke(app, ["predict", str(trained.path), str(table), "--json", *flags])
        assert done.exit_code == 0, done.output
        assert [json.loads(line)["means"] for line in done.stdout.splitlines()] == held(trained, control)
        missed = sum(one["meets"] is False for one in held(trained, control))
        assert (f"{missed} texts are not what they were to be" in done.stderr) is (missed > 0)


def test_words_that_are_gone_on_from_are_held_too(trained: Artifact) -> None:
    told = ["generate", str(trained.path), "-p", "Light red", "-p", "Light", "--temperature", "0", "--regex", "[a-z]{4}", "--json"]
    said = json.loads(CliRunner().invoke(app, told).stdout)
    assert all(len(one["text"].strip()) == 4 and one["meets"] for one in said), said


@pytest.mark.parametrize(
    ("control", "message"),
    [
        ({"regex": "("}, r"tasks\.means\.control: regex cannot be held to"),
        ({"chocies": ["a"]}, r"tasks\.means\.control\.chocies: unexpected field.*Did you mean 'choices'"),
        ({"tries": 3}, r"tasks\.means\.control: tries is of use with parses only"),
        ({"tries": 0, "choices": "a"}, r"tasks\.means\.control\.choices.*\n.*tasks\.means\.control\.tries"),
    ],
)
def test_a_recipe_is_checked_before_anything_runs(control: dict[str, object], message: str) -> None:
    values = instructions.recipe().to_dict() | {"data": {"from": "rows.csv"}}
    values["tasks"]["means"]["control"] = control
    with pytest.raises(Mistake, match=message):
        check(values)


def test_a_file_that_is_no_schema_is_said(trained: Artifact, tmp_path: Path) -> None:
    for text, message in (("{", "is no JSON"), ("[]", "a JSON schema is a mapping"), (None, "cannot be read")):
        if text is not None:
            (tmp_path / "schema.json").write_text(text)
        else:
            (tmp_path / "schema.json").unlink()
        done = CliRunner().invoke(app, ["generate", str(trained.path), "--json-schema", str(tmp_path / "schema.json")])
        assert done.exit_code == 2 and message in done.stderr


def test_a_pre_trained_model_has_no_answers_to_hold() -> None:
    with pytest.raises(Mistake, match=r"tasks\.means\.control: is of use with a prompt only"):
        instructions.recipe(None, prompt=None, target=None, control={"choices": ["a"]})
