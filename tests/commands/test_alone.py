from pathlib import Path

import pytest
from typer.testing import CliRunner

from omnitune import load
from omnitune.artifact import Artifact
from omnitune.cli import app
from omnitune.commands.alone import alone, by_itself, text
from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from omnitune.evaluation.compare import compare
from omnitune.evaluation.report import Report
from runs import rows, table_recipe, write_csv


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("alone")
    table = [row | {"id": None} for row in rows(200)]
    for i, row in enumerate(table):
        row["value"] = row["value"] if i % 4 else None
    source = write_csv(folder / "table.csv", table)
    overrides = ("train.epochs=2", "train.balance=uncertainty", "train.stop_on=class.accuracy", "expect={class.accuracy: [0, 1]}")
    return fit(table_recipe(str(source), *overrides), folder / "run")


def test_each_task_is_trained_alone_and_compared_on_the_rows_of_both(together: Artifact) -> None:
    asked: list[str] = []
    report = alone(together.path, asked.append)
    assert asked == ["class", "value"]
    for name, metric in (("class", "accuracy"), ("value", "mae")):
        found = report.tasks[name]["alone"]
        own = load(together.path / "alone" / f"{name}_")
        assert list(own.recipe.tasks) == [name] and own.recipe.train.balance == "static"
        figures = found["metrics"]["models"]
        assert figures["alone"][metric]["value"] == pytest.approx(own.report.value(name, metric))
        assert figures["together"][metric]["value"] == pytest.approx(together.report.value(name, metric))
        gained = found["metrics"]["differences"]["alone"][metric]
        assert gained["value"] == pytest.approx(figures["together"][metric]["value"] - figures["alone"][metric]["value"])
        assert gained["low"] <= gained["value"] <= gained["high"]
        assert found["shared"] == compare(own.path, together.path)["tasks"][name]["shared"] and not found["only_a"]
    saved = Report.read(together.path)
    assert saved.tasks["class"]["alone"] == report.tasks["class"]["alone"]
    assert "### Alone and together" in (together.path / "report.md").read_text(encoding="utf-8")
    assert "Alone and together" in (together.path / "report.html").read_text(encoding="utf-8")
    assert load(together.path).predict({"a": 1.0, "b": 0.0, "color": "red"})  # the rest of the run is as it was


def test_called_again_nothing_is_trained_twice_and_the_terminal_shows_the_table(together: Artifact) -> None:
    alone(together.path)
    stamp = (together.path / "alone" / "class_" / "lineage.json").stat().st_mtime_ns
    done = CliRunner().invoke(app, ["alone", str(together.path), "-q"])
    assert done.exit_code == 0 and "together - alone" in done.stdout and "class: " in done.stdout
    assert (together.path / "alone" / "class_" / "lineage.json").stat().st_mtime_ns == stamp


def test_what_speaks_of_other_tasks_goes(together: Artifact) -> None:
    recipe = by_itself(together.recipe, "value")
    assert recipe.train.stop_on == "loss" and not recipe.expect
    kept = by_itself(together.recipe, "class")
    assert kept.train.stop_on == "class.accuracy" and list(kept.expect) == ["class.accuracy"]
    assert kept.train.replace(balance="uncertainty") == together.recipe.train


def test_one_task_and_rows_that_are_gone_are_mistakes(tmp_path: Path) -> None:
    one = fit(by_itself(table_recipe(rows(60), "train.epochs=1"), "class"), tmp_path / "one")
    with pytest.raises(Mistake, match="has one task, which is alone already"):
        alone(one.path)
    gone = fit(table_recipe(rows(60), "train.epochs=1"), tmp_path / "gone")
    with pytest.raises(Mistake, match="handed over in Python"):
        alone(gone.path)


def test_a_task_that_no_test_row_answers_is_left_out(tmp_path: Path) -> None:
    table = rows(120)
    parts = {"train": table[:80], "validation": table[80:100], "test": table[100:]}
    for side, some in parts.items():
        write_csv(tmp_path / f"{side}.csv", [row | {"value": row["value"] if side == "train" else None} for row in some])
    run = fit(table_recipe(str(tmp_path), "train.epochs=1", "data.split=given", "train.stop_on=value.mae"), tmp_path / "run")
    assert [one["where"] for one in run.report.warnings if one["name"] == "unwatched"] == ["train.stop_on"]
    report = alone(run.path)
    assert "alone" in report.tasks["class"] and "alone" not in report.tasks["value"]
    assert "value: no test row has an answer, so there is nothing to compare" in text(report)
    assert not (run.path / "alone" / "value_").exists()
    assert list(compare(run.path, run.path)["tasks"]) == ["class"]
    nothing = fit(table_recipe(str(tmp_path / "train.csv"), "train.epochs=1", "data.split=[1, 0, 0]"), tmp_path / "nothing")
    for asked in (lambda: alone(nothing.path), lambda: compare(nothing.path, run.path)):
        with pytest.raises(Mistake, match="no test row has an answer"):
            asked()
