"""Checks: what one field of a recipe alone cannot tell: names that must meet, columns that must differ, checkpoints that must be there."""

from collections.abc import Iterable

from omnitune.backbones import Backbone
from omnitune.errors import Mistake, did_you_mean
from omnitune.modalities import Modality
from omnitune.nn.metrics import of_form
from omnitune.recipe.recipe import MAIN, TEMPERATURE, Recipe, in_prompt
from omnitune.tasks import SelfSupervised, Task
from omnitune.tasks.rank import Rank

ASKED = {"language": "text", "patches": "image", "series": "series", "whole": "image or series", "speech": "audio"}


def check(recipe: Recipe) -> None:
    """What one field alone cannot tell: names that must meet, columns that must differ, checkpoints that must be there."""
    inputs = (*_shared_columns(recipe), *_asked_inputs(recipe), *_ranked_inputs(recipe), *_compared_inputs(recipe), *_fused_inputs(recipe))
    between = (
        *inputs,
        *_shared_backbones(recipe),
        *_several(recipe),
        *_tables(recipe),
        *_pieces(recipe),
        *_synthetic(recipe),
        *_named_in_prompts(recipe),
        *_tuned(recipe),
        *_balanced(recipe),
    )
    wrong = [*between, *_metric_names(recipe), *_backbones(recipe)]
    if wrong:
        raise Mistake.together(wrong)


def _shared_columns(recipe: Recipe) -> Iterable[Mistake]:
    readers = {recipe.column(name): name for name in recipe.inputs}
    for name, task in recipe.tasks.items():
        for column in task.columns():
            if column in readers:
                yield Mistake(f"tasks.{name}", f"column {column!r} is also input {readers[column]!r}", "A target must not be an input")
            if column in recipe.read_by(name).values():
                yield Mistake(f"tasks.{name}.prompt", f"column {column!r} is also the target", "A prompt must not hold its answer")
        for column, of in task.beside().items():
            if recipe.beside[column] != of:
                yield Mistake(
                    f"tasks.{name}", f"column {column!r} is read as {recipe.beside[column]!r} by another task", "Copy it under another name"
                )
            if of == recipe.pieced:
                yield Mistake(f"tasks.{name}", f"{of!r} is read in pieces, and {column!r} cannot be", f"Leave out inputs.{of}.pieces")


def _asked_inputs(recipe: Recipe) -> Iterable[Mistake]:
    for name, task in recipe.tasks.items():
        if isinstance(task, SelfSupervised):
            fit = [of for of, modality in recipe.inputs.items() if getattr(type(modality), task.asks) is not getattr(Modality, task.asks)]
            if task.of not in fit:
                yield Mistake(f"tasks.{name}.of", f"{task.of!r} is no {ASKED[task.asks]} input", did_you_mean(task.of, fit))


def _named_in_prompts(recipe: Recipe) -> Iterable[Mistake]:
    for name in recipe.tasks:
        task = recipe.tasks[name]
        shows = isinstance(task, SelfSupervised) and task.shows
        for named in in_prompt(task):
            modality = recipe.inputs.get(named)
            if modality is not None and (modality.media or modality.lists) and not (shows and modality.shows):
                wrong = f"{named!r} is an input of kind {modality.kind}, whose values cannot be written into a text"
                fix = f"Name texts, numbers or categories{', pictures or sounds' if shows else ''}"
                yield Mistake(f"tasks.{name}.prompt", wrong, fix)
        if task.prompts and getattr(recipe.inputs.get(task.of), "token_dropout", 0):
            yield Mistake(f"inputs.{task.of}.token_dropout", f"no token of a prompt is dropped, which is what tasks.{name} reads", "Leave it out")


