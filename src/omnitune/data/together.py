"""Together: the rows of several tables as one, so that all that reads rows reads those of every table without knowing of it.

Each table was audited and parted by itself. A column that a table does not have is missing in its rows, and an answer stands in the rows of the
task's own table alone (see `Recipe.answers`).
"""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from omnitune.data import histories
from omnitune.data.audit import columns_exist
from omnitune.data.media import files_of, names_file
from omnitune.data.table import Rowed, Rows, Table, read
from omnitune.errors import Mistake, did_you_mean
from omnitune.recipe import MAIN, Recipe

ONE_TYPE = "Give a column one type in all tables, or an input another column"


@dataclass(frozen=True)
class Own:
    """One of the tables.

    Args:
        name: in the recipe; `data` is that of tasks that name none.
        recipe: of this table alone: its tasks, and the inputs that it has.
        table: as it was read.
        start: where its rows begin.
    """

    name: str
    recipe: Recipe
    table: Table
    start: int

    @property
    def rows(self) -> Rows:
        """All its rows."""
        return np.arange(self.start, self.start + len(self.table))


def owned(recipe: Recipe) -> list[Own]:
    """The tables of a recipe. Raises `Mistake` where one cannot be read, has none of the inputs or lacks a column, or no table has an input."""
    owns: list[Own] = []
    for name, data in ({MAIN: recipe.data} | recipe.tables).items():
        table = read(data.source)
        if not any(recipe.column(of) in table.columns for of in recipe.inputs):
            wanted = recipe.column(next(iter(recipe.inputs)))
            raise Mistake(_where(name), f"{table.name} has a column of no input", did_you_mean(wanted, table.columns))
        own = recipe.of_table(name, table.columns)
        _asked_inputs(own, table)
        columns_exist(own, table)
        owns.append(Own(name, own, table, owns[-1].start + len(owns[-1].table) if owns else 0))
    _somewhere(recipe, owns)
    return owns


def _where(name: str) -> str:
    return name if name == MAIN else f"tables.{name}"


def _asked_inputs(own: Recipe, table: Table) -> None:
    """Raises `Mistake` where a task asks about an input that its table does not have."""
    wrong = []
    for name, task in own.tasks.items():
        for of in dict.fromkeys([*filter(None, [getattr(task, "of", None)]), *task.compares(), *task.beside().values()]):
            if of not in own.inputs:
                wrong.append(Mistake(f"tasks.{name}", f"asks about input {of!r}, which {table.name} does not have", "Give the table its column"))
    if wrong:
        raise Mistake.together(wrong)


def _somewhere(recipe: Recipe, owns: Sequence[Own]) -> None:
    there = [column for own in owns for column in own.table.columns]
    absent = [name for name in recipe.inputs if recipe.column(name) not in there]
    wrong = [f"no table has a column {recipe.column(name)!r}" for name in absent]
    if wrong:
        raise Mistake.together(
            Mistake(f"inputs.{name}", what, did_you_mean(recipe.column(name), there)) for name, what in zip(absent, wrong, strict=True)
        )


class Together(Table):
    """The rows of all tables, one table after the other, with the columns that are read.

    Args:
        recipe: of all of them.
        owns: the tables.

    Raises:
        Mistake: two tables disagree on the type of a column.
    """

    def __init__(self, recipe: Recipe, owns: Sequence[Own]) -> None:
        self.owns, self.name, self.pieces = tuple(owns), ", ".join(own.table.name for own in owns), ()
        self.root = Path(Path.cwd().anchor)  # paths were found below their own tables, and are whole from here on
        self.media = {recipe.column(name) for name, modality in recipe.inputs.items() if modality.media}
        self.arrow = _joined([own.table.arrow.select(list(kept)).rename_columns(list(kept.values())) for own, kept in _kept(recipe, owns)], owns)
        self._ends = np.cumsum([len(own.table) for own in owns])
        self._starts = {column: np.cumsum([0] + [len(c) for c in self.arrow[column].chunks[:-1]]) for column in self.columns}
        self._sizes: dict[str, Rows] = {}

    @cached_property
    def parts(self) -> None:
        """None: each table was parted before."""
        return

    def of(self, rows: Rows) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The number of the table that each row is of, (n,)."""
        return np.searchsorted(self._ends, rows, side="right")

    def take(self, column: str, numbers: Sequence[int] | np.ndarray[Any, Any]) -> list[Any]:
        """See `Table.take`; paths are whole."""
        values = super().take(column, numbers)
        if column not in self.media:
            return values
        roots = [self.owns[i].table.root for i in self.of(np.asarray(numbers, np.int64))]
        return [_whole(value, root) for value, root in zip(values, roots, strict=True)]

    def places(self, numbers: Collection[int]) -> dict[int, str]:
        """See `Table.places`."""
        found: dict[int, str] = {}
        every = np.fromiter(numbers, np.int64)
        for i, own in enumerate(self.owns):
            mine = every[self.of(every) == i] - own.start
            found |= {row + own.start: place for row, place in own.table.places(mine.tolist()).items()}
        return found


def _whole(value: Any, root: Path | None) -> Any:
    """A path below `root` as one that says so itself; what is no path as it is."""
    files = files_of(value)
    if files is not None:
        return [_whole(file, root) for file in files]
    if isinstance(value, Mapping) and value.get("bytes") is None and value.get("path") is not None:
        return {"path": _whole(value["path"], root)}
    return os.fspath((root or Path.cwd()) / value) if names_file(value) else value


def _kept(recipe: Recipe, owns: Sequence[Own]) -> list[tuple[Own, dict[str, str]]]:
    """Of each table the columns that are read, with the names that they get."""
    found = []
    for own in owns:
        mine = [name for name, task in recipe.tasks.items() if (task.table or MAIN) == own.name]
        plain = [own.recipe.column(name) for name in own.recipe.inputs] + [c for name in mine for c in recipe.tasks[name].beside()]
        plain += [column for columns in histories.columns(own.recipe).values() for column in columns]
        answers = {column: stored for name in mine for column, stored in recipe.answers(name).items()}
        found.append((own, dict(zip(plain, plain, strict=True)) | answers))
    return found


def _joined(tables: Sequence[pa.Table], owns: Sequence[Own]) -> pa.Table:
    plain = [table.replace_schema_metadata() for table in tables]
    decoded = [
        table.cast(pa.schema([(f.name, f.type.value_type if pa.types.is_dictionary(f.type) else f.type) for f in table.schema])) for table in plain
    ]
    wrong = []
    for i, table in enumerate(decoded):
        for field in table.schema:
            before = next((j for j, other in enumerate(decoded[:i]) if field.name in other.column_names), None)
            if before is not None and not _agree(field, known := decoded[before].schema.field(field.name)):
                what = f"holds {field.type}, but {known.type} in {owns[before].table.name}"
                wrong.append(Mistake(f"{_where(owns[i].name)}, column {field.name}", what, ONE_TYPE))
    if wrong:
        raise Mistake.together(wrong)
    return pa.concat_tables(decoded, promote_options="permissive")


def _agree(one: pa.Field, other: pa.Field) -> bool:
    try:
        pa.unify_schemas([pa.schema([one]), pa.schema([other])], promote_options="permissive")
    except pa.ArrowException:
        return False
    return True


def having(table: Rowed, column: str, rows: Rows) -> Rows:
    """Those of `rows` whose table has the column; all where none has."""
    if not isinstance(table, Together):
        return rows
    there = np.array([column in own.table.columns for own in table.owns])
    found = rows[there[table.of(rows)]]
    return found if len(found) else rows
