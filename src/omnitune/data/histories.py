"""Histories: what must be known, and can be wrong, beyond their own column: a table of items, the time of a row, what was taken next."""

from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.table import Table, read
from omnitune.errors import Mistake, did_you_mean
from omnitune.modalities._described import problem
from omnitune.modalities._history import Step, Wrong, seconds
from omnitune.modalities._history import read as steps_of
from omnitune.modalities.behaviour import Behaviour, Items
from omnitune.nn import values as cells
from omnitune.recipe import Recipe
from omnitune.tasks.rank import Rank

Facts = dict[str, Any]
Rows = np.ndarray[Any, Any]
SHOWN = 20


def learn(recipe: Recipe, name: str, table: Table, train: Rows) -> Facts | None:
    """What input `name` learns from these training rows and from what they took next; None where it is no input of histories."""
    modality = recipe.inputs[name]
    if not isinstance(modality, Behaviour):
        return None
    taken = chain.from_iterable(Column(table, target, train) for target in _targets(recipe, name))
    described = described_by(modality.items, f"inputs.{name}.items") if modality.items else None
    return modality.learn_items(Column(table, recipe.column(name), train), taken, described)


def _targets(recipe: Recipe, name: str) -> list[str]:
    ranks = {n: task for n, task in recipe.tasks.items() if isinstance(task, Rank) and task.of == name}
    return list(dict.fromkeys(recipe.answers(n)[task.target] for n, task in ranks.items()))


def columns(recipe: Recipe) -> dict[str, list[str]]:
    """By place in the recipe, columns that inputs of histories read beside their own."""
    return {f"inputs.{name}.time": [m.time] for name, m in recipe.inputs.items() if isinstance(m, Behaviour) and m.time is not None}


def described_by(items: Items, where: str) -> dict[Any, dict[str, Any]]:
    """What the table of items says of each, by id and column.

    Raises:
        Mistake: it cannot be read, lacks a column, or has items without an id, twice, or with a cell that its kind cannot read; all at once.
    """
    table = read(items.source)
    absent = [
        Mistake(where, f"{table.name} has no column {c!r}", did_you_mean(c, table.columns))
        for c in (items.id, *items.columns)
        if c not in table.columns
    ]
    if absent:
        raise Mistake.together(absent)
    every = np.arange(len(table))
    of_column = {name: Column(table, name, every, modality.media)[:] for name, modality in items.columns.items()}
    found: dict[Any, dict[str, Any]] = {}
    wrong: list[Mistake] = []
    names: set[str] = set()
    for row, item in enumerate(Column(table, items.id, every)):
        told = [(items.id, _id_problem(item, names)), *((name, problem(m, of_column[name][row])) for name, m in items.columns.items())]
        wrong += [Mistake(table.where(row, column), words) for column, words in told if words and len(wrong) < SHOWN]
        if not told[0][1]:
            names.add(cells.name(item))
            found[cells.scalar(item)] = {name: of_column[name][row] for name in items.columns}
    if wrong:
        raise Mistake.together(wrong)
    return found


def _id_problem(item: Any, before: set[str]) -> str | None:
    if cells.missing(item):
        return "an item without an id"
    return cells.problem(item) or (f"a second row of item {cells.name(item)!r}" if cells.name(item) in before else None)


def problems(recipe: Recipe, table: Table) -> Iterator[tuple[int, str, str]]:
    """(row, column, what is wrong) of histories that can be read: items that no table describes, and items from after the time of their row."""
    for name, modality in recipe.inputs.items():
        if isinstance(modality, Behaviour):
            column = recipe.column(name)
            if modality.time is not None:
                yield from _late(table, column, modality.time)
            if modality.items is not None and modality.items.unknown == "refuse":
                yield from _unknown(table, column, _targets(recipe, name), modality.items, f"inputs.{name}.items")


def _late(table: Table, column: str, time: str) -> Iterator[tuple[int, str, str]]:
    every = np.arange(len(table))
    for row, (value, told) in enumerate(zip(Column(table, column, every), Column(table, time, every), strict=True)):
        try:
            now = seconds(told)
        except Wrong as wrong:
            yield row, time, str(wrong)
            continue
        steps = [] if now is None else _steps(value)
        late = next((i for i, step in enumerate(steps, 1) if step.time is not None and now is not None and step.time > now), None)
        if late:
            yield row, column, f"item {late} of {len(steps):,} comes after the time of the row ({time}): the history tells the future"


def _unknown(table: Table, history: str, targets: list[str], items: Items, where: str) -> Iterator[tuple[int, str, str]]:
    known, every = {cells.name(item) for item in described_by(items, where)}, np.arange(len(table))
    for column, names_of in {history: _names, **dict.fromkeys(targets, _name)}.items():
        for row, value in enumerate(Column(table, column, every)):
            if other := next((name for name in names_of(value) if name not in known), None):
                yield row, column, f"item {other[:60]!r} stands in no row of {where}; with `unknown: without` it may"


def _names(history: Any) -> list[str]:
    return [step.name for step in _steps(history)]


def _name(item: Any) -> list[str]:
    return [] if cells.missing(item) or cells.problem(item) else [cells.name(item)]


def _steps(value: Any) -> list[Step]:
    """None of a cell that cannot be read, which is told elsewhere."""
    try:
        return steps_of(value)
    except Wrong:
        return []
