"""Audit: every value is looked at before anything learns, so that a bad row is refused or listed, never replaced."""

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.data import histories
from omnitune.data.columns import Column
from omnitune.data.decoded import Decoded
from omnitune.data.table import Table
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values as cells
from omnitune.recipe import Recipe

SHOWN = 20


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be read: its number from 0, the column, and what is wrong."""

    row: int
    column: str
    problem: str


def columns_exist(recipe: Recipe, table: Table) -> None:
    """Raises one `Mistake` naming every column the recipe reads and the table lacks."""
    missing = [
        Mistake(where, f"{table.name} has no column {column!r}", did_you_mean(column, table.columns))
        for where, columns in wanted(recipe).items()
        for column in columns
        if column not in table.columns
    ]
    if missing:
        raise Mistake.together(missing)


def wanted(recipe: Recipe) -> dict[str, list[str]]:
    """By place in the recipe, the columns that it reads."""
    found = {f"inputs.{name}": [recipe.column(name)] for name in recipe.inputs if name != recipe.unread}
    found |= {f"tasks.{name}": [*task.columns(), *task.beside()] for name, task in recipe.tasks.items()} | {"data.by": list(recipe.data.by)}
    found |= {f"tasks.{name}.options": [*task.needs()] for name, task in recipe.tasks.items()}
    found |= {f"tasks.{name}.prompt": [*recipe.read_by(name).values()] for name in recipe.tasks}
    return found | histories.columns(recipe)


def readable(recipe: Recipe, table: Table, decoded: Mapping[str, Decoded] | None = None) -> tuple[np.ndarray[Any, np.dtype[np.int64]], list[BadRow]]:
    """Numbers of the rows that can be read, and the others with their reasons. Files that `decoded` knows are not looked at again.

    Raises:
        Mistake: there are unreadable rows and the recipe says `bad_rows: refuse`; or nothing is left.
    """
    bad = list(_bad_rows(recipe, table, decoded or {}))
    if bad and recipe.data.bad_rows == "refuse":
        places = table.places({b.row for b in bad[:SHOWN]})
        first = [Mistake(f"{places[b.row]}, column {b.column}", b.problem) for b in bad[:SHOWN]]
        more = f"{len(bad) - SHOWN:,} more. " if len(bad) > SHOWN else ""
        cure = Mistake(
            table.name, f"{more}{len({b.row for b in bad}):,} rows cannot be read", "Mend them, or set data.bad_rows: skip to leave them out"
        )
        raise Mistake.together([*first, cure])
    rows = np.setdiff1d(np.arange(len(table)), [b.row for b in bad])
    if not len(rows):
        raise Mistake(table.name, "no row can be read", bad[0].problem if bad else "")
    return rows, bad


def _bad_rows(recipe: Recipe, table: Table, decoded: Mapping[str, Decoded]) -> Iterator[BadRow]:
    every = np.arange(len(table))
    for name, modality in recipe.inputs.items():
        column = recipe.column(name)
        if name == recipe.unread:
            continue
        yield from (BadRow(r, column, p) for r, p in Column(table, column, every, modality.media).problems(modality.check, decoded.get(name)))
    for name, task in recipe.tasks.items():
        for column in {*recipe.read_by(name).values()} - {recipe.column(of) for of in recipe.inputs}:
            yield from (BadRow(r, column, p) for r, p in Column(table, column, every).problems(cells.problem))
        for column in task.columns():
            yield from (BadRow(r, column, p) for r, p in Column(table, column, every).problems(task.check))
        yield from _odd(recipe, name, table)
    for column, name in recipe.beside.items():
        modality = recipe.inputs[name]
        yield from (BadRow(r, column, p) for r, p in Column(table, column, every, modality.media).problems(modality.check))
    yield from (BadRow(*found) for found in histories.problems(recipe, table))


def _odd(recipe: Recipe, name: str, table: Table) -> Iterator[BadRow]:
    """Rows whose values do not go together, as a task sees it; of its own input by that name."""
    task = recipe.tasks[name]
    columns = {column: column for column in task.together()}
    columns |= {task.of: recipe.column(task.of)} if getattr(task, "windows", False) else {}
    for rows in table.blocks(next(iter(columns.values())), np.arange(len(table))) if columns else ():
        values = [table.take(column, rows) for column in columns.values()]
        for row, *of in zip(rows.tolist(), *values, strict=True):
            if wrong := task.odd(dict(zip(columns, of, strict=True))):
                yield BadRow(row, columns[wrong[0]], wrong[1])


def list_bad_rows(path: Path, table: Table, bad: list[BadRow]) -> None:
    """Writes rows that were left out, with place and reason, as CSV; nothing where there are none."""
    if bad:
        places = table.places({b.row for b in bad})
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerows([("row", "place", "problem"), *((b.row + 1, f"{places[b.row]}, column {b.column}", b.problem) for b in bad)])
