"""Training: the commands that make runs, or what runs are made from."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from omnitune.cli.app import Changes, Json, Run, Target, show, verb
from omnitune.errors import Mistake


@verb()
def fit(
    source: Annotated[str, typer.Argument(help="A recipe (.yaml); or a table, a folder, sample:NAME or a hub data set, with --target.")],
    changes: Changes = None,
    target: Target = None,
    minutes: Annotated[float | None, typer.Option(help="Budget of training.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; runs/NAME where it is left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was cut off.")] = False,
    log: Annotated[list[str] | None, typer.Option(help="More logs: tensorboard, wandb, mlflow.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Train, measure before and after, and save."""
    folder = out or Path("runs") / _stem(source)
    recipe, inferred = _recipe(source, changes or [], minutes, target, quiet or as_json)
    from omnitune.commands.fit import fit
    from omnitune.evaluation import expect
    from omnitune.progress import shown

    try:
        with shown(quiet) as watch:
            artifact = fit(recipe, folder, resume=resume, log=log or (), watch=watch)
        _keep(inferred, folder, quiet or as_json)
    except (KeyboardInterrupt, SystemExit):
        _keep(inferred, folder, quiet or as_json)
        typer.echo(f"stopped; the same command with --out {folder} --resume goes on", err=True)
        raise
    if as_json:
        show({"run": str(folder)} | json.loads(artifact.report.to_json()))
    else:
        typer.echo(f"{artifact.report}\n\nsaved in {folder}; the whole report is {folder / 'report.html'}")
    misses = expect.check(artifact.report, recipe.expect)
    for miss in misses:
        typer.echo(f"not as expected: {miss}", err=True)
    if misses:
        raise typer.Exit(1)


def _stem(source: str) -> str:
    place = source.partition("#")[0].rpartition(":")[2].rstrip("/\\")
    return Path(place).name.partition(".")[0] or "run"


def _recipe(source: str, changes: list[str], minutes: float | None, target: list[str] | None, quiet: bool) -> tuple[Any, str]:
    """The recipe in a file; or the one inferred from a table, shown, with its text."""
    if source.endswith((".yaml", ".yml")):
        from omnitune.commands.check import check

        if target:
            raise Mistake("--target", "belongs to a table; a recipe names its own targets", "Leave it out, or give the table")
        return check(source, [*changes, *([] if minutes is None else [f"train.minutes={minutes}"])]), ""
    from omnitune.commands.infer import infer

    if not target:
        raise Mistake(source, "is a table, but no column to predict is named", "Add --target COLUMN, or give a recipe (.yaml)")
    inferred = infer(source, target, changes, minutes=minutes)
    if not quiet:
        typer.echo(inferred, err=True)
    return inferred.recipe, str(inferred)


def _keep(inferred: str, folder: Path, quiet: bool) -> None:
    """Saves an inferred recipe beside the folder of its run, unless another file of that name is there."""
    if not inferred:
        return
    from omnitune.commands._files import write

    place = folder if folder.name not in ("", "..") else folder.resolve()
    kept = place.with_name(f"{place.name}.yaml")
    if not kept.exists():
        write(kept, inferred)
    same = kept.read_text(encoding="utf-8", errors="replace") == inferred
    if not quiet or not same:
        typer.echo(
            f"inferred recipe: {kept}" if same else f"{kept} was there and stays; the recipe of this run is {folder / 'recipe.yaml'}", err=True
        )


@verb()
def infer(
    table: Annotated[str, typer.Argument(help="A table, a folder, sample:NAME or a hub data set.")],
    changes: Changes = None,
    target: Target = None,
    out: Annotated[Path | None, typer.Option(help="File to write the recipe to.")] = None,
    as_json: Json = False,
) -> None:
    """Write the recipe for a table and its target, with a reason for every line."""
    from omnitune.commands._files import write
    from omnitune.commands.infer import infer

    inferred = infer(table, target or [], changes or [])
    if out:
        write(out, str(inferred))
    if as_json:
        show({"recipe": inferred.values, "reasons": inferred.reasons, "left_out": inferred.left_out, "warnings": inferred.warnings})
    else:
        typer.echo(str(inferred), nl=False)


