"""Prepared: a recipe's table, audited, parted and counted; all that training and measuring need of the data."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from omnitune.data.audit import BadRow, columns_exist, readable
from omnitune.data.batches import Batches, Given, Known
from omnitune.data.columns import Column
from omnitune.data.decoded import Decoded
from omnitune.data.deduplicate import different
from omnitune.data.identity import content
from omnitune.data.pieced import Pieced
from omnitune.data.remembered import Remembered
from omnitune.data.schema import Schema, learn
from omnitune.data.split import digests, leaks, split
from omnitune.data.store import GIB, Room
from omnitune.data.synthetic import Augmented, rows_of, unheld
from omnitune.data.table import Rowed, Table
from omnitune.data.together import Own, Together, owned
from omnitune.errors import Mistake
from omnitune.modalities import Modality
from omnitune.modalities._several import items
from omnitune.nn.values import missing, text
from omnitune.recipe import Recipe
from omnitune.tasks import SelfSupervised

Rows = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Prepared:
    """Rows ready to be asked about.

    Args:
        recipe: as given.
        source: the table as it was read.
        table: its rows, or their pieces where an input is read in pieces.
        parts: row numbers of train, validation and test, in `table`.
        bad: rows of the source left out because they cannot be read.
        schema: what was counted on the training rows.
        equal: rows of the source left out because a document stands there letter by letter as in a row before.
        known, decoded: see `Batches`.
        room: on disk, for what is kept for later runs.
        augment: whether values are augmented where a seed is given.
        given: see `Batches`.
        copies: synthetic rows left out because they say what a validation or test row says.
    """

    recipe: Recipe
    source: Table
    table: Rowed
    parts: dict[str, Rows]
    bad: list[BadRow]
    schema: Schema
    equal: int = 0
    known: Known = field(default_factory=dict)
    decoded: dict[str, Decoded] = field(default_factory=dict)
    room: Room = field(default_factory=lambda: Room(0))
    augment: bool = True
    given: Given = field(default_factory=dict)
    copies: int = 0

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
        kept = self.known, self._kept(), self.remembered
        return Batches(self.recipe, self.schema, self.table, rows, size, seed, *kept, self.augment, self.given)

    @cached_property
    def answered(self) -> Rows:
        """The training rows with an answer to some task; all of a table of which a task needs none."""
        if isinstance(self.table, Together):
            return np.concatenate([self._answered(own.recipe.tasks, self.rows_of(own)) for own in self.table.owns])
        return self._answered(self.recipe.tasks, self.parts["train"])

    def _answered(self, tasks: Collection[str], rows: Rows) -> Rows:
        columns = {name: self.recipe.answers(name).values() for name in tasks}
        if not all(columns.values()):
            return rows
        said = [(column, self.recipe.tasks[name].lacks) for name, of in columns.items() for column in of]
        there = [[not lacks(value) for value in Column(self.table, column, rows)] for column, lacks in said]
        return rows[np.any(there, axis=0)]

    def rows_of(self, own: Own, part: str = "train") -> Rows:
        """The rows of a part that are of one of several tables."""
        rows = self.parts[part]
        return rows[(rows >= own.start) & (rows < own.start + len(own.table))]

    @property
    def owns(self) -> tuple[Own, ...]:
        """The tables, where there are several."""
        return self.table.owns if isinstance(self.table, Together) else ()

    def of(self, task: str) -> "Prepared":
        """The same with those rows alone that a task is asked of."""
        own = next((own for own in self.owns if task in own.recipe.tasks), None)
        return self if own is None else replace(self, parts={part: self.rows_of(own, part) for part in self.parts})

    def real(self) -> "Prepared":
        """The same without the training rows that a model wrote."""
        if not isinstance(self.source, Augmented):
            return self
        train = self.parts["train"]
        return replace(self, parts=self.parts | {"train": train[self.table.origin(train) < len(self.source.own)]})

    def _kept(self) -> dict[str, Decoded]:
        return {name: decoded for name, decoded in self.decoded.items() if decoded.keeps}

    @cached_property
    def remembered(self) -> dict[str, Remembered]:
        """What is read of each input once; not of documents in pieces, which the store keeps, nor of several texts in a cell."""
        if not self.recipe.train.cache:
            return {}
        slow = {
            name: m for name, m in self.recipe.inputs.items() if type(m).read is not Modality.read and name != self.recipe.pieced and not m.several
        }
        columns = {name: partial(Column, self.source, self.recipe.column(name)) for name in slow}
        return {name: Remembered(modality, self.schema.inputs[name], columns[name]) for name, modality in slow.items()}

    def keys(self, rows: Rows) -> list[int]:
        """A number a row of the source that is equal where its content is, whatever table it stands in; (len(rows),)."""
        found = np.zeros(len(rows), np.uint64)
        for own in self.owns:
            mine = (rows >= own.start) & (rows < own.start + len(own.table))
            found[mine] = digests(own.table, rows[mine] - own.start, *content(own.recipe))
        return (found if self.owns else digests(self.source, rows, *content(self.recipe))).tolist()

    def straddling(self) -> dict[str, int]:
        """Validation and test rows of the source whose content also stands in training; only parts that were given can hold such rows."""
        found = {} if self.owns or self.recipe.data.split != "given" else leaks(self.source, self.sources(), *content(self.recipe))
        for own in (own for own in self.owns if own.recipe.data.split == "given"):
            parts = {part: self.rows_of(own, part) - own.start for part in self.parts}
            found = {part: found.get(part, 0) + n for part, n in leaks(own.table, parts, *content(own.recipe)).items()}
        return found

    def sources(self) -> dict[str, Rows]:
        """Row numbers of train, validation and test in the source."""
        return {part: np.unique(self.table.origin(rows)) for part, rows in self.parts.items()}

    def once(self, rows: Rows) -> Rows:
        """One of `rows` for each row of the source: the first piece of a document, where all its pieces are there."""
        return np.sort(rows[np.unique(self.table.origin(rows), return_index=True)[1]])

    def raw(self, name: str, rows: Rows) -> Column:
        """What stands in the source for input `name` of these rows, whole documents where pieces of them are read."""
        return Column(self.source, self.recipe.column(name), self.table.origin(rows), self.recipe.inputs[name].media)

    def written(self, name: str, rows: Rows) -> list[Any]:
        """The same as simple models take it: the texts of a cell, where it may hold several, one below the other."""
        values, modality = self.raw(name, rows)[:], self.recipe.inputs[name]
        if not modality.several or modality.media:
            return values
        return ["\n".join(map(text, found)) if (found := items(value, modality.most)) else None for value in values]


def prepare(recipe: Recipe) -> Prepared:
    """Reads, audits, parts and counts. Raises `Mistake` for whatever is wrong with the data, all at once where it can."""
    room = Room(int(recipe.train.cache * GIB))
    if recipe.tables:
        return _prepare_together(recipe, owned(recipe), room)
    table = rows_of(recipe)
    columns_exist(recipe, table)
    decoded = _decoded(recipe, table, room)
    try:
        return _prepare(recipe, table, room, decoded)
    except BaseException:
        for files in decoded.values():
            files.close()
        raise


def _decoded(recipe: Recipe, table: Table, room: Room) -> dict[str, Decoded]:
    return {name: Decoded(m, table, recipe.column(name), room) for name, m in recipe.inputs.items() if m.decoder(False)}


@dataclass(frozen=True)
class _Parted:
    """A table that was looked at: its readable rows by part, the others, and how many were left out as equal, and as copies of held out rows."""

    parts: dict[str, Rows]
    bad: list[BadRow]
    equal: int
    copies: int = 0


def _parted(recipe: Recipe, table: Table, decoded: dict[str, Decoded]) -> _Parted:
    readable_rows, bad = readable(recipe, table, decoded)
    _texts_there(recipe, table, readable_rows)
    rows = different(recipe, table, readable_rows)
    by, files, fallback = content(recipe)
    if not isinstance(table, Augmented):
        return _Parted(split(table, recipe.data.split, by, files, rows, fallback), bad, len(readable_rows) - len(rows))
    own, written = rows[rows < len(table.own)], rows[rows >= len(table.own)]
    parts = split(table.own, recipe.data.split, by, files, own, fallback)
    kept = unheld(recipe, table, written, np.concatenate([parts["validation"], parts["test"]]))
    parts |= {"train": np.concatenate([parts["train"], kept])}
    return _Parted(parts, bad, len(readable_rows) - len(rows), len(written) - len(kept))


def _prepare_together(recipe: Recipe, owns: list[Own], room: Room) -> Prepared:
    table, found = Together(recipe, owns), []
    for own in owns:
        decoded = _decoded(own.recipe, own.table, room)
        try:
            found.append(_parted(own.recipe, own.table, decoded))
        finally:
            for files in decoded.values():
                files.close()
    parts = {part: np.concatenate([own.start + of.parts[part] for own, of in zip(owns, found, strict=True)]) for part in found[0].parts}
    bad = [replace(one, row=own.start + one.row) for own, of in zip(owns, found, strict=True) for one in of.bad]
    schema = learn(recipe, table, parts)
    return Prepared(recipe, table, table, parts, bad, schema, sum(of.equal for of in found), {}, _decoded(recipe, table, room), room)


def _prepare(recipe: Recipe, table: Table, room: Room, decoded: dict[str, Decoded]) -> Prepared:
    found = _parted(recipe, table, decoded)
    parts, bad, equal = found.parts, found.bad, found.equal
    schema = learn(recipe, table, parts)
    if recipe.pieced is None:
        return Prepared(recipe, table, table, parts, bad, schema, equal, {}, decoded, room, copies=found.copies)
    pieced = _pieced(recipe, recipe.pieced, table, np.sort(np.concatenate(list(parts.values()))), schema)
    parts = pieced.parts(parts)
    schema = replace(schema, rows={part: len(pieces) for part, pieces in parts.items()})
    return Prepared(recipe, table, pieced, parts, bad, schema, equal, {}, decoded, room, copies=found.copies)


def _pieced(recipe: Recipe, name: str, table: Table, rows: Rows, schema: Schema) -> Pieced:
    answers = {column for task in recipe.tasks.values() for column in task.columns()}
    firsts = all(task.supervised for task in recipe.tasks.values())
    return Pieced(table, rows, recipe.column(name), recipe.inputs[name], schema.inputs[name], answers, firsts)


def _texts_there(recipe: Recipe, table: Table, rows: Rows) -> None:
    """Raises `Mistake` where a task asks about words and no row has any."""
    for name, task in recipe.tasks.items():
        if not isinstance(task, SelfSupervised) or task.of == recipe.unread:
            continue
        if all(missing(value) for value in Column(table, recipe.column(task.of), rows)):
            where = f"{table.name}, column {recipe.column(task.of)}"
            raise Mistake(where, f"no row has a value, so tasks.{name} has nothing to ask", "Give values that are not empty")