def _tables(recipe: Recipe) -> Iterable[Mistake]:
    named = [MAIN, *recipe.tables]
    for name, task in recipe.tasks.items():
        if task.table is not None and task.table not in recipe.tables:
            yield Mistake(f"tasks.{name}.table", f"there is no table {task.table!r}", did_you_mean(task.table, list(recipe.tables)))
        if recipe.tables and task.prompts:
            yield Mistake(f"tasks.{name}.prompt", "a prompt is read of the one table `data`", "Leave out `tables`")
    if not recipe.tables:
        if recipe.train.mix != "size":
            yield Mistake("train.mix", "there is one table, and nothing to mix", "Leave it out, or give `tables`")
        return
    if wrong := [name for name in recipe.tables if name in (MAIN, TEMPERATURE)]:
        yield Mistake(f"tables.{wrong[0]}", "the name is taken", "Give the table another")
    for name in named:
        if name not in {task.table or MAIN for task in recipe.tasks.values()}:
            yield Mistake(name if name == MAIN else f"tables.{name}", "no task asks it", "Leave it out, or name it as `table` of a task")
    mix = recipe.train.mix
    if isinstance(mix, dict) and set(mix) not in ({TEMPERATURE}, set(named)):
        fix = f"Say how many batches an epoch has of each: {', '.join(named)}; or {{{TEMPERATURE}: T}}"
        yield Mistake("train.mix", f"names {', '.join(mix) or 'nothing'}", fix)
    elif isinstance(mix, dict) and TEMPERATURE not in mix and any(count % 1 for count in mix.values()):
        yield Mistake("train.mix", "counts of batches are whole numbers", "Round them")
    if recipe.pieced is not None:
        yield Mistake(f"inputs.{recipe.pieced}.pieces", "texts in pieces are of one table", "Leave out `tables`, or pieces")
    if recipe.tuning.kind == "auto":
        yield Mistake("tuning", "`auto` tries its rungs on one table", "Choose probe, freeze, lora or full")


def _several(recipe: Recipe) -> Iterable[Mistake]:
    """Questions about one value are not put to a cell that may hold several."""
    asked = {task.of: f"tasks.{name} asks it about itself" for name, task in recipe.tasks.items() if isinstance(task, SelfSupervised)}
    asked |= {named: f"tasks.{name} writes it into a prompt" for name in recipe.tasks for named in recipe.read_by(name)}
    asked |= {named: f"tasks.{name} has one stand in its prompt" for name in recipe.tasks for named in recipe.shown(name)}
    asked |= {name: "it is read in pieces" for name, modality in recipe.inputs.items() if getattr(modality, "pieces", False)}
    for name, modality in recipe.inputs.items():
        if modality.several and name in asked:
            yield Mistake(f"inputs.{name}.most", f"a cell may hold several values, and {asked[name]}", "Set it to 1")


def _pieces(recipe: Recipe) -> Iterable[Mistake]:
    asked = [name for name, modality in recipe.inputs.items() if getattr(modality, "pieces", False)]
    for name in asked[1:]:
        yield Mistake(f"inputs.{name}.pieces", f"{asked[0]!r} is read in pieces already", "A row is a piece of one text: leave it out for the others")
    for name in asked:
        read_at_once, segment = recipe.inputs[name].max_tokens, getattr(recipe.inputs[name].backbone, "segment", 0)
        if segment > read_at_once:
            fix = f"Set inputs.{name}.max_tokens: {segment}, or backbone.segment: {read_at_once}"
            yield Mistake(f"inputs.{name}.max_tokens", f"{read_at_once} tokens are less than a segment of {segment}", fix)
        same = [other for other in recipe.inputs if other != name and recipe.column(other) == recipe.column(name)]
        if same:
            yield Mistake(f"inputs.{name}.pieces", f"input {same[0]!r} reads the same column", "Copy the column under another name")


def _synthetic(recipe: Recipe) -> Iterable[Mistake]:
    """Rows that a model wrote belong to one table, and to nobody's history."""
    tables = {MAIN: recipe.data} | {f"tables.{name}": data for name, data in recipe.tables.items()}
    given = [where for where, data in tables.items() if data.synthetic is not None]
    if given and recipe.tables:
        yield Mistake(f"{given[0]}.synthetic", "synthetic rows are of the one table `data`", "Leave out `tables`, or synthetic")
    if histories := [name for name, modality in recipe.inputs.items() if modality.kind == "behaviour"]:
        fix = f"Leave synthetic out, or input {histories[0]!r}"
        if given:
            yield Mistake(f"{given[0]}.synthetic", f"{histories[0]!r} reads what people did, which nobody wrote", fix)


def _shared_backbones(recipe: Recipe) -> Iterable[Mistake]:
    owners = [name for name, modality in recipe.inputs.items() if modality.shares is None and hasattr(modality, "backbone")]
    for name, modality in recipe.inputs.items():
        if modality.shares is None:
            continue
        where, of = f"inputs.{name}.shares", recipe.inputs.get(modality.shares)
        if of is None or modality.shares not in owners or of.kind != modality.kind:
            fit = [owner for owner in owners if recipe.inputs[owner].kind == modality.kind]
            yield Mistake(where, f"{modality.shares!r} is no {modality.kind} input with a backbone of its own", did_you_mean(modality.shares, fit))
        elif of.backbone != modality.backbone:
            yield Mistake(f"inputs.{name}.backbone", f"is not that of {modality.shares!r}, which it shares", "Write the same, or leave `shares` out")
        elif getattr(modality, "pieces", False) or getattr(of, "pieces", False):
            yield Mistake(where, "a text that is read in pieces shares no backbone", f"Leave out pieces of {name!r} and {modality.shares!r}")


