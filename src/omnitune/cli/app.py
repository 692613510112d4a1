"""App: the program that commands register with, and what they share."""

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from omnitune.errors import Mistake

F = TypeVar("F", bound=Callable[..., Any])
app = typer.Typer(
    name="omnitune",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="From a labelled table of texts, pictures, numbers and categories to a measured, saved, predicting model.",
)
samples_app = typer.Typer(no_args_is_help=True, help="Small real data sets and backbones, by name.")
app.add_typer(samples_app, name="samples")

Changes = Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Dotted overrides, such as train.lr=1e-4.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Target = Annotated[list[str] | None, typer.Option("--target", "-t", help="Column to predict; may be given several times.")]
Run = Annotated[Path, typer.Argument(help="Folder of a finished run.")]


def verb(of: typer.Typer = app, name: str | None = None) -> Callable[[F], F]:
    """Makes a function a command: mistakes are told without a traceback."""

    def register(function: F) -> F:
        @functools.wraps(function)
        def told(*args: Any, **kwargs: Any) -> None:
            try:
                function(*args, **kwargs)
            except Mistake as mistake:
                typer.echo(f"error: {mistake}".replace("\n", "\nerror: "), err=True)
                raise typer.Exit(2) from None
            except KeyboardInterrupt:
                raise typer.Exit(130) from None

        of.command(name)(told)
        return function

    return register


def show(value: Any) -> None:
    """Prints JSON."""
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


def _version(asked: bool) -> None:
    if asked:
        import omnitune

        typer.echo(f"omnitune {omnitune.__version__}")
        raise typer.Exit


@app.callback()
def options(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False) -> None:
    """Options of every command."""
