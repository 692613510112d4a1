"""The command line. A command is imported only when it runs; what the user can mend is one message and exit code 2.

Exit codes: 0 done; 1 a figure is outside the range that `expect` names, or something failed; 2 a mistake in what was given; 130 and 143
stopped by SIGINT and SIGTERM, with the state of a run saved.
"""

import functools
import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

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
Choices = Annotated[list[str] | None, typer.Option("--choice", help="Of texts: write one of these; to be given several times.")]
Regex = Annotated[str | None, typer.Option(help="Of texts: a regular expression that the whole text matches.")]
Schema = Annotated[Path | None, typer.Option("--json-schema", help="Of texts: write JSON of the schema in this file.")]
Forbid = Annotated[list[str] | None, typer.Option(help="Of texts: no word begins with this word or phrase; may be given several times.")]
Require = Annotated[list[str] | None, typer.Option(help="Of texts: write this word or phrase; may be given several times.")]
Least = Annotated[int, typer.Option("--min-tokens", help="Of texts: do not end before.")]
Parses = Annotated[Literal["python"] | None, typer.Option(help="Of texts: draw again what is not of this language.")]
Tries = Annotated[int, typer.Option(help="Of texts: drawn at most for --parses.")]


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
def predict(
    run: Run,
    rows: Annotated[str, typer.Argument(help="A table, as for fit.")],
    out: Annotated[Path | None, typer.Option(help="New file for the answers: .jsonl or .csv.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Multiply in 8 bits, on the CPU, and say what it changes.")] = False,
    weights: Annotated[bool, typer.Option("--weights", help="Tell how much each input counted (fusions gated and late).")] = False,
    tokens: Annotated[int, typer.Option(help="Of texts: written at most, and never more than training kept free for an answer.")] = 100_000,
    temperature: Annotated[float, typer.Option(help="Of texts: divides the logits; 0 takes the likeliest token always.")] = 0.0,
    top_k: Annotated[int, typer.Option(help="Of texts: choose among so many of the likeliest; 0: among all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Of texts: among the likeliest that hold this share of the probability.")] = 1.0,
    beams: Annotated[int, typer.Option(help="Of texts: so many are followed at once.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    choice: Choices = None,
    regex: Regex = None,
    json_schema: Schema = None,
    forbid: Forbid = None,
    require: Require = None,
    min_tokens: Least = 0,
    parses: Parses = None,
    tries: Tries = 4,
    as_json: Json = False,
) -> None:
    """Answer rows with a trained model, in their order."""
    from omnitune.commands._control import control
    from omnitune.commands.predict import predict, unread
    from omnitune.nn.writing import Sampling

    number = failed = missed = 0
    held = control(choice, regex, json_schema, forbid, require, min_tokens, parses, tries)
    sampling = Sampling(tokens, temperature, top_k, top_p, num_beams=beams, seed=seed, control=held)
    for answer in predict(run, rows, out, int8=int8, tell=lambda line: typer.echo(line, err=True), weights=weights, sampling=sampling):
        number += 1
        failed += unread(answer)
        missed += 0 if unread(answer) else sum(one.get("meets") is False for one in answer.values())
        if as_json:
            typer.echo(json.dumps(answer, ensure_ascii=False))
        elif not out:
            typer.echo(_line(answer))
    _tell_missed(missed)
    if out or failed:
        typer.echo(f"{number:,} rows" + (f" in {out}" if out else "") + (f", {failed:,} of them could not be read" if failed else ""), err=True)


def _tell_missed(number: int) -> None:
    if number:
        typer.echo(f"{number:,} texts are not what they were to be: they were cut off by the number of tokens, or no try parsed", err=True)


def _line(answer: dict[str, Any]) -> str:
    """One answer for people: `mood: glad (0.93)   stars: 4.21`."""
    return "   ".join(_said(name, one) for name, one in answer.items())


def _said(task: str, answer: Any) -> str:
    if isinstance(answer, str):  # why the row could not be read
        return f"{task}: {answer}"
    if weights := answer.get("weights"):
        said = _said(task, {name: of for name, of in answer.items() if name != "weights"})
        return f"{said} [{', '.join(f'{name} {weight:.2f}' for name, weight in weights.items())}]"
    value, probabilities = answer["value"], answer.get("probabilities")
    if value is None:
        return f"{task}: nothing, since an input is missing"
    if isinstance(value, list):
        return f"{task}: {', '.join(f'{one:.4g}' if isinstance(one, float) else str(one) for one in value) or 'none'}"
    if "tokens" in answer:
        return f"{task}: {''.join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in value)}"  # on one line: a line is a row
    if len(quantiles := answer.get("quantiles", ())) > 1:
        return f"{task}: {value:.4g} ({min(quantiles.values()):.4g} to {max(quantiles.values()):.4g})"
    return f"{task}: {value} ({max(probabilities.values()):.2f})" if probabilities else f"{task}: {value:.4g}"


@verb()
def index(
    run: Run,
    table: Annotated[str, typer.Argument(help="A table, as for fit.")],
    of: Annotated[str, typer.Option("--of", help="The input that is read: one that a task `match` compares.")],
    out: Annotated[Path | None, typer.Option(help="New folder of the index; RUN-INPUT.index where it is left out.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that compares it, where several do.")] = None,
    approximate: Annotated[bool, typer.Option("--approximate", help="Search along a graph: quicker, and misses some; how many is measured.")] = False,
    as_json: Json = False,
) -> None:
    """Make the vectors of a table once, to be searched with `retrieve`."""
    from omnitune.commands.index import index

    made = index(run, table, of, out or run.with_name(f"{run.name}-{of}.index"), task, approximate)
    about = made.about
    if as_json:
        how = about.approximation and asdict(about.approximation)
        show({"index": str(made.path), "rows": about.rows, "width": about.width, "problems": about.problems, "approximation": how})
        return
    for row, problem in list(about.problems.items())[:5]:
        typer.echo(f"row {row + 1}: {problem}", err=True)
    without = f", {len(about.problems):,} of them without a vector" if about.problems else ""
    typer.echo(f"{about.rows:,} rows{without}, {about.width} numbers each, in {made.path}")
    if about.approximation:
        typer.echo(str(about.approximation))


@verb()
def retrieve(
    index: Annotated[Path, typer.Argument(help="Folder of an index.")],
    query: Annotated[str | None, typer.Argument(help="A text, or the file of a picture or a sound.")] = None,
    by: Annotated[str | None, typer.Option(help="The input that queries are of; the other one of the task where it is left out.")] = None,
    table: Annotated[str | None, typer.Option(help="A table of queries, as for fit.")] = None,
    same: Annotated[str | None, typer.Option(help="Column that says what is right: measure, for a table of queries.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many to find.")] = 10,
    exact: Annotated[bool, typer.Option("--exact", help="Look at all rows of an approximate index too.")] = False,
    display: Annotated[list[str] | None, typer.Option("--show", help="Column to print beside the indexed one; may be given several times.")] = None,
    run: Annotated[Path | None, typer.Option(help="Folder of the model, where it has moved.")] = None,
    indexed: Annotated[str | None, typer.Option(help="The table that was indexed, where it has moved.")] = None,
    as_json: Json = False,
) -> None:
    """Find what is nearest to a query, or measure how often that is right."""
    from omnitune.commands.retrieve import Retriever

    if (query is None) == (table is None):
        raise Mistake("retrieve", "one query or a table of them is wanted", "Give a text or a file, or --table")
    if same and table is None:
        raise Mistake("--same", "measures a table of queries", "Give one with --table")
    retriever = Retriever(index, run, indexed, by, exact)
    if same:
        found = retriever.recall(table, same, k)
        show(found.to_dict()) if as_json else typer.echo(str(found))
        return
    for answer in retriever([query] if table is None else table, k, tuple(display or ())):
        typer.echo(json.dumps(answer, ensure_ascii=False) if as_json else _nearest(answer))


def _nearest(answer: dict[str, Any]) -> str:
    """What was found for one query, a line each."""
    if "error" in answer:
        return f"error: {answer['error']}"
    lines = (
        "   ".join([f"{one['score']:.3f}", f"row {one['row']}", *(str(v) for n, v in one.items() if n not in ("row", "score"))])
        for one in answer["found"]
    )
    return "\n".join([*lines, ""])


@verb(name="zero-shot")
def zero_shot(
    run: Run,
    rows: Annotated[str, typer.Argument(help="A table, as for fit.")],
    classes: Annotated[list[str] | None, typer.Option("--class", "-c", help="Text of a class; to be given several times.")] = None,
    template: Annotated[list[str] | None, typer.Option(help="Such as 'a drawing of {}'; of several the mean counts.")] = None,
    of: Annotated[str | None, typer.Option("--of", help="The input that rows are of, where the task compares texts.")] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Column of the true class: measure. Its values are the classes.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that compares them, where several do.")] = None,
    as_json: Json = False,
) -> None:
    """Classify rows by texts that say what the classes are, with a run that has a task `match`."""
    from omnitune.commands.zero_shot import ZeroShot, measured, values

    asked = ZeroShot(run, classes or (values(rows, target) if target else []), of, template or ["{}"], task)
    if target:
        figures = asked.measure(rows, target)
        show(figures) if as_json else typer.echo(measured(figures))
        return
    for answer in asked(rows):
        typer.echo(
            json.dumps(answer, ensure_ascii=False) if as_json else _said("error", answer["error"]) if "error" in answer else _said("class", answer)
        )


@verb()
def generate(
    run: Run,
    prompt: Annotated[list[str] | None, typer.Option("--prompt", "-p", help="What to go on from; may be given several times.")] = None,
    tokens: Annotated[int, typer.Option(help="Written at most.")] = 100,
    temperature: Annotated[float, typer.Option(help="Divides the logits; 0 takes the likeliest token always.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Choose among so many of the likeliest; 0: among all.")] = 0,
    top_p: Annotated[float, typer.Option(help="Among the likeliest that hold this share of the probability.")] = 1.0,
    min_p: Annotated[float, typer.Option(help="Among those at least so likely as this share of the likeliest.")] = 0.0,
    repetition_penalty: Annotated[float, typer.Option(help="Divides the logits of tokens that are there already.")] = 1.0,
    beams: Annotated[int, typer.Option(help="Texts that are followed at once.")] = 1,
    stop: Annotated[list[str] | None, typer.Option(help="Text at which to stop; may be given several times.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    choice: Choices = None,
    regex: Regex = None,
    json_schema: Schema = None,
    forbid: Forbid = None,
    require: Require = None,
    min_tokens: Least = 0,
    parses: Parses = None,
    tries: Tries = 4,
    as_json: Json = False,
) -> None:
    """Write texts with a trained language model; one prompt is answered as it is written."""
    from omnitune.commands._control import control
    from omnitune.commands.generate import written
    from omnitune.nn.writing import Sampling

    prompts = prompt or [""]
    told = (lambda text: typer.echo(text, nl=False)) if len(prompts) == 1 and beams == 1 and not as_json else None
    held = control(choice, regex, json_schema, forbid, require, min_tokens, parses, tries)
    sampling = Sampling(tokens, temperature, top_k, top_p, min_p, repetition_penalty, beams, tuple(stop or ()), seed, held)
    made = written(run, prompts, sampling, told)
    if as_json:
        said = [{"text": one.text} | ({} if one.meets is None else {"meets": one.meets}) for one in made]
        show([{"prompt": asked} | one for asked, one in zip(prompts, said, strict=True)])
    else:
        typer.echo("" if told else "\n".join(one.text for one in made))
    _tell_missed(sum(one.meets is False for one in made))


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


@verb()
def solve(
    run: Run,
    rows: Annotated[str, typer.Argument(help="A table, as for fit, with a column of tests.")],
    tests: Annotated[str, typer.Option(help="The column of code that fails where the answer is wrong, such as lines of assert.")],
    run_code: Annotated[
        bool, typer.Option("--run-code", help="Run what the model writes, which nobody has read; without it nothing is done.")
    ] = False,
    before: Annotated[str | None, typer.Option(help="A column of code that stands before the text.")] = None,
    task: Annotated[str | None, typer.Option(help="The task that writes, where several do.")] = None,
    tries: Annotated[int, typer.Option(help="Texts a row.")] = 1,
    k: Annotated[list[int] | None, typer.Option("-k", help="Tell pass@k; may be given several times. 1 where it is left out.")] = None,
    tokens: Annotated[int, typer.Option(help="Written at most, and never more than training kept free for an answer.")] = 100_000,
    temperature: Annotated[float, typer.Option(help="Divides the logits; 0 takes the likeliest token always.")] = 0.0,
    top_p: Annotated[float, typer.Option(help="Among the likeliest that hold this share of the probability.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    parses: Parses = None,
    seconds: Annotated[float, typer.Option(help="Of each program.")] = 10.0,
    megabytes: Annotated[int, typer.Option(help="Of memory, of each process of a program.")] = 1024,
    workers: Annotated[int, typer.Option(help="Programs at once.")] = 1,
    as_json: Json = False,
) -> None:
    """Tell how often code that a model writes passes its tests (pass@k). Runs that code."""
    from omnitune.commands.solve import solve, text
    from omnitune.evaluation.sandbox import Limits
    from omnitune.nn.control import Control
    from omnitune.nn.writing import Sampling

    sampling = Sampling(tokens, temperature, top_p=top_p, seed=seed, control=Control(parses=parses) if parses else None)
    limits = Limits(seconds, megabytes)
    found = solve(
        run, rows, tests, run_code=run_code, before=before, task=task, tries=tries, k=k or [1], sampling=sampling, limits=limits, workers=workers
    )
    show(found) if as_json else typer.echo(text(found))


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
def alone(run: Run, quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False, as_json: Json = False) -> None:
    """Train each task of a run alone too, and put into its report what training them together was worth."""
    from omnitune.commands.alone import alone, text
    from omnitune.progress import shown

    with shown(quiet) as watch:
        found = alone(run, (lambda task: None) if quiet else (lambda task: typer.echo(f"{task} alone", err=True)), watch)
    show({name: task["alone"] for name, task in found.tasks.items()}) if as_json else typer.echo(text(found))


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


def main() -> None:
    """The `omnitune` program."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show a letter shows another
    app()


if __name__ == "__main__":
    main()
