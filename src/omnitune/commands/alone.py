"""alone: each task of a run trained by itself, and what training them together was worth."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from omnitune import recipe as recipes
from omnitune.commands.fit import fit
from omnitune.data.table import read
from omnitune.errors import Mistake
from omnitune.evaluation import stored
from omnitune.evaluation.compare import compare
from omnitune.evaluation.report import Report
from omnitune.evaluation.tables import plain, task_table
from omnitune.recipe import MAIN, Recipe
from omnitune.training.model import slug
from omnitune.training.session import Watch

FOLDER = "alone"
"""Of a run: a whole run a task."""


def alone(run: str | Path, tell: Callable[[str], None] = lambda task: None, watch: Watch | None = None) -> Report:
    """Trains each task of a finished run alone, by the run's own recipe, in `RUN/alone/TASK`, and puts into the run's report how both do on the test
    rows that both have, paired. A task that no test row answers is left out. Cut off, it goes on where it was when it is called again.

    Args:
        run: folder of a run of more than one task.
        tell: called with the name of each task as it begins.
        watch: see `fit`.

    Raises:
        Mistake: there is no run, it has one task, or its data are not there any more, or no test row answers any task.
    """
    folder, report = Path(run), Report.read(Path(run))
    recipe = recipes.read(folder / "recipe.yaml")
    _can(folder, recipe)
    for name in _measured(folder, recipe):
        tell(name)
        own = folder / FOLDER / slug(name)
        apart = fit(by_itself(recipe, name), own, resume=own.exists(), watch=watch)
        report = _with(report, name, compare(own, folder)["tasks"][name], apart.report.cost["seconds"])
    report.write(folder)
    return report


def by_itself(recipe: Recipe, task: str) -> Recipe:
    """The recipe of one task of several: all else stays, but what speaks of other tasks."""
    watched = recipe.train.stop_on if recipe.train.stop_on.rpartition(".")[0] == task else "loss"
    expect = {name: span for name, span in recipe.expect.items() if name.rpartition(".")[0] == task}
    own = recipe.tasks[task].table or MAIN
    if recipe.tables:  # its own table has the inputs that it has
        recipe = recipe.replace(train=recipe.train.replace(stop_on="loss", mix="size"))
        recipe = recipe.of_table(own, read({MAIN: recipe.data, **recipe.tables}[own].source).columns)
    return recipe.replace(tasks={task: recipe.tasks[task]}, train=recipe.train.replace(balance="static", stop_on=watched), expect=expect)


def text(report: Report) -> str:
    """The comparison of every task as a table."""
    told = {name: task["alone"] for name, task in report.tasks.items() if "alone" in task}
    blocks = [
        f"{name}: {of['shared']:,} test rows, alone {of['seconds']:.0f} s\n\n{plain(task_table(of['metrics'], 'alone'))}" for name, of in told.items()
    ]
    blocks += [f"{name}: no test row has an answer, so there is nothing to compare" for name in report.tasks if name not in told]
    return "\n\n".join([*blocks, f"together: {report.cost['seconds']:.0f} s"])


def _can(folder: Path, recipe: Recipe) -> None:
    if len(recipe.tasks) < 2:
        raise Mistake(str(folder), "has one task, which is alone already", "Give a run of several tasks")
    if any(str(data.source).startswith("memory:") for data in (recipe.data, *recipe.tables.values())):
        raise Mistake(str(folder), "its rows were handed over in Python, and are not there any more", "Train on a file to compare tasks")
    if wrong := [name for name in recipe.tasks if not recipe.tasks[name].weight]:
        raise Mistake(f"tasks.{wrong[0]}", "has weight 0, so it did not learn", "Give it a weight, or leave it out")


def _measured(folder: Path, recipe: Recipe) -> list[str]:
    """The tasks that test rows answer."""
    if found := [name for name, task in stored.read(folder).items() if name in recipe.tasks and task.keys]:
        return found
    raise Mistake(str(folder), "no test row has an answer, so there is nothing to compare", "Train with test rows that have answers")


def _with(report: Report, name: str, compared: dict[str, Any], seconds: float) -> Report:
    """The report with what was found of one task."""
    found = compared["metrics"]
    metrics = found | {
        "models": {"alone": found["models"]["a"], "together": found["models"]["b"]},
        "differences": {"alone": found["differences"]["a"]},
        "subject": "together",
    }
    counts = {key: compared[key] for key in ("shared", "only_a", "only_b")}
    return replace(report, tasks=dict(report.tasks) | {name: report.tasks[name] | {"alone": {"metrics": metrics, "seconds": seconds} | counts}})
