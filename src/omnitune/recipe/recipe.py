"""Recipe: everything a run depends on, as values. Written, fingerprinted, looked up."""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from omnitune import yaml_files
from omnitune.backbones import Backbone
from omnitune.component import Component, any_of
from omnitune.fusion import Fusion
from omnitune.modalities import Modality
from omnitune.recipe.data import Data
from omnitune.recipe.train import Train
from omnitune.settings import Settings, plain, settings
from omnitune.tasks import SelfSupervised, Task
from omnitune.tuning import Tuning

FAMILIES: dict[str, type[Component]] = {
    "modality": Modality, "backbone": Backbone, "fusion": Fusion, "task": Task, "tuning": Tuning,
}  # fmt: skip
MAIN = "data"
"""The table of tasks that name none."""
TEMPERATURE = "temperature"
DEFAULTS = {"fusion": "concat", "tuning": "full"}


def in_prompt(task: Task) -> tuple[str, ...]:
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
        written = [name for name in in_prompt(of) if name not in shown]
        return {name: self.column(name) if name in self.inputs else name for name in (*written, *beside)}

    def shown(self, task: str) -> tuple[str, ...]:
        """The inputs in the prompt of `task` where not their value is written, but what their backbones make of it stands."""
        return tuple(name for name in in_prompt(self.tasks[task]) if name in self.inputs and self.inputs[name].shows)

    @property
    def unread(self) -> str | None:
        """The input whose column nobody reads: there is one task, and its prompt, which stands in the place of the value, names others and not it."""
        name, *others = self.tasks
        task = self.tasks[name]
        named = in_prompt(task)
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
