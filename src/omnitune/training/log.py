"""Logs: every step as a line of CSV, always; and to TensorBoard, Weights & Biases or MLflow when asked for."""

import csv
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnitune.errors import Mistake, did_you_mean
from omnitune.training.step import Step


class Log(ABC):
    """Where steps are written."""

    @abstractmethod
    def write(self, step: Step) -> None:
        """Notes one step."""

    def flush(self) -> None:  # noqa: B027  (most logs write through)
        """Makes sure that what was written stays."""

    def close(self) -> None:  # noqa: B027
        """No step follows."""


def scalars(step: Step) -> dict[str, float]:
    """A step as named numbers."""
    values = {"epoch": step.epoch, "lr": step.lr, "gradient_norm": step.norm}
    values |= {f"loss.{task}": loss for task, loss in step.losses.items()}
    return (
        values
        | {f"validation.{name}": value for name, value in (step.validation or {}).items()}
        | {"rows_per_second": step.rate, "seconds": step.seconds}
    )


class Csv(Log):
    """`log.csv`: one line a step. Going on after a kill, lines beyond the checkpoint are cut, so that none stands twice.

    Args:
        path: the file.
        names: its columns after `step`.
        keep: steps that stay from an earlier session.
    """

    def __init__(self, path: Path, names: Sequence[str], keep: int = 0) -> None:
        earlier = [row for row in _rows(path) if int(row["step"]) <= keep] if keep else []
        part = path.with_name(path.name + ".part")
        self.file = part.open("w", newline="", encoding="utf-8")
        self.writer = csv.DictWriter(self.file, ["step", *names], restval="")
        self.writer.writeheader()
        self.writer.writerows(earlier)
        self.flush()
        part.replace(path)  # earlier lines are never off the disk

    def write(self, step: Step) -> None:
        self.writer.writerow({"step": step.step} | scalars(step))

    def flush(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self) -> None:
        self.file.close()


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if None not in row.values() and None not in row]


def curves(path: Path) -> list[dict[str, Any]]:
    """`log.csv` read back: numbers by name, those that are there."""
    return [{k: int(v) if k == "step" else float(v) for k, v in row.items() if v != ""} for row in _rows(path)]


class TensorBoard(Log):
    """Event files in `folder/tensorboard`."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, step: Step) -> None:
        for name, value in scalars(step).items():
            self.writer.add_scalar(name.replace(".", "/"), value, step.step)

    def close(self) -> None:
        self.writer.close()


class WandB(Log):
    """A run of Weights & Biases named after the folder."""

    def __init__(self, folder: Path) -> None:
        import wandb

        self.run = wandb.init(project="omnitune", name=folder.name, dir=str(folder))

    def write(self, step: Step) -> None:
        self.run.log(scalars(step), step=step.step)

    def close(self) -> None:
        self.run.finish()


class MLflow(Log):
    """A run of MLflow named after the folder."""

    def __init__(self, folder: Path) -> None:
        import mlflow

        self.mlflow = mlflow
        mlflow.start_run(run_name=folder.name)

    def write(self, step: Step) -> None:
        self.mlflow.log_metrics(scalars(step), step=step.step)

    def close(self) -> None:
        self.mlflow.end_run()


LOGS: dict[str, type[TensorBoard] | type[WandB] | type[MLflow]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}


def open_log(name: str, folder: Path) -> Log:
    """The log called `name`. Raises `Mistake` for an unknown name or where its package is missing."""
    if name not in LOGS:
        raise Mistake("log", f"no log called {name!r}", did_you_mean(name, list(LOGS)))
    try:
        return LOGS[name](folder)
    except ImportError:
        raise Mistake("log", f"{name} is not installed", f"pip install 'omnitune[{name}]'") from None
