"""Code that a model writes is run at the user's word alone, and counted."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import instructions
from omnitune import Artifact, Control, Mistake, Sampling, fit, solve
from omnitune.cli import app

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="programs are confined on Linux only")
ROWS: list[dict[str, Any]] = [
    {"light": "red", "place": f"corner {i}", "minutes": i, "head": "y = 1", "tests": test}
    for i, test in enumerate(["assert x == y", "assert x == 2", None, "while True: pass"])
]
ONE = Sampling(100, 0, control=Control(choices=("x = 1",)))
TWO = Sampling(100, 5.0, control=Control(choices=("x = 1", "x = 2")))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return fit(instructions.recipe(None, "train.epochs=1", samples=0), tmp_path_factory.mktemp("solve") / "run")


def test_nothing_runs_unless_it_is_said(artifact: Artifact, tmp_path: Path) -> None:
    row = {"light": "red", "place": "x", "minutes": 1, "tests": f"open({str(tmp_path / 'ran')!r}, 'w')"}
    with pytest.raises(Mistake, match=r"nobody has read\. Say --run-code"):
        solve(artifact, [row], "tests")
    table = tmp_path / "rows.jsonl"
    table.write_text(json.dumps(row))
    done = CliRunner().invoke(app, ["solve", str(artifact.path), str(table), "--tests", "tests"])
    assert done.exit_code == 2 and "--run-code" in done.stderr and not (tmp_path / "ran").exists()


def test_right_code_passes_and_wrong_code_does_not(artifact: Artifact) -> None:
    from omnitune.evaluation.sandbox import Limits

    heads = [row | {"head": "y = 1\n"} for row in ROWS]
    found = solve(artifact, heads, "tests", run_code=True, before="head", sampling=ONE, limits=Limits(seconds=1.0))
    assert found["passed"] == {0: 1, 1: 0, 3: 0} and found["untested"] == 1
    assert found["came"] == {"passed": 1, "AssertionError": 1, "time": 1}
    assert found["metrics"]["models"]["written"]["pass@1"]["value"] == pytest.approx(1 / 3)


def test_of_several_texts_any_may_pass(artifact: Artifact, tmp_path: Path) -> None:
    rows = [row for row in ROWS if row["tests"] == "assert x == 2"] * 3
    found = solve(artifact, rows, "tests", run_code=True, tries=6, k=(1, 3), sampling=TWO, workers=2)
    figures, shares = found["metrics"]["models"]["written"], [passed / 6 for passed in found["passed"].values()]
    assert figures["pass@1"]["value"] == pytest.approx(sum(shares) / 3) and 0 < sum(shares) < 3, "both choices were drawn"
    assert figures["pass@1"]["value"] < figures["pass@3"]["value"]
    assert set(found["isolated"]) == {"network", "others", "files"}


def test_the_command_says_what_was_found(artifact: Artifact, tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    table.write_text("\n".join(json.dumps(row | {"tests": "assert True"}) for row in ROWS))
    done = CliRunner().invoke(app, ["solve", str(artifact.path), str(table), "--tests", "tests", "--run-code", "--tokens", "4", "--parses", "python"])
    assert done.exit_code == 0, done.output
    assert "pass@1" in done.stdout and "4 rows, 1 texts each" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tests": "test"}, "no column 'test'.*Did you mean 'tests'"),
        ({"before": "heads"}, "no column 'heads'.*Did you mean 'head'"),
        ({"k": (2,)}, "2 of 1 texts cannot be taken"),
        ({"tries": 3}, "the likeliest text is the same at every try"),
        ({"task": "meens"}, "'meens' writes no texts.*Did you mean 'means'"),
    ],
)
def test_what_is_wrong_is_said(artifact: Artifact, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Mistake, match=message):
        solve(artifact, ROWS, **{"tests": "tests", "run_code": True} | change)