@verb()
def check(recipe: Annotated[str, typer.Argument(help="A recipe (.yaml).")], changes: Changes = None, as_json: Json = False) -> None:
    """Say everything that is wrong with a recipe, at once, without loading torch."""
    from omnitune.commands.check import check, summary

    found = check(recipe, changes or [])
    show(found.to_dict()) if as_json else typer.echo(f"{recipe} is right\n{summary(found)}")


@verb()
def search(
    recipe: Annotated[str, typer.Argument(help="A recipe (.yaml).")],
    changes: Changes = None,
    trials: Annotated[int, typer.Option(help="Settings to try, the recipe's own among them.")] = 20,
    out: Annotated[Path | None, typer.Option(help="Folder of trials.json and best.yaml; runs/NAME-search where it is left out.")] = None,
    seed: Annotated[int, typer.Option(help="Of the settings that are drawn.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Try settings of a recipe, and keep the best on validation."""
    from omnitune.commands.check import check

    asked, folder = check(recipe, changes or []), out or Path("runs") / f"{_stem(recipe)}-search"
    from omnitune.commands._search_text import line
    from omnitune.commands.search import search

    try:
        told = None if quiet or as_json else lambda trial: typer.echo(line(trial, asked.train.stop_on), err=True)
        found = search(asked, trials, folder, seed, told)
    except KeyboardInterrupt:
        typer.echo(f"stopped; the same command with --out {folder} goes on", err=True)
        raise
    best = folder / "best.yaml"
    show({"best": str(best)} | found.to_dict()) if as_json else typer.echo(f"{found}\n\nsaved as {best}: omnitune fit {best} --out RUN")


@verb()
def alone(run: Run, quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False, as_json: Json = False) -> None:
    """Train each task of a run alone too, and put into its report what training them together was worth."""
    from omnitune.commands.alone import alone, text
    from omnitune.progress import shown

    with shown(quiet) as watch:
        found = alone(run, (lambda task: None) if quiet else (lambda task: typer.echo(f"{task} alone", err=True)), watch)
    show({name: task["alone"] for name, task in found.tasks.items()}) if as_json else typer.echo(text(found))


@verb()
def augment(
    run: Run,
    writer: Annotated[str, typer.Option(help="Folder of a run that writes, or a checkpoint: a directory, a hub name, sample:NAME.")],
    way: Annotated[Literal["back_generate", "paraphrase", "mask_fill"], typer.Option(help="From other columns, the text, or with words hidden.")],
    out: Annotated[Path, typer.Option(help="New file for the rows: .parquet or .jsonl.")],
    rows: Annotated[int | None, typer.Option(help="Texts to write; one for each training row where it is left out.")] = None,
    keep: Annotated[float, typer.Option(help="Keep a text where the run takes the answer of its row as likely as this.")] = 0.5,
    prompt: Annotated[str | None, typer.Option("--prompt", "-p", help="What the writer is asked, with columns in braces.")] = None,
    share: Annotated[float | None, typer.Option(help="Of words that mask_fill hides; 0.3 where it is left out.")] = None,
    of: Annotated[str | None, typer.Option("--of", help="The text input, where the run has several.")] = None,
    tokens: Annotated[int, typer.Option(help="Of prompts: written at most for a text.")] = 100_000,
    temperature: Annotated[float, typer.Option(help="Divides the logits; 0 takes the likeliest token always.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among so many of the likeliest; 0: among all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Among the likeliest that hold this share of the probability.")] = 0.95,
    seed: Annotated[int, typer.Option(help="Of the rows and the draws.")] = 0,
    as_json: Json = False,
) -> None:
    """Write rows like the training rows of a run, and keep those whose answers the run sees in them, for data.synthetic of a recipe."""
    from omnitune.commands.augment import augment
    from omnitune.nn.writing import Sampling

    found = augment(
        run, writer, out, way, rows=rows, keep=keep, prompt=prompt, share=share, of=of,
        sampling=Sampling(tokens, temperature, top_k, top_p, seed=seed), tell=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    show(found.to_dict()) if as_json else typer.echo(str(found))
