"""Looking: the commands that tell of runs, kinds, samples and what is kept."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from omnitune.cli.app import Json, Run, samples_app, show, verb


@verb()
def report(run: Run, format: Annotated[Literal["text", "json", "md", "html"], typer.Option(help="How to print it.")] = "text") -> None:
    """Show what was measured."""
    from omnitune.commands.report import report

    typer.echo(report(run, format))


@verb()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of a run.")], b: Annotated[Path, typer.Argument(help="Folder of another.")], as_json: Json = False
) -> None:
    """Compare two runs on the test rows that both have, paired."""
    from omnitune.commands.compare import compare
    from omnitune.evaluation.compare import text

    found = compare(a, b)
    show(found) if as_json else typer.echo(text(found))


@verb()
def kinds(word: Annotated[str | None, typer.Argument(help="A family or a kind, to see its settings.")] = None, as_json: Json = False) -> None:
    """List what a recipe may name."""
    from omnitune.commands.kinds import kinds, listing

    found = kinds(word)
    if as_json:
        show([kind.to_dict() for kind in found])
    else:
        typer.echo("\n\n".join(map(str, found)) if word else listing(found))


@verb()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    from omnitune.commands.schema import schema

    show(schema())


@verb()
def cache(
    empty: Annotated[bool, typer.Option("--empty", help="Remove everything; runs compute it again.")] = False,
    as_json: Json = False,
) -> None:
    """List what is kept of frozen backbones, decoded files and the tokens of documents, or remove it."""
    from omnitune import places
    from omnitune.commands import cache as kept_by
    from omnitune.commands.cache import cache

    if empty:
        freed = kept_by.empty()
        show({"freed_bytes": freed}) if as_json else typer.echo(f"freed {freed / 1e6:,.1f} MB in {places.cache('')}")
    elif as_json:
        show([kept.to_dict() for kept in cache()])
    else:
        typer.echo("\n".join(map(str, cache())) or f"nothing in {places.cache('')}")


@verb(samples_app, "list")
def samples_list(as_json: Json = False) -> None:
    """List the samples."""
    from omnitune.commands.samples import samples

    show([sample.to_dict() for sample in samples()]) if as_json else typer.echo("\n".join(map(str, samples())))


@verb(samples_app, "get")
def samples_get(names: Annotated[list[str], typer.Argument(help="Names of samples.")]) -> None:
    """Fetch samples, and say what they are."""
    from omnitune.samples import path

    for name in names:
        typer.echo((path(name) / "README.md").read_text(encoding="utf-8"))


@verb(samples_app, "path")
def samples_path(name: Annotated[str, typer.Argument(help="Name of a sample.")]) -> None:
    """Print the folder of a sample, fetching it if need be."""
    from omnitune.samples import path

    typer.echo(str(path(name)))
