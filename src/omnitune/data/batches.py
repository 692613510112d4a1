"""Batches: rows become encoded questions, in an order that the seed and the epoch alone decide; the next ones are made meanwhile."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.orders import ByLength, Full, Mixed, Order
from omnitune.data.pieced import Pieced
from omnitune.data.prompted import alone, prompted, spelled
from omnitune.data.prompted import sizes as prompt_sizes
from omnitune.data.remembered import Remembered
from omnitune.data.schema import Schema
from omnitune.data.split import digests
from omnitune.data.streams import Streams
from omnitune.data.table import Rowed
from omnitune.data.together import Together
from omnitune.nn.tokens import Batch, beside
from omnitune.recipe import MAIN, TEMPERATURE, Recipe
from omnitune.tasks import Target, Task

Rows = np.ndarray[Any, np.dtype[np.int64]]
Array = np.ndarray[Any, Any]
T = TypeVar("T")
Known = Mapping[str, Callable[[Rows, int | None], dict[str, torch.Tensor] | None]]
Given = Mapping[str, Mapping[str, np.ndarray[Any, Any]]]
Files = Mapping[str, Callable[[Rows, bool], list[Any]]]
ROUNDING = 1e-6
"""Of a sum of loads."""


@dataclass(frozen=True)
class Question:
    """What every task asks of some rows. Tasks that ask about the same batch object share one forward pass."""

    asked: dict[str, tuple[Batch, Target]]
    loads: Array | None = None
    """Of each row, the memory that it takes as a share of what a long one takes, (B,); None where rows count alike."""

    @property
    def rows(self) -> Rows:
        """Row numbers in the table, (B,)."""
        return next(iter(self.asked.values()))[0].rows

    def parts(self, rows: int) -> "Iterator[Question]":
        """Consecutive parts of up to so many rows, or of rows that take no more memory than so many long ones."""
        ends = np.arange(1, len(self.rows) + 1) if self.loads is None else np.cumsum(self.loads)
        start = 0
        while start < len(ends):
            stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + rows + ROUNDING, side="right")))
            yield self.part(start, stop)
            start = stop

    def part(self, start: int, stop: int) -> "Question":
        """Rows `start` to `stop` of every task."""
        return self._each(lambda batch: batch.part(start, stop), lambda tensor: tensor[start:stop])

    def to(self, device: torch.device) -> "Question":
        """The same on `device`."""
        return self._each(lambda batch: batch.to(device), lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> "Question":
        """The same in memory that a GPU copies from while it computes."""
        return replace(self._each(lambda batch: batch.pinned(), lambda tensor: tensor.pin_memory()), loads=self.loads)

    def _each(self, batches: Callable[[Batch], Batch], tensors: Callable[[torch.Tensor], torch.Tensor]) -> "Question":
        made = {id(batch): batches(batch) for batch, _ in self.asked.values()}
        return Question({n: (made[id(b)], {k: tensors(t) for k, t in target.items()}) for n, (b, target) in self.asked.items()})


@dataclass(frozen=True)
class Batches:
    """Questions about some rows of a table.

    Args:
        recipe, schema: how values are encoded and what is asked.
        table: where the values are.
        rows: the rows.
        size: rows a batch; of pieces, as many tokens as so many of the longest have.
        seed: of order and augmentation; None reads every row as it is, longest first.
        known: of inputs, tensors that stand for the encoded values of rows (as they are, or a fixed view) where something has them.
        decoded: of inputs, what `encode` takes in place of the files of rows, for training or not.
        remembered: of inputs, what it takes in place of their values.
        augment: whether the seed augments values too.
        given: of tasks, by name, more of their targets: a row of an array for each row of the table.
    """

    recipe: Recipe
    schema: Schema
    table: Rowed
    rows: Rows
    size: int
    seed: int | None = None
    known: Known = field(default_factory=dict)
    decoded: Files = field(default_factory=dict)
    remembered: Mapping[str, Remembered] = field(default_factory=dict)
    augment: bool = True
    given: Given = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.plan)

    def order(self, epoch: int) -> list[Rows]:
        """The row numbers of every batch of an epoch."""
        return self.plan.epoch(epoch)

    @cached_property
    def plan(self) -> Order:
        """What decides the order: of pieces, streams where they are remembered, and else full batches in training; rows of like length else."""
        pieces = self.table.pieces if isinstance(self.table, Pieced) else None
        if pieces and self._remembered:
            return Streams(self.rows, pieces.documents[self.rows], self.size, self.seed)
        if pieces and self.seed is not None:
            return Full(self.rows, pieces.sizes[self.rows], self.size * pieces.context, self.seed)
        if isinstance(self.table, Together):
            which, of = self.table.of(self.rows), range(len(self.table.owns))
            orders = [ByLength(self.rows[which == i], self.lengths[which == i], self.size, self.seed) for i in of]
            return Mixed(orders, self._mix(self.table), self.seed)
        return ByLength(self.rows, self.lengths, self.size, self.seed)

    def _mix(self, table: Together) -> str | float | list[int]:
        mix = self.recipe.train.mix
        if isinstance(mix, str):
            return mix
        return mix[TEMPERATURE] if TEMPERATURE in mix else [int(mix[own.name]) for own in table.owns]

    def asked(self, rows: Rows) -> dict[str, Task]:
        """The tasks that ask the table which these rows are of."""
        if not isinstance(self.table, Together):
            return dict(self.recipe.tasks)
        own = self.table.owns[self.table.of(rows[:1])[0]].name
        return {name: task for name, task in self.recipe.tasks.items() if (task.table or MAIN) == own}

    def _absent(self, rows: Rows) -> list[str]:
        """Inputs with a backbone that the table does not have which these rows are of: nothing is computed of them."""
        if not isinstance(self.table, Together):
            return []
        columns = self.table.owns[self.table.of(rows[:1])[0]].table.columns
        return [name for name, m in self.recipe.inputs.items() if hasattr(m, "backbone") and self.recipe.column(name) not in columns]

    @cached_property
    def _remembered(self) -> bool:
        """Whether what reads pieces is told of those before."""
        name = self.recipe.pieced if isinstance(self.table, Pieced) and not self.table.firsts else None
        return name is not None and bool(self.recipe.inputs[name].backbone.architecture().remembers)

    @cached_property
    def lengths(self) -> Rows:
        """About how long each row is once encoded, the sum over its inputs; media are all of one size."""
        total = np.zeros(len(self.rows), dtype=np.int64)
        for name, modality in self.recipe.inputs.items():
            if isinstance(self.table, Pieced) and name == self.recipe.pieced:
                total += self.table.pieces.sizes[self.rows]
            elif not modality.media:
                values = Column(self.table, self.recipe.column(name), self.rows)
                total += np.fromiter((0 if v is None else modality.size(v) for v in values), np.int64, len(self.rows))
        for name in (name for name, task in self.recipe.tasks.items() if task.prompts):
            total += prompt_sizes(self.recipe, name, self.table, self.rows)
        return total

    def origin(self, rows: Rows) -> Rows:
        """The rows of the source that these rows come from, for messages."""
        return self.table.origin(rows)

    def epoch(self, number: int = 0, start: int = 0) -> Iterator[Question]:
        """The questions of an epoch from batch `start` on, each made while the one before is answered."""
        order = self.order(number)

        def made() -> Iterator[Question]:
            questions = (self.question(rows, self.luck(number, i), number) for i, rows in enumerate(order) if i >= start)
            return (question.pinned() for question in questions) if torch.cuda.is_available() else questions

        return ahead(made)

    def question(self, rows: Rows, rng: np.random.Generator | None = None, epoch: int = 0) -> Question:
        """What every task asks about these rows."""
        batch = self.encoded(rows, rng, epoch, self.known)
        asked = {}
        for name, task in self.asked(rows).items():
            columns = {column: column for column in (*self.recipe.read_by(name).values(), *task.needs())} | self.recipe.answers(name)
            values = {column: Column(self.table, stored, rows)[:] for column, stored in columns.items()}
            facts = self.schema.tasks[name]
            read = prompted(self.recipe, self.schema.inputs, name, facts, batch, values, self.known)
            seen, target = task.prepare(read, spelled(self.recipe, name, facts, values), facts, rng)
            asked[name] = seen, target | {key: torch.from_numpy(of[rows]) for key, of in self.given.get(name, {}).items()}
        return Question(asked, self._loads(rows))

    def _loads(self, rows: Rows) -> Array | None:
        if not isinstance(self.table, Pieced) or self._remembered:  # rows of streams are padded, and have a memory each
            return None
        return self.table.pieces.sizes[rows] / self.table.pieces.context

    def encoded(self, rows: Rows, rng: np.random.Generator | None, epoch: int, known: Known) -> Batch:
        """The inputs of these rows, `known` standing for what it knows."""
        chance = rng if self.augment else None

        def values(name: str) -> list[Any]:
            if name in self.decoded:
                return self.decoded[name](self.table.origin(rows), chance is not None)
            if name in self.remembered:
                return self.remembered[name](self.table.origin(rows))
            return Column(self.table, self.recipe.column(name), rows, self.recipe.inputs[name].media)[:]

        asked = alone(self.recipe)
        unread = self.recipe.tasks[asked].of if asked else None
        absent = self._absent(rows)
        inputs = [name for name in self.recipe.inputs if name != unread and name not in absent]
        made = encode(self.recipe, self.schema, rows, values, chance, known, epoch, inputs)
        none = {name: {"present": torch.zeros(len(rows), dtype=torch.bool)} for name in absent}
        return replace(made, inputs=made.inputs | none | self._beside(rows, chance), same=self._same(rows))

    def _beside(self, rows: Rows, rng: np.random.Generator | None) -> dict[str, dict[str, torch.Tensor]]:
        """Columns that are read as an input is."""
        made = {}
        for column, name in {c: n for task in self.asked(rows).values() for c, n in task.beside().items()}.items():
            modality = self.recipe.inputs[name]
            values = Column(self.table, column, rows, modality.media)[:]
            made[beside(column)] = modality.encode(values, self.schema.inputs[name], rng)
        return made

    def _same(self, rows: Rows) -> dict[str, Rows]:
        """See `Batch.same`: 62 bits of a hash, so that none is negative."""
        inputs = {name for task in self.recipe.tasks.values() for name in task.compares()}
        compared = {name: (self.recipe.column(name), name) for name in sorted(inputs)}
        compared |= {beside(column): (column, name) for column, name in self.recipe.beside.items()}
        table, rows = self.table.source if isinstance(self.table, Pieced) else self.table, self.table.origin(rows)
        media = {column for column, name in compared.values() if self.recipe.inputs[name].media}
        found = {key: digests(table, rows, [column], media) for key, (column, _) in compared.items()}
        return {key: (digest >> np.uint64(2)).astype(np.int64) for key, digest in found.items()}

    def luck(self, epoch: int, batch: int) -> np.random.Generator | None:
        """What augmentation of a batch draws from; None where nothing is augmented."""
        return None if self.seed is None else np.random.default_rng([self.seed, epoch, batch])


def encode(
    recipe: Recipe,
    schema: Schema,
    rows: Rows,
    values: Callable[[str], list[Any]],
    rng: np.random.Generator | None = None,
    known: Known | None = None,
    epoch: int = 0,
    inputs: Iterable[str] | None = None,
) -> Batch:
    """A batch of `rows`; `values(input)` gives the values of an input for them, and `known` what stands for the encoded ones. Input `unread` is left
    out.

    Where an input has fixed views, `view` (B,) says which one its tensors show in this epoch. All inputs are encoded, or those that are named.
    """
    made = {}
    for name in recipe.inputs if inputs is None else inputs:
        modality = recipe.inputs[name]
        view = epoch % modality.fixed_views if rng is not None and modality.fixed_views else None
        there = known[name](rows, view) if known and name in known else None
        if there is None:
            there = modality.encode(values(name), schema.inputs[name], rng if view is None else np.random.default_rng(view))
        made[name] = there if view is None else there | {"view": torch.full((len(rows),), view)}
    return Batch(made, rows)


def ahead(make: Callable[[], Iterator[T]], depth: int = 2) -> Iterator[T]:
    """The items of `make()`, made in a thread up to `depth` ahead of their use. A thread, since a fork breaks notebooks and locks."""
    items: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(kind: str, value: Any) -> bool:
        while not stopped.is_set():
            try:
                items.put((kind, value), timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in make():
                if not put("item", item):
                    return
            put("end", None)
        except BaseException as error:  # handed over whole: it is raised where the item would have been used
            put("error", error)

    thread = threading.Thread(target=work, daemon=True, name="omnitune-batches")
    thread.start()
    try:
        while True:
            kind, value = items.get()
            if kind == "error":
                raise value
            if kind == "end":
                return
            yield value
    finally:
        stopped.set()
        thread.join()
