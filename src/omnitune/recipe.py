"""Recipe, Data, Train: everything a run depends on, as values. Read, write, override, fingerprint."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from omnitune import yaml_files
from omnitune.backbones import Backbone
from omnitune.component import Component, any_of
from omnitune.errors import Mistake, did_you_mean
from omnitune.fusion import Fusion
from omnitune.modalities import Modality
from omnitune.nn.metrics import of_form
from omnitune.settings import Settings, plain, read_settings, settings
from omnitune.tasks import SelfSupervised, Task
from omnitune.tasks.rank import Rank
from omnitune.tuning import Tuning

FAMILIES: dict[str, type[Component]] = {
    "modality": Modality, "backbone": Backbone, "fusion": Fusion, "task": Task, "tuning": Tuning,
}  # fmt: skip
ASKED = {"language": "text", "patches": "image", "series": "series", "whole": "image or series", "speech": "audio"}
MAIN = "data"
"""The table of tasks that name none."""
TEMPERATURE = "temperature"
DEFAULTS = {"fusion": "concat", "tuning": "full"}
Auto = Literal["auto"]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Optimizer = Literal[
    "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"
]  # fmt: skip


@settings
class Data(Settings):
    """Where the rows come from and how they are parted.

    Args:
        source: `from` in YAML: a file (csv, tsv, jsonl, parquet, arrow), a folder, a hub data set, `sample:NAME`; with `#500` at its end
            a sample of so many rows; in Python also a pandas, Arrow or `datasets` table or a list of rows.
        split: shares of training, validation and test rows by a hash of the content, or `given`: the source's own parts.
        by: columns whose values decide the side of a row (a customer's rows stay together); content columns (text, pictures) by default.
        bad_rows: `refuse` a table with rows that cannot be read, or `skip` them, counted and listed.
    """

    source: Any = Field(validation_alias=pydantic.AliasChoices("from", "source"))
    split: tuple[Share, Share, Share] | Literal["given"] = (0.8, 0.1, 0.1)
    by: tuple[str, ...] = ()
    bad_rows: Literal["refuse", "skip"] = "refuse"

    @pydantic.field_validator("source")
    @classmethod
    def _is_named(cls, source: Any) -> Any:
        if source is None or (isinstance(source, str) and not source.strip()):
            raise ValueError("must name a file, a folder, a data set or sample:NAME")
        return source

    @pydantic.field_validator("split")
    @classmethod
    def _sums_to_one(cls, split: Any) -> Any:
        if split != "given" and (abs(sum(split) - 1) > 1e-6 or split[0] == 0):
            raise ValueError("the three shares must sum to 1 and the first must not be 0")
        return split


@settings
class Train(Settings):
    """How long and how the weights move. `auto` values are resolved in `training/auto.py` and saved resolved.

    Args:
        epochs: passes over the training rows.
        minutes: stop in time: the schedule follows the clock where that is ahead of the epochs.
        batch: rows a step learns from.
        micro_batch: rows in memory at once; gradients add up to exactly those of `batch`.
        lr: learning rate of pretrained weights and adapters.
        head_lr: learning rate of what starts from scratch: heads, fusion, small encoders.
        layer_decay: factor on `lr` per block below the top one.
        weight_decay: decoupled from the gradient; biases and norms are spared.
        optimizer: name of an optimiser of torch.optim, in lower case.
        schedule: how the rate falls after warm-up.
        warmup: share of the steps in which the rate rises from zero.
        clip: largest norm of the gradient; 0 turns it off.
        dropout: in the layers of backbones; `checkpoint` keeps each checkpoint's own.
        attention_dropout: of attention weights in backbones; `checkpoint` keeps each checkpoint's own, `auto` is 0 where it would keep
            attention off its fastest path.
        patience: rounds of validation without progress before stopping; 0 turns it off.
        stop_on: what validation watches: `loss`, or a metric as `task.metric`.
        validate_every: epochs between rounds of validation.
        average: average the weights of so many best rounds, kept if validation agrees.
        precision: `auto` is bfloat16 where the device computes it natively, float32 elsewhere.
        checkpointing: recompute activations in the backward pass to save memory.
        compile: let torch compile the blocks that learn; `auto` does on a GPU where a run is long enough to gain by it.
        cache: GiB on disk for what frozen parts of backbones make of each row, and for decoded files, kept over epochs and runs; 0 does all again,
            and reads texts anew in every epoch.
        cache_bits: of each number that a frozen part made; 16 take half the room and move a row's vector by a thousandth at most, 32 nothing.
        flat: read texts without padding where the backbone can, on a CPU, or in bfloat16 on a GPU; the same tokens but for rounding.
        narrow: let the last block of a backbone make only the token that pooling reads, where it can; the same token but for rounding.
        channels_last: give convolutional networks the channels of a pixel side by side in memory; the same but for rounding.
        save_minutes: minutes between checkpoints to resume from, besides each round of validation.
        balance: how the losses of several tasks become one gradient: `static` by each task's `weight`; `uncertainty` learns a variance a task
            (Kendall et al. 2018); `gradnorm` learns factors that even out how fast tasks learn (Chen et al. 2018); `pcgrad` takes conflicts out
            of gradients (Yu et al. 2020). The last two cost a backward pass a task.
        mix: how batches of several tables (see `Recipe.tables`) are mixed, each batch being of one: by `size`, every row once an epoch; in `turns`,
            as many batches of each; `{temperature: T}`, in proportion to the size to the power of 1/T; or exactly so many batches an epoch of each
            table: `{data: 30, other: 10}`.
        seed: of every random choice.
    """

    epochs: Positive | Auto = "auto"
    minutes: Positive | None = None
    batch: Count | Auto = "auto"
    micro_batch: Count | Auto = "auto"
    lr: Positive | Auto = "auto"
    head_lr: Positive | Auto = "auto"
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: NotNegative = 0.01
    optimizer: Optimizer = "adamw"
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: Share = 0.06
    clip: NotNegative = 1.0
    dropout: Share | Literal["checkpoint"] = "checkpoint"
    attention_dropout: Share | Literal["checkpoint"] | Auto = "auto"
    patience: Annotated[int, Field(ge=0)] = 0
    stop_on: str = "loss"
    validate_every: Positive = 1.0
    average: Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpointing: bool = False
    compile: bool | Auto = "auto"
    cache: NotNegative = 10.0
    cache_bits: Literal[32, 16] = 32
    flat: bool = True
    narrow: bool = True
    channels_last: bool = True
    save_minutes: Positive = 10.0
    mix: Literal["size", "turns"] | dict[str, Positive] = "size"
    balance: Literal["static", "uncertainty", "gradnorm", "pcgrad"] = "static"
    seed: Annotated[int, Field(ge=0)] = 0


def _in_prompt(task: Task) -> tuple[str, ...]:
    """The names in the prompt of a task."""
    return task.prompts.template.names if task.prompts else ()


def _named(data: dict[str, Any]) -> dict[str, Any]:
    """A table's plain values; data handed over in Python stand as the name of their type alone."""
    source = data["source"]
    named = str(source) if isinstance(source, (str, Path)) else f"memory:{type(source).__name__}"
    return {"from": named} | {key: value for key, value in data.items() if key != "source"}


def _with_source(tables: Any) -> Any:
    """Bare values as the `from` of a table."""
    return {n: v if isinstance(v, (Data, Mapping)) else {"from": v} for n, v in tables.items()} if isinstance(tables, Mapping) else tables


def _with_shared(inputs: Any) -> Any:
    """Inputs as they are written, one that shares a backbone and names none with the one that it shares."""
    if not isinstance(inputs, dict):
        return inputs
    made = dict(inputs)
    for name, value in inputs.items():
        of = inputs.get(value.get("shares")) if isinstance(value, dict) and isinstance(value.get("shares"), str) else None
        kind, backbone = (of.get(key) if isinstance(of, dict) else getattr(of, key, None) for key in ("kind", "backbone"))
        if backbone is not None and kind == value.get("kind"):
            made[name] = {"backbone": backbone} | value
    return made


@settings
class Recipe(Settings):
    """One run: data, inputs, fusion, tasks, tuning, budget. Frozen and complete.

    Args:
        data: see `Data`; a bare value is its `from`.
        inputs: modalities by name; the name is the column unless `column` says otherwise.
        tasks: tasks by name.
        fusion: how inputs are joined.
        tuning: what learns inside the backbones.
        train: see `Train`.
        expect: ranges that metrics on the test rows must fall in, as `{task.metric: [low, high]}`; a run checks itself against them.
        parent: fingerprint of the recipe this one continues.
        version: of this format.
        tables: more tables by name, each as `data`: tasks name the one whose rows they ask (`table`), which need not have all inputs.
    """

    data: Annotated[Data, pydantic.BeforeValidator(lambda v: v if isinstance(v, (Data, Mapping)) else {"from": v})]
    inputs: Annotated[dict[str, any_of(Modality)], Field(min_length=1), pydantic.BeforeValidator(_with_shared)]  # type: ignore[valid-type]
    tasks: Annotated[dict[str, any_of(Task)], Field(min_length=1)]  # type: ignore[valid-type]
    fusion: any_of(Fusion) = Field(default=DEFAULTS["fusion"], validate_default=True)  # type: ignore[valid-type]
    tuning: any_of(Tuning) = Field(default=DEFAULTS["tuning"], validate_default=True)  # type: ignore[valid-type]
    train: Train = Field(default_factory=Train)
    expect: dict[str, tuple[float, float]] = Field(default_factory=dict)
    parent: str | None = None
    version: Literal[1] = 1
    tables: Annotated[dict[str, Data], pydantic.BeforeValidator(_with_source)] = Field(default_factory=dict)

    @pydantic.field_validator("expect")
    @classmethod
    def _rises(cls, expect: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        if wrong := [name for name, (low, high) in expect.items() if not low <= high]:
            raise ValueError(f"a range must rise from its low to its high number; see {', '.join(wrong)}")
        return expect

    def to_dict(self) -> dict[str, Any]:
        """Plain values, complete; `read` takes them back. Data handed over in Python stand as the name of their type alone."""
        values: dict[str, Any] = plain(self)
        tables = {name: _named(table) for name, table in values.pop("tables").items()}
        values |= {"tables": tables} if tables else {}
        return {"version": values.pop("version")} | values | {"data": _named(values["data"])}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that decides the result, `expect` excepted."""
        values = {k: v for k, v in self.to_dict().items() if k != "expect"}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def column(self, name: str) -> str:
        """The table's column that input `name` reads."""
        column: str | None = self.inputs[name].column
        return name if column is None else column

    def answers(self, task: str) -> dict[str, str]:
        """The columns of its answers, each with its name in the table of all rows: there those of a table of its own are apart from others."""
        own = self.tasks[task].table
        return {column: column if own is None else f"{column}\0{own}" for column in self.tasks[task].columns()}

    def of_table(self, table: str, columns: Collection[str]) -> "Recipe":
        """The recipe of one table alone: its tasks, and the inputs whose `columns` it has."""
        inputs = {name: modality for name, modality in self.inputs.items() if self.column(name) in columns}
        inputs = {n: m if m.shares is None or m.shares in inputs else m.replace(shares=None) for n, m in inputs.items()}
        tasks = {name: task.replace(table=None) for name, task in self.tasks.items() if (task.table or MAIN) == table}
        train = self.train.replace(stop_on="loss", balance="static", mix="size")
        return self.replace(data=self.tables.get(table, self.data), tables={}, inputs=inputs, tasks=tasks, train=train, expect={})

    def reader(self, name: str) -> str:
        """The input whose backbone reads input `name`: its own, or the one that it shares."""
        shares: str | None = self.inputs[name].shares
        return name if shares is None else shares

    @property
    def readers(self) -> dict[str, list[str]]:
        """The inputs that read for themselves, each with all that its encoder reads."""
        return {of: [name for name in self.inputs if self.reader(name) == of] for of in self.inputs if self.reader(of) == of}

    def read_by(self, task: str) -> dict[str, str]:
        """The column of every name that is written into the prompt of `task`: that of an input, else one of this name; none where it has no prompt.
        Where it asks about windows of its input, that one too."""
        of, shown = self.tasks[task], self.shown(task)
        beside = (of.of,) if isinstance(of, SelfSupervised) and of.windows else ()
        written = [name for name in _in_prompt(of) if name not in shown]
        return {name: self.column(name) if name in self.inputs else name for name in (*written, *beside)}

    def shown(self, task: str) -> tuple[str, ...]:
        """The inputs in the prompt of `task` where not their value is written, but what their backbones make of it stands."""
        return tuple(name for name in _in_prompt(self.tasks[task]) if name in self.inputs and self.inputs[name].shows)

    @property
    def unread(self) -> str | None:
        """The input whose column nobody reads: there is one task, and its prompt, which stands in the place of the value, names others and not it."""
        name, *others = self.tasks
        task = self.tasks[name]
        named = _in_prompt(task)
        if others or not named or not isinstance(task, SelfSupervised) or task.windows or task.of in named:
            return None
        return task.of

    @property
    def columns(self) -> set[str]:
        """All that a prediction reads: the columns of inputs, of names in prompts, and what tasks need besides."""
        named = {column for task in self.tasks for column in (*self.read_by(task).values(), *self.tasks[task].needs())}
        return named | {self.column(name) for name in self.inputs if name != self.unread}

    @property
    def beside(self) -> dict[str, str]:
        """Columns that tasks want read as an input is, each with that input."""
        return {column: name for task in self.tasks.values() for column, name in task.beside().items()}

    @property
    def pieced(self) -> str | None:
        """The input whose texts are read in pieces; None where none is."""
        return next((name for name, modality in self.inputs.items() if getattr(modality, "pieces", False)), None)

    def write(self, path: Path) -> None:
        """Saves as YAML, in one step."""
        part = path.with_name(path.name + ".part")
        part.write_text(yaml_files.write(self.to_dict()), encoding="utf-8")
        part.replace(path)


def read(source: str | Path | Mapping[str, Any], overrides: Iterable[str] = ()) -> Recipe:
    """A recipe from a YAML file or plain values, with dotted overrides. Raises one `Mistake` with everything that is wrong."""
    values = DEFAULTS | (dict(source) if isinstance(source, Mapping) else yaml_files.read(Path(source)))
    recipe = read_settings(Recipe, yaml_files.override(values, overrides))
    check(recipe)
    return recipe


def check(recipe: Recipe) -> None:
    """What one field alone cannot tell: names that must meet, columns that must differ, checkpoints that must be there."""
    inputs = (*_shared_columns(recipe), *_asked_inputs(recipe), *_ranked_inputs(recipe), *_compared_inputs(recipe), *_fused_inputs(recipe))
    between = (
        *inputs,
        *_shared_backbones(recipe),
        *_several(recipe),
        *_tables(recipe),
        *_pieces(recipe),
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
        for named in _in_prompt(task):
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
