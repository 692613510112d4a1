"""Prepared: a recipe's table, audited, parted and counted; all that training and measuring need of the data."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from omnitune.data.audit import BadRow, columns_exist, readable
from omnitune.data.batches import Batches, Known
from omnitune.data.columns import Column
from omnitune.data.decoded import Decoded
from omnitune.data.schema import Schema, learn
from omnitune.data.split import digests, leaks, split
from omnitune.data.store import GIB, Room
from omnitune.data.table import Table, read
from omnitune.nn.values import missing
from omnitune.recipe import Recipe

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Prepared:
    """Rows ready to be asked about.

    Args:
        recipe: as given.
        table: all rows.
        parts: row numbers of train, validation and test.
        bad: rows left out because they cannot be read.
        schema: what was counted on the training rows.
        known, decoded: see `Batches`.
        room: on disk, for what is kept for later runs.
        augment: whether values are augmented where a seed is given.
    """

    recipe: Recipe
    table: Table
    parts: dict[str, Rows]
    bad: list[BadRow]
    schema: Schema
    known: Known = field(default_factory=dict)
    decoded: dict[str, Decoded] = field(default_factory=dict)
    room: Room = field(default_factory=lambda: Room(0))
    augment: bool = True

    def close(self) -> None:
        """Makes what was decoded known to later runs."""
        for decoded in self.decoded.values():
            decoded.close()

    def batches(self, part: str, size: int, seed: int | None = None, rows: Rows | None = None) -> Batches:
        """Questions about a part, or about some `rows` of it; shuffled and augmented where a seed is given.

        Training rows that answer no question are left out: nothing could be learned from what would be computed of them.
        """
        if rows is None:
            rows = self.answered if part == "train" else self.parts[part]
        return Batches(self.recipe, self.schema, self.table, rows, size, seed, self.known, self._kept(), self.augment)

    @cached_property
    def answered(self) -> Rows:
        """The training rows with an answer to some task; all where a task needs none."""
        rows, columns = self.parts["train"], [task.columns() for task in self.recipe.tasks.values()]
        if not all(columns):
            return rows
        there = [[not missing(value) for value in Column(self.table, column, rows)] for task in columns for column in task]
        return rows[np.any(there, axis=0)]

    def _kept(self) -> dict[str, Decoded]:
        return {name: decoded for name, decoded in self.decoded.items() if decoded.keeps}

    def keys(self, rows: Rows) -> list[int]:
        """A number a row that is equal where its content is, whatever table it stands in; (len(rows),)."""
        return digests(self.table, rows, *self._content()).tolist()  # type: ignore[no-any-return]

    def straddling(self) -> dict[str, int]:
        """Validation and test rows whose content also stands in training; only parts that were given can hold such rows."""
        return leaks(self.table, self.parts, *self._content()) if self.recipe.data.split == "given" else {}

    def _content(self) -> tuple[list[str], set[str], list[str]]:
        return identity(self.recipe), media(self.recipe), [self.recipe.column(name) for name in self.recipe.inputs]


def prepare(recipe: Recipe) -> Prepared:
    """Reads, audits, parts and counts. Raises `Mistake` for whatever is wrong with the data, all at once where it can."""
    table = read(recipe.data.source)
    columns_exist(recipe, table)
    room = Room(int(recipe.train.cache * GIB))
    decoded = {name: Decoded(m, table, recipe.column(name), room) for name, m in recipe.inputs.items() if m.decoder(False)}
    try:
        return _prepare(recipe, table, room, decoded)
    except BaseException:
        for files in decoded.values():
            files.close()
        raise


def _prepare(recipe: Recipe, table: Table, room: Room, decoded: dict[str, Decoded]) -> Prepared:
    rows, bad = readable(recipe, table, decoded)
    parts = split(table, recipe.data.split, identity(recipe), media(recipe), rows, [recipe.column(name) for name in recipe.inputs])
    return Prepared(recipe, table, parts, bad, learn(recipe, table, parts), {}, decoded, room)


def identity(recipe: Recipe) -> list[str]:
    """Columns whose values make two rows the same: as the recipe says, else texts and pictures, else every input."""
    if recipe.data.by:
        return list(recipe.data.by)
    inputs = {recipe.column(name): modality for name, modality in recipe.inputs.items()}
    return [column for column, modality in inputs.items() if modality.content] or list(inputs)


def media(recipe: Recipe) -> set[str]:
    """Columns that hold files."""
    return {recipe.column(name) for name, modality in recipe.inputs.items() if modality.media}
