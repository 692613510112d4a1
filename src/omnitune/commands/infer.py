"""infer: from a table and its targets to a recipe, with a reason for every line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from omnitune import recipe as recipes
from omnitune import yaml_files
from omnitune.commands import _looks
from omnitune.commands._looks import Look
from omnitune.data.table import Table, read
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values as cells
from omnitune.nn.metrics import like

ROWS = 5000
"""Rows that are looked at, spread over the table."""
FEW_ROWS = 200
LONGEST = 100
"""Letters of a name; YAML breaks the line of a longer one."""
BACKBONES = {
    "text": ("sample:minilm-l6", "read by all-MiniLM-L6-v2: small, quick, English"),
    "audio": ("sample:whisper-tiny-en", "heard by the encoder of Whisper tiny.en: small, quick"),
    "image": ("sample:efficientnet-lite0", "read by EfficientNet-Lite0: small, quick"),
}


@dataclass(frozen=True)
class Inferred:
    """A recipe and why it is as it is.

    Args:
        recipe: complete, ready for `fit`.
        values: what a person would write for it.
        reasons: by dotted path of a line; lines that were asked for have none.
        left_out: columns that are no input, with the reason.
        warnings: what to look at before training.
    """

    recipe: recipes.Recipe
    values: Mapping[str, Any]
    reasons: Mapping[str, str]
    left_out: Mapping[str, str]
    warnings: Sequence[str]

    def __str__(self) -> str:
        """The recipe as YAML, each line with its reason behind it."""
        lines = [line for key, value in self.values.items() for line in self._lines(key, value)]
        width = min(80, max(len(text) for text, _ in lines))
        body = [f"{text:{width}}  {_comment(reason)}" if reason else text for text, reason in lines]
        left = [_comment(f"left out: {column}: {reason}") for column, reason in self.left_out.items()]
        return "\n".join([*body, *left, *(_comment(f"warning: {warning}") for warning in self.warnings)]) + "\n"

    def _lines(self, key: str, value: Any) -> list[tuple[str, str]]:
        if key not in ("inputs", "tasks"):
            return [(_yaml({key: value}), self.reasons.get(key, ""))]
        return [(f"{key}:", ""), *((f"  {_yaml({name: one})}", self.reasons.get(f"{key}.{name}", "")) for name, one in value.items())]


def infer(source: Any, target: str | Sequence[str], changes: Sequence[str] = (), *, minutes: float | None = None, rows: int = ROWS) -> Inferred:
    """Looks at a table and writes the recipe for its targets. Every decision has its reason, and is one line to change.

    Args:
        source: a table as `Data.source`.
        target: the column or columns to be predicted, each a task.
        changes: dotted overrides of what is found, such as `inputs.review.max_tokens=64`.
        minutes: budget of training.
        rows: to look at.

    Raises:
        Mistake: the table cannot be read, has no such column, a target cannot be asked for, or no column is left as input.
    """
    table, targets = read(source), [target] if isinstance(target, str) else list(dict.fromkeys(target))
    _columns_there(table, targets)
    numbers = np.unique(np.linspace(0, len(table) - 1, min(rows, len(table))).astype(np.int64))
    looks = {column: Look(column, table.take(column, numbers), numbers.tolist()) for column in table.columns}
    reasons = {"data": f"{len(table):,} rows; 80 % train, 10 % validate, 10 % test, by a hash of the content"}
    tasks = _tasks({name: looks[name] for name in targets}, reasons)
    inputs, left_out = _inputs({name: look for name, look in looks.items() if name not in targets}, reasons)
    if not inputs:
        why = "; ".join(f"{column}: {reason}" for column, reason in left_out.items())
        raise Mistake(table.name, f"no column can be an input. {why}", "Write a recipe that names its inputs")
    data = {"from": str(source) if isinstance(source, Path) else source}
    found = {"version": 1, "data": data, "inputs": inputs, "tasks": tasks, **_training(inputs, len(table), minutes, reasons)}
    values = yaml_files.override(found, changes)
    recipe = recipes.read(values)
    shown = values | {"data": values["data"] | {"from": recipe.to_dict()["data"]["from"]}}
    still = {path: reason for path, reason in reasons.items() if _at(found, path) == _at(values, path)}
    read_too = {recipe.column(name) for name in recipe.inputs}
    left_out = {column: reason for column, reason in left_out.items() if column not in read_too}
    return Inferred(recipe, shown, still, left_out, _warnings(recipe, looks, table))


def _at(values: Mapping[str, Any], path: str) -> Any:
    """What stands at `inputs.review` or `data`; None where nothing does."""
    section, _, name = path.partition(".")
    inside = values.get(section)
    return inside if not name else inside.get(name) if isinstance(inside, Mapping) else None


def _columns_there(table: Table, targets: Sequence[str]) -> None:
    if not targets:
        raise Mistake(table.name, "no target is named", f"Name one with --target. {did_you_mean('', table.columns)}")
    missing = [
        Mistake(table.name, f"no column {name!r} to predict", did_you_mean(name, table.columns)) for name in targets if name not in table.columns
    ]
    if missing:
        raise Mistake.together(missing)


def _tasks(looks: Mapping[str, Look], reasons: dict[str, str]) -> dict[str, dict[str, Any]]:
    tasks: dict[str, dict[str, Any]] = {}
    for column, look in looks.items():
        if not look.present:
            raise Mistake(f"target {column!r}", "is empty", "Choose another column")
        lists = look.all_are(list, tuple)
        if wrong := next((problem for value in look.present if not lists and (problem := cells.problem(value))), None):
            raise Mistake(f"target {column!r}", wrong, "Mend the column, or choose another target")
        kind, reason = _looks.as_target(look)
        if kind == "classify" and cells.mostly_different(len(look.counts), len(look.present)):
            raise Mistake(f"target {column!r}", f"{len(look.counts):,} different values are no classes", "Choose another target")
        name = _free(column, tasks)
        tasks[name] = {"kind": kind, "target": column}
        if kind == "label" and (sign := _looks.separator(look)):
            tasks[name]["separator"] = sign
        reasons[f"tasks.{name}"] = reason
    return tasks


def _inputs(looks: Mapping[str, Look], reasons: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    inputs: dict[str, Any] = {}
    left_out: dict[str, str] = {}
    for column, look in looks.items():
        kind, reason = _looks.as_input(look)
        if kind is None:
            left_out[column] = reason
            continue
        name = _free(column, inputs)
        backbone, why = BACKBONES.get(kind, ("", ""))
        settings = {"kind": kind} | ({"column": column} if name != column else {}) | ({"backbone": backbone} if backbone else {})
        settings |= {"separator": sign} if kind == "set" and (sign := _looks.separator(look)) else {}
        inputs[name] = kind if len(settings) == 1 else settings
        reasons[f"inputs.{name}"] = f"{reason}; {why}" if why else reason
    return inputs, left_out


def _training(inputs: Mapping[str, Any], rows: int, minutes: float | None, reasons: dict[str, str]) -> dict[str, Any]:
    """Tuning and budget; all else is `auto`, resolved with reasons when training starts."""
    found: dict[str, Any] = {}
    if any(isinstance(one, dict) and "backbone" in one for one in inputs.values()):
        found["tuning"], reasons["tuning"] = _tuning(rows, minutes)
    if minutes is not None:
        found["train"] = {"minutes": minutes}
        reasons["train"] = "as asked"
    return found


def _tuning(rows: int, minutes: float | None) -> tuple[Any, str]:
    """What learns, and why."""
    if rows < FEW_ROWS:
        return "probe", f"only {rows} rows: the heads learn, the backbones stay"
    if minutes is not None:
        return "auto", f"as far as {minutes:g} minutes go: the heads, then the last blocks, then LoRA or all; the best on validation is kept"
    return {"kind": "freeze", "blocks": 2}, "the last blocks bring most of the gain for a part of the time (Lee, Tang and Lin 2019)"


def _warnings(recipe: recipes.Recipe, looks: Mapping[str, Look], table: Table) -> list[str]:
    """Inputs that tell a target by themselves, and too few rows to measure well."""
    from omnitune.evaluation import cautions

    kinds = {name: modality.kind for name, modality in recipe.inputs.items() if recipe.column(name) in looks}
    columns = {name: looks[recipe.column(name)].values for name in kinds}
    found = []
    for name, task in recipe.tasks.items():
        if task.form == "labels" or not looks.keys() >= set(task.columns()):
            continue
        (target,) = task.columns()
        missing = cells.no_number if like(task.form) == "value" else cells.missing
        known = [i for i, value in enumerate(looks[target].values) if not missing(value) and task.check(value) is None]
        if known:
            answers = [looks[target].values[i] for i in known]
            y = np.array([float(answer) for answer in answers]) if like(task.form) == "value" else _codes(answers)
            found += cautions.leaks(name, like(task.form), {column: [values[i] for i in known] for column, values in columns.items()}, kinds, y)
    shares = (0.8, 0.1, 0.1) if recipe.data.split == "given" else recipe.data.split
    expected = {side: int(share * len(table)) for side, share in zip(("train", "validation", "test"), shares, strict=True)}
    return [f"{caution['where']}: {caution['text']}" for caution in [*found, *cautions.few_rows(expected)]]


def _codes(answers: Sequence[Any]) -> np.ndarray[Any, Any]:
    places = {name: i for i, name in enumerate(dict.fromkeys(cells.name(answer) for answer in answers))}
    return np.array([places[cells.name(answer)] for answer in answers])


def _free(column: str, taken: Mapping[str, Any]) -> str:
    """A name on one line, without dots, which part a dotted path, that no other has."""
    name = "".join("_" if sign in ".=" or not sign.isprintable() else sign for sign in column)[:LONGEST].strip() or "column"
    while name in taken:
        name += "_"
    return name


def _comment(text: str) -> str:
    """`text` behind a #, on one line whatever it quotes."""
    return f"# {' '.join(text.split())}"


def _yaml(entry: Mapping[str, Any]) -> str:
    """`key: value` on one line."""
    flow = None if any(isinstance(value, dict) for value in entry.values()) else False  # None: what is nested goes between braces
    return str(yaml.safe_dump(dict(entry), default_flow_style=flow, sort_keys=False, allow_unicode=True, width=10_000)).strip()
