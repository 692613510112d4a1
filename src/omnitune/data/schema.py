"""Schema: what is learned by counting, from training rows only. Plain JSON, saved with the model."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from omnitune.data import histories, prompted
from omnitune.data.columns import Column
from omnitune.data.table import Table
from omnitune.errors import Mistake
from omnitune.recipe import Recipe
from omnitune.tasks import SelfSupervised
from omnitune.tasks.rank import Rank

Facts = dict[str, Any]


@dataclass(frozen=True)
class Schema:
    """Facts of every input and task, and the number of rows a part.

    Args:
        inputs: what each modality learned (a vocabulary, a mean), by input.
        tasks: what each task learned (its classes, a mean), by task.
        rows: rows of train, validation and test.
        columns: what the inputs' columns hold, `number`, `flag` or `text`; a table to be answered is read by it, not by its own look.
    """

    inputs: dict[str, Facts]
    tasks: dict[str, Facts]
    rows: dict[str, int]
    columns: dict[str, str]

    def to_json(self) -> str:
        """As JSON text."""
        return json.dumps(asdict(self), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        """The reverse of `to_json`."""
        return cls(**json.loads(text))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content, shortened."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]


def learn(recipe: Recipe, table: Table, parts: dict[str, np.ndarray[Any, Any]]) -> Schema:
    """Counts on the training rows of `table`."""
    train = parts["train"]
    values = {n: Column(table, recipe.column(n), train, m.media) for n, m in recipe.inputs.items()}
    shared = {
        n: recipe.inputs[n].shared([recipe.inputs[name].each(values[name]) for name in names])
        for n, names in recipe.readers.items()
        if len(names) > 1
    }
    inputs = {
        n: m.learn_shared(values[n], shared[of])
        if (of := recipe.reader(n)) in shared
        else histories.learn(recipe, n, table, train) or _counted(recipe, n, table, train)
        for n, m in recipe.inputs.items()
    }
    tasks = {n: _learned(recipe, n, inputs, table, train) for n in recipe.tasks}
    columns = {column: kind for column, kind in sorted(table.kinds.items()) if column in recipe.columns}
    return Schema(inputs, tasks, {part: len(rows) for part, rows in parts.items()}, columns)


def _counted(recipe: Recipe, name: str, table: Table, train: np.ndarray[Any, Any]) -> Facts:
    modality = recipe.inputs[name]
    try:
        facts: Facts = modality.learn(Column(table, recipe.column(name), train, modality.media))
    except Mistake as mistake:
        raise mistake.under(f"inputs.{name}") from None
    return facts


def _learned(recipe: Recipe, name: str, inputs: dict[str, Facts], table: Table, train: np.ndarray[Any, Any]) -> Facts:
    task = recipe.tasks[name]
    if isinstance(task, SelfSupervised):
        counted = task.learn({column: Column(table, column, train) for column in task.columns()})
        known: Facts = task.learn_from(getattr(recipe.inputs[task.of], task.asks)(inputs[task.of]) | counted)
        return known if task.prompts is None else known | prompted.learn(recipe, name, inputs[task.of], table, train)
    facts: Facts = task.learn({column: Column(table, stored, train) for column, stored in recipe.answers(name).items()})
    if isinstance(task, Rank) and task.of is not None:
        return task.learn_from(facts, recipe.inputs[task.of].ranked(inputs[task.of]))
    return facts