def _ranked_inputs(recipe: Recipe) -> Iterable[Mistake]:
    for name, task in recipe.tasks.items():
        fit = [of for of, modality in recipe.inputs.items() if type(modality).ranked is not Modality.ranked]
        of = task.of if isinstance(task, Rank) else None
        if of is not None and of not in fit:
            yield Mistake(f"tasks.{name}.of", f"{of!r} is no input of histories", did_you_mean(of, fit))


def _compared_inputs(recipe: Recipe) -> Iterable[Mistake]:
    for name, task in recipe.tasks.items():
        compared = task.compares()
        for of in dict.fromkeys(compared):
            if of not in recipe.inputs:
                yield Mistake(f"tasks.{name}", f"there is no input {of!r} to compare", did_you_mean(of, list(recipe.inputs)))
        if len(set(compared)) < len(compared):
            yield Mistake(f"tasks.{name}", f"compares input {compared[0]!r} with itself", "Name two inputs")


def _fused_inputs(recipe: Recipe) -> Iterable[Mistake]:
    for field, name in recipe.fusion.named().items():
        if name not in recipe.inputs:
            yield Mistake(f"fusion.{field}", f"there is no input {name!r}", did_you_mean(name, list(recipe.inputs)))


def _metric_names(recipe: Recipe) -> Iterable[Mistake]:
    asked = {"train.stop_on": recipe.train.stop_on} | {f"expect.{name}": name for name in recipe.expect}
    for where, name in asked.items():
        task, dot, metric = name.rpartition(".")
        if (name != "loss" or where != "train.stop_on") and (not dot or task not in recipe.tasks):
            yield Mistake(where, f"{name!r} is no metric", f"Write task.metric; tasks: {', '.join(recipe.tasks)}")
        elif dot and metric not in (
            known := [*of_form(recipe.tasks[task].form, _said(recipe.tasks[task])), *_of_texts(recipe, task, where == "train.stop_on")]
        ):
            yield Mistake(where, f"{name!r} is not measured", did_you_mean(metric, known))


def _said(task: Task) -> list[str]:
    """Names of what it answers: the levels of quantiles, which say what can be measured; for others any two."""
    return [str(level) for level in getattr(task, "levels", (0, 1))]


def _of_texts(recipe: Recipe, task: str, rounds: bool) -> Iterable[str]:
    """Metrics of what a task writes or quotes, which are measured after training, and in rounds of validation where the task is `live`; rungs of
    `auto` compare rows, and cannot be told apart by them."""
    if rounds and (not recipe.tasks[task].live or recipe.tuning.kind == "auto"):
        return ()
    asked = recipe.tasks[task]
    return asked.judge().metrics() if asked.writes or asked.quotes else ()


def _tuned(recipe: Recipe) -> Iterable[Mistake]:
    """A tuning of some backbones names inputs that have one."""
    fit = [name for name in recipe.readers if hasattr(recipe.inputs[name], "backbone")]
    for name in recipe.tuning.of:
        if name not in fit:
            yield Mistake("tuning.of", f"{name!r} is no input with a backbone of its own", did_you_mean(name, fit))
    if recipe.tuning.of and not recipe.tuning.apart:
        yield Mistake("tuning.of", f"{recipe.tuning.kind} is for all backbones", "Leave it out, or choose full, freeze, bias or lora")


def _balanced(recipe: Recipe) -> Iterable[Mistake]:
    learning = [name for name, task in recipe.tasks.items() if task.weight]
    if recipe.train.balance != "static" and len(learning) < 2:
        wrong = f"{recipe.train.balance!r} balances tasks, and {len(learning)} of them learns"
        yield Mistake("train.balance", wrong, "Leave it out, or give another task a weight")
    together = [name for name in learning if recipe.tasks[name].form in ("pairs", "neighbours")]
    if recipe.train.balance != "static" and together:
        words = "compares" if len(together) == 1 else "compare"
        wrong = f"{recipe.train.balance!r} takes the rows of a batch one by one, and {' and '.join(together)} {words} them"
        yield Mistake("train.balance", wrong, "Leave it out")


def _backbones(recipe: Recipe) -> Iterable[Mistake]:
    for name, modality in recipe.inputs.items():
        backbone = getattr(modality, "backbone", None)
        if isinstance(backbone, Backbone) and (problem := backbone.check()):
            yield Mistake(f"inputs.{name}.backbone", problem)
