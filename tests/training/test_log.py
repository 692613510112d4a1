"""Logs: nothing stands twice after a kill, and other tools read what was written."""

import sys
from pathlib import Path

import pytest

from omnitune.errors import Mistake
from omnitune.training.log import Csv, curves, open_log, scalars
from omnitune.training.step import Step

NAMES = ["epoch", "lr", "gradient_norm", "loss.mood", "validation.loss", "validation.mood.accuracy", "rows_per_second", "seconds"]


def step(number: int, loss: float = 0.5, validated: bool = False) -> Step:
    validation = {"loss": loss + 1, "mood.accuracy": 0.75} if validated else None
    return Step(number, number / 10, float(number), number / 10, 16, 100.0, {"mood": loss}, 1e-3, 2.0, 16, validation, False, lambda: ({}, {}))


def written(path: Path, steps: range, keep: int = 0, loss: float = 0.5) -> None:
    log = Csv(path, NAMES, keep)
    for number in steps:
        log.write(step(number, loss, validated=number % 2 == 0))
    log.flush()
    log.close()


def test_every_number_of_a_step_has_a_column() -> None:
    assert set(scalars(step(1, validated=True))) == set(NAMES)
    assert set(scalars(step(1))) == {name for name in NAMES if not name.startswith("validation")}


def test_a_log_reads_back(tmp_path: Path) -> None:
    written(tmp_path / "log.csv", range(1, 5))
    found = curves(tmp_path / "log.csv")
    assert [row["step"] for row in found] == [1, 2, 3, 4]
    assert found[1] == {"step": 2} | scalars(step(2, validated=True))
    assert "validation.loss" not in found[0]
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == ",".join(["step", *NAMES])
    assert curves(tmp_path / "none.csv") == []


def test_going_on_cuts_what_is_beyond_the_checkpoint(tmp_path: Path) -> None:
    path, whole = tmp_path / "log.csv", tmp_path / "whole.csv"
    written(path, range(1, 8), loss=0.25)
    written(path, range(4, 11), keep=3, loss=0.25)
    written(whole, range(1, 11), loss=0.25)
    assert path.read_bytes() == whole.read_bytes()


def test_a_line_that_a_kill_cut_in_half_is_left_out(tmp_path: Path) -> None:
    path, whole = tmp_path / "log.csv", tmp_path / "whole.csv"
    written(whole, range(1, 7))
    lines = whole.read_text().splitlines(keepends=True)
    for half in (lines[5][:8], "5", "5,0."):
        path.write_text("".join(lines[:5]) + half, newline="")
        assert [row["step"] for row in curves(path)] == [1, 2, 3, 4]
        written(path, range(5, 7), keep=4)
        assert path.read_text() == whole.read_text()


def test_starting_anew_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    written(path, range(1, 8))
    written(path, range(1, 3))
    assert [row["step"] for row in curves(path)] == [1, 2]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_tensorboard_reads_the_events(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = open_log("tensorboard", tmp_path)
    for number in range(1, 4):
        log.write(step(number, loss=1 / number, validated=number == 3))
    log.close()
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(found.Tags()["scalars"]) == {name.replace(".", "/") for name in NAMES}
    assert [(e.step, e.value) for e in found.Scalars("loss/mood")] == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]
    assert [(e.step, e.value) for e in found.Scalars("validation/mood/accuracy")] == [(3, 0.75)]


@pytest.mark.parametrize("name", ["wandb", "mlflow", "tensorboard"])
def test_a_missing_package_is_named_with_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    for module in [m for m in sys.modules if m.startswith("torch.utils.tensorboard")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(Mistake, match=rf"log: {name} is not installed. pip install 'omnitune\[{name}\]'"):
        open_log(name, tmp_path)


def test_an_extra_is_there_for_every_log() -> None:
    import tomllib

    from omnitune.training.log import LOGS

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert set(LOGS) <= set(project["project"]["optional-dependencies"])


def test_an_unknown_log_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match="Did you mean 'tensorboard'"):
        open_log("tensorbord", tmp_path)
