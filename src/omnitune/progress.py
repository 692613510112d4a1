"""Progress: what a person sees while a model trains: a bar in a terminal, a line per round of validation elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from omnitune.training.session import Watch
from omnitune.training.step import Step


@contextmanager
def shown(quiet: bool = False) -> Iterator[Watch | None]:
    """A watcher for `fit`: nothing if `quiet`, a bar in a terminal, plain lines otherwise."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as watch:
            yield watch
    else:
        yield _line


def _line(step: Step) -> None:
    if step.validation or step.last:
        print(f"step {step.step}  epoch {step.epoch:.2f}  {_figures(step)}", file=sys.stderr, flush=True)


@contextmanager
def _bar() -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("epoch {task.fields[epoch]:.2f}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("fit", total=1.0, epoch=0.0, figures="")
        latest = ""

        def watch(step: Step) -> None:
            nonlocal latest
            latest = _validation(step) or latest
            progress.update(bar, completed=step.progress, epoch=step.epoch, figures=f"{_losses(step)}  {latest}")

        yield watch


def _figures(step: Step) -> str:
    return "  ".join(part for part in (_losses(step), _validation(step)) if part)


def _losses(step: Step) -> str:
    losses = "  ".join(f"loss {task} {loss:.3f}" for task, loss in step.losses.items())
    return f"{losses}  {step.rate:.0f} rows/s"


def _validation(step: Step) -> str:
    return "  ".join(f"{name} {value:.3f}" for name, value in (step.validation or {}).items() if name == "loss" or name in _first(step))


def _first(step: Step) -> set[str]:
    """The main metric of every task: the first one of each."""
    seen: dict[str, str] = {}
    for name in step.validation or {}:
        seen.setdefault(name.partition(".")[0], name)
    return set(seen.values())
