"""Sources: the training rows of a run, from which rows like them are written."""

from collections.abc import Collection, Sequence
from contextlib import closing
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from omnitune.artifact import Artifact
from omnitune.data.columns import Column
from omnitune.data.identity import media
from omnitune.data.prepared import prepare
from omnitune.data.synthetic import MARK, PROBABILITY, SOURCE_ROW, Augmented, reads
from omnitune.data.table import Rows, Table
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values as cells
from omnitune.nn.metrics import like
from omnitune.recipe import Recipe
from omnitune.tasks import Task


class Sources:
    """What a run learned from.

    Args:
        artifact: the run.
        of: the text input that is written anew; may be left out where there is one.

    Attributes:
        table: as it was read, without synthetic rows.
        of, column: the text input, and its column.
        rows: numbers of training rows with a text and an answer to every task that filters.
        without: how many training rows have not.
        tasks: those that filter: which one of several classes?

    Raises:
        Mistake: the run has no such task or input or is of several tables, its rows are not there as they were in training, or none can be used.
    """

    def __init__(self, artifact: Artifact, of: str | None = None) -> None:
        _can(artifact)
        self.artifact, self.recipe = artifact, artifact.recipe
        self.of = _text_input(self.recipe, of)
        self.column = self.recipe.column(self.of)
        self.tasks: dict[str, Task] = {name: task for name, task in self.recipe.tasks.items() if _filters(task)}
        with closing(prepare(self.recipe)) as prepared:
            if prepared.table.fingerprint != artifact.lineage["table"]:
                raise Mistake(prepared.source.name, "is no longer the table of the training", "Bring it back, or train again")
            self._parts = prepared.real().sources()
            self.table: Table = prepared.source.own if isinstance(prepared.source, Augmented) else prepared.source
        _can_hold(self.table, self.column, reads(self.recipe))
        self.rows = self._answered(self._parts["train"])
        self.without = len(self._parts["train"]) - len(self.rows)
        if not len(self.rows):
            raise Mistake(self.table.name, "no training row has a text and an answer", "Give the run of a table with both")

    def _answered(self, rows: Rows) -> Rows:
        there = ~np.array([cells.missing(value) for value in Column(self.table, self.column, rows)], bool)
        for task in self.tasks.values():
            there &= ~np.array([task.lacks(value) for value in Column(self.table, task.columns()[0], rows)], bool)
        found: Rows = rows[there]
        return found

    def drawn(self, number: int, seed: int) -> Rows:
        """So many of `rows`: all of them in an order of chance, and again where that is not enough."""
        rng = np.random.default_rng(seed)
        drawn: Rows = np.concatenate([rng.permutation(self.rows) for _ in range(-(-number // len(self.rows)))])
        return drawn[:number]

    def values(self, rows: Rows, columns: Collection[str], files: Collection[str] = ()) -> list[dict[str, Any]]:
        """What stands in these rows, by column; `files` are opened."""
        found = {column: Column(self.table, column, rows, column in files)[:] for column in columns}
        return [{column: of[place] for column, of in found.items()} for place in range(len(rows))]

    def filled(self, rows: Rows, texts: Sequence[str]) -> pa.Table:
        """These rows with the columns that the recipe reads, and other texts."""
        types = {field.name: field.type for field in self.table.arrow.schema}
        kept = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in types.items() if name in reads(self.recipe)}
        values = {column: list(texts) if column == self.column else self.table.take(column, rows) for column in kept}
        return pa.table({column: pa.array(values[column], kind) for column, kind in kept.items()})

    def answer(self, task: str, rows: Rows) -> list[str]:
        """Names of the classes of these rows."""
        return [cells.name(value) for value in Column(self.table, self.tasks[task].columns()[0], rows)]

    @cached_property
    def texts(self) -> set[str]:
        """All texts of the table, whatever their part, as `normal`."""
        return {normal(value) for value in Column(self.table, self.column, np.arange(len(self.table))) if value is not None}

    @cached_property
    def held(self) -> set[str]:
        """Texts of validation and test rows, as `normal`."""
        rows = np.concatenate([self._parts["validation"], self._parts["test"]])
        return {normal(value) for value in Column(self.table, self.column, rows) if not cells.missing(value)}

    @property
    def files(self) -> set[str]:
        """Columns of the run that hold files."""
        return media(self.recipe)


def normal(text: Any) -> str:
    """A text as it is compared: without capital letters and with single spaces."""
    return " ".join(cells.text(text).split()).casefold()


def _can(artifact: Artifact) -> None:
    where, recipe = str(artifact.path), artifact.recipe
    if recipe.tables:
        raise Mistake(where, "its rows are of several tables", "Give a run of one table")
    if str(recipe.data.source).startswith("memory:"):
        raise Mistake(where, "its rows were handed over in Python, and are not there any more", "Train on a file")
    if not any(map(_filters, recipe.tasks.values())):
        raise Mistake(where, "no task of this run tells classes apart, by which written rows could be filtered", "Give a run with kind: classify")


def _filters(task: Task) -> bool:
    return task.supervised and like(task.form) == "classes" and len(task.columns()) == 1


def _text_input(recipe: Recipe, of: str | None) -> str:
    fit = [name for name, modality in recipe.inputs.items() if modality.kind == "text" and not modality.several]
    if of is not None and of not in fit:
        raise Mistake(f"input {of!r}", "is no text input", did_you_mean(of, fit))
    if of is None and len(fit) != 1:
        what = f"several text inputs: {', '.join(fit)}" if fit else "no text input"
        raise Mistake("inputs", f"the run has {what}", "Name one with --of" if fit else "Texts are what can be written anew")
    return of or fit[0]


def _can_hold(table: Table, column: str, columns: Collection[str]) -> None:
    """Whether rows of such a table can be written to a file of synthetic ones."""
    kind = table.arrow.schema.field(column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise Mistake(f"{table.name}, column {column}", f"holds {kind}, no texts", "Give a run that reads texts")
    if taken := sorted({MARK, SOURCE_ROW, PROBABILITY} & set(columns)):
        raise Mistake(f"{table.name}, column {taken[0]}", "is what a file of synthetic rows says of its own", "Give the column another name")
