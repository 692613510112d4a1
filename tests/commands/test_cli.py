"""The whole way on the command line, from a table to answers."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import checkpoints
from omnitune.cli import app
from omnitune.cli.asking import _line
from omnitune.commands.predict import flat, predict, unread
from omnitune.errors import Mistake
from runs import rows, write_csv

QUICK = ("train.epochs=4", "train.batch=16", "train.head_lr=0.01")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, and a run made straight from it."""
    folder = tmp_path_factory.mktemp("cli")
    write_csv(folder / "table.csv", rows(300))
    done = run("fit", folder / "table.csv", *QUICK, "--target", "class", "-t", "value", "--out", folder / "first")
    assert done.exit_code == 0, done.output
    assert "# left out: id: identifies its row" in done.stderr and "first.yaml" in done.stderr
    assert "class" in done.stdout and "after" in done.stdout and "report.html" in done.stdout
    return folder


@pytest.mark.slow
def test_the_inferred_recipe_is_saved_and_runs_again(place: Path) -> None:
    done = run("fit", place / "first.yaml", "train.seed=1", "--out", place / "second", "--quiet", "--json")
    assert done.exit_code == 0 and not done.stderr, done.output
    printed = json.loads(done.stdout)
    assert set(printed["tasks"]) == {"class", "value"} and printed["run"] == str(place / "second")
    compared = json.loads(run("compare", place / "first", place / "second", "--json").stdout)
    assert set(compared["tasks"]) == {"class", "value"}
    assert "class" in run("compare", place / "first", place / "second").stdout


def test_answers_come_in_the_order_of_the_rows(place: Path) -> None:
    wanted = [row["class"] for row in rows(300)]
    lines = run("predict", place / "first", place / "table.csv", "--json").stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert len(answers) == 300
    assert sum(a["class"]["value"] == w for a, w in zip(answers, wanted, strict=True)) > 240
    assert run("predict", place / "first", place / "table.csv", "--out", place / "answers.csv").exit_code == 0
    with (place / "answers.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == [a["class"]["value"] for a in answers]
    assert run("predict", place / "first", place / "table.csv").stdout.startswith("class: ")


@pytest.mark.slow
def test_weights_of_inputs_are_told_where_there_are_any(place: Path) -> None:
    assert run("fit", place / "first.yaml", "fusion=gated", "--out", place / "gated", "--quiet").exit_code == 0
    inputs = list(json.loads(run("predict", place / "gated", place / "table.csv", "--weights", "--json").stdout.splitlines()[0])["class"]["weights"])
    assert run("predict", place / "gated", place / "table.csv", "--weights", "--out", place / "weights.csv").exit_code == 0
    with (place / "weights.csv").open() as file:
        for row in csv.DictReader(file):
            assert sum(float(row[f"class@{name}"]) for name in inputs) == pytest.approx(1)
            assert [row[f"class@{name}"] for name in inputs] == [row[f"value@{name}"] for name in inputs]
    assert f"[{inputs[0]} 0." in run("predict", place / "gated", place / "table.csv", "--weights").stdout
    assert "@" not in run("predict", place / "gated", place / "table.csv").stdout
    refused = run("predict", place / "first", place / "table.csv", "--weights")
    assert refused.exit_code == 2 and "fusion concat gives inputs no weights" in refused.stderr and "gated or late" in refused.stderr


def test_a_row_that_cannot_be_read_is_counted(place: Path) -> None:
    (place / "odd.jsonl").write_text('{"a": "1.5", "b": "2", "color": "red"}\n{"a": "many", "b": "2", "color": "red"}\n')
    done = run("predict", place / "first", place / "odd.jsonl", "--json")
    assert [("error" in json.loads(line)) for line in done.stdout.splitlines()] == [False, True]
    assert "2 rows, 1 of them could not be read" in done.stderr


def test_an_error_that_speaks_of_values_is_counted(place: Path) -> None:
    (place / "value.jsonl").write_text('{"a": "value", "b": 2, "color": "red"}\n{"a": "1", "b": 2, "color": "red"}\n')
    assert "2 rows, 1 of them could not be read" in run("predict", place / "first", place / "value.jsonl").stderr


def test_answers_that_fail_leave_no_file(place: Path) -> None:
    written = lambda name: list(place.glob(f"{name}*"))  # noqa: E731
    assert run("predict", place / "first", place / "nowhere.csv", "--out", place / "part.csv").exit_code == 2
    assert not written("part")
    answers = predict(place / "first", iter([rows(1)[0], "no row"]), place / "part.csv")
    with pytest.raises(Mistake, match="row 2: expected a mapping"):
        list(answers)
    assert not written("part")
    (place / "part.csv.part").write_text("of a killed process")
    assert run("predict", place / "first", place / "table.csv", "--out", place / "part.csv").exit_code == 0
    assert [path.name for path in written("part")] == ["part.csv"]


@pytest.mark.parametrize("words", [("predict", "first", "table.csv"), ("infer", "table.csv", "-t", "class")])
def test_a_file_that_cannot_be_written_is_told(place: Path, words: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    given = [place / word if (place / word).exists() else word for word in words]
    for out in (tmp_path / "file" / "x.csv", tmp_path / ("x" * 300 + ".csv")):
        done = run(*given, "--out", out)
        assert done.exit_code == 2 and done.stderr.startswith(f"error: {out}: "), done.output


def test_a_full_disk_is_told(place: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    (tmp_path / "x.csv.part").symlink_to("/dev/full")
    done = run("predict", place / "first", place / "table.csv", "--out", tmp_path / "x.csv")
    assert done.exit_code == 2 and "cannot be written: No space left" in done.stderr and not list(tmp_path.iterdir())


def test_a_task_may_be_called_error() -> None:
    said = {"error": {"value": "disk", "probabilities": {"disk": 0.75, "net": 0.25}}}
    assert not unread(said) and unread({"error": "no such file"})
    assert flat(said, "why_unread") == {"error": "disk", "error:disk": 0.75, "error:net": 0.25, "why_unread": ""}
    assert flat({"error": "no such file"}, "why_unread") == {"why_unread": "no such file"}


@pytest.mark.parametrize(("form", "starts"), [("text", "class"), ("json", "{"), ("md", "#"), ("html", "<!")])
def test_the_report_is_shown(place: Path, form: str, starts: str) -> None:
    done = run("report", place / "first", "--format", form)
    assert done.exit_code == 0 and done.stdout.lstrip().startswith(starts)


@pytest.mark.slow
def test_a_figure_outside_its_range_is_exit_code_1(place: Path) -> None:
    done = run("fit", place / "first.yaml", "expect={class.accuracy: [1.5, 2], value.r2: [-9, 1]}", "--out", place / "missed", "-q")
    assert done.exit_code == 1
    assert "not as expected: class.accuracy is" in done.stderr and "value.r2" not in done.stderr


def test_what_the_user_can_mend_is_exit_code_2(place: Path) -> None:
    for words, says in [
        (("fit", place / "table.csv"), "--target"),
        (("fit", place / "first.yaml", "--target", "class"), "belongs to a table"),
        (("fit", place / "first.yaml", "--out", place / "first"), "not empty"),
        (("fit", place / "first.yaml", "--minutes", "0"), "train.minutes"),
        (("infer", place / "table.csv", "--target", "clas"), "Did you mean 'class'"),
        (("predict", place / "nowhere", place / "table.csv"), "no finished model"),
        (("report", place), "no report here"),
        (("compare", place / "first", place), "predictions"),
    ]:
        done = run(*words)
        assert done.exit_code == 2, (words, done.output)
        assert says in done.stderr and done.stderr.startswith("error: ") and not done.stdout, done.output


@pytest.mark.slow
def test_a_budget_climbs_the_ladder_and_says_why(tmp_path: Path) -> None:
    table = [{"review": f"this dress fits {'well' if i % 3 else 'badly'} {i * i} and more", "mood": "good" if i % 3 else "bad"} for i in range(210)]
    tiny = f"inputs.review.backbone={checkpoints.tiny_bert()}"
    file, out = write_csv(tmp_path / "t.csv", table), tmp_path / "run"
    done = run("fit", file, tiny, "train.epochs=1", "--target", "mood", "--minutes", 3, "--out", out)
    assert done.exit_code == 0, done.output
    assert "as far as 3 minutes go" in done.stderr
    cost = json.loads((out / "report.json").read_text())["cost"]
    assert [rung["rung"] for rung in cost["rungs"]][:2] == ["probe", "freeze"] and cost["seconds"] < 200
    saved = (out / "recipe.yaml").read_text()
    assert "minutes: 3.0" in saved and "kind: auto" in saved
    again = run("fit", tmp_path / "run.yaml", "--minutes", 0.001, "--out", tmp_path / "again", "--json")
    assert json.loads(again.stdout)["recipe"]["train"]["minutes"] == 0.001, "of a recipe in a file too"


def test_fit_writes_over_no_recipe(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (place / "first.yaml").read_text()
    assert "not empty" in run("fit", place / "table.csv", "-t", "value", "--out", place / "first").stderr
    assert (place / "first.yaml").read_text() == before
    (place / "here").mkdir()
    (place / "here.yaml").write_text("mine\n")
    monkeypatch.chdir(place / "here")
    done = run("fit", place / "table.csv", *QUICK, "train.epochs=1", "-t", "class", "--out", ".", "-q")
    assert done.exit_code == 0 and "here.yaml was there and stays" in done.stderr, done.output
    assert (place / "here.yaml").read_text() == "mine\n" and (place / "here" / "lineage.json").exists()


def test_infer_writes_the_recipe(place: Path) -> None:
    done = run("infer", place / "table.csv", "train.lr=1e-4", "-t", "class", "--out", place / "inferred.yaml")
    assert done.stdout == (place / "inferred.yaml").read_text() and "lr: 0.0001" in done.stdout
    assert run("check", place / "inferred.yaml").exit_code == 0
    assert set(json.loads(run("infer", place / "table.csv", "-t", "class", "--json").stdout)) == {"recipe", "reasons", "left_out", "warnings"}


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_says_how_to_go_on_and_has_its_code(place: Path, number: int, code: int) -> None:
    out = place / f"stopped{code}"
    words = [
        sys.executable,
        "-m",
        "omnitune.cli",
        "fit",
        str(place / "first.yaml"),
        "train.epochs=4000",
        "train.save_minutes=0.001",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (out / "resume.safetensors").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == code, told
    assert "--resume goes on" in told and "Traceback" not in told
    assert (out / "resume.safetensors").exists() and not (out / "lineage.json").exists()


def test_an_answer_is_one_line() -> None:
    said = {"title": {"value": "two\nlines\u2028 ü😀", "tokens": [["a", 0.5]]}, "price": {"value": 3.0, "quantiles": {"0.5": 3.0}}}
    assert _line(said) == "title: two\\nlines\\u2028 ü😀   price: 3"
    assert _line({"price": {"value": 3.0, "quantiles": {"0.1": 1.0, "0.5": 3.0, "0.9": 4.5}}}) == "price: 3 (1 to 4.5)"
