"""Prediction: rows in, answers out, in the same order; a row that cannot be read gets its error, never another row's answer."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitune.data.batches import encode
from omnitune.data.files import JSON, ending
from omnitune.data.hub import is_dataset
from omnitune.data.json_files import objects
from omnitune.data.media import open_media
from omnitune.data.rows import named, value_of
from omnitune.data.schema import Schema
from omnitune.data.table import Table, read
from omnitune.data.written import read_as
from omnitune.errors import Mistake, did_you_mean
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model

Row = dict[str, Any]
CHUNK = 512
"""Rows sorted by length together: enough to leave little padding, few enough to stream."""


class Predictor:
    """Answers rows with a trained model.

    Args:
        model: in evaluation mode, adapters merged.
        recipe, schema: how it was trained.
        precision: of forward passes.
        batch: rows in memory at once.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, precision: str, batch: int = 32) -> None:
        self.model, self.recipe, self.schema, self.precision, self.batch = model.eval(), recipe, schema, precision, batch

    def __call__(self, source: Any) -> Iterator[Row]:
        """One answer a row: `{task: {"value": ..., "probabilities": {...}}}`, or `{"error": why}`.

        Args:
            source: a row (a mapping), an iterable of rows, or anything `Data.source` may be. Every input's column must be there, in the first
                row of a stream or in any row else; None is a missing value.
        """
        columns = {self.recipe.column(name) for name in self.recipe.inputs}
        for chunk, root in _chunks(source, columns):
            yield from self._answer(chunk, root)

    def _answer(self, chunk: list[Row], root: Path | None) -> list[Row]:
        opened = [self._open(row, root) for row in chunk]
        answers: list[Row] = [{"error": values} if isinstance(values, str) else {} for values in opened]
        good = [i for i, values in enumerate(opened) if not isinstance(values, str)]
        good.sort(key=lambda i: -self._size(opened[i]))
        for start in range(0, len(good), self.batch):
            places = good[start : start + self.batch]
            for place, answer in zip(places, self._forward([opened[i] for i in places]), strict=True):
                answers[place] = answer
        return answers

    @torch.inference_mode()
    def _forward(self, rows: list[Any]) -> list[Row]:
        batch = encode(self.recipe, self.schema, np.arange(len(rows)), lambda name: [row[self.recipe.column(name)] for row in rows])
        with autocast(self.model.device, self.precision):
            outputs = self.model.predict(batch.to(self.model.device))
        decoded = {name: task.decode(outputs[name].float().cpu().numpy(), self.schema.tasks[name]) for name, task in self.recipe.tasks.items()}
        return [{name: decoded[name][i] for name in decoded} for i in range(len(rows))]

    def _open(self, row: Row, root: Path | None) -> Row | str:
        """The row's values as modalities take them, or what is wrong with it."""
        values: Row = {}
        problems = []
        for name, modality in self.recipe.inputs.items():
            column = self.recipe.column(name)
            value = read_as(value_of(row.get(column)), self.schema.columns.get(column))
            try:
                value = open_media(value, root) if value is not None and modality.media else value
                problem = None if value is None else modality.check(value)
            except Mistake as mistake:
                problem = str(mistake)
            values[column] = value
            problems += [f"{column}: {problem}"] if problem else []
        return "; ".join(problems) if problems else values

    def _size(self, row: Any) -> int:
        sized = ((m, row[self.recipe.column(name)]) for name, m in self.recipe.inputs.items())
        return sum(m.size(value) for m, value in sized if value is not None and not m.media)


def _chunks(source: Any, columns: set[str]) -> Iterator[tuple[list[Row], Path | None]]:
    if isinstance(source, Mapping) and not is_dataset(source) and not any(isinstance(source.get(c), (list, np.ndarray)) for c in columns):
        source = [source]
    if (
        isinstance(source, Iterable)
        and not isinstance(source, (str, Path, Mapping))
        and not hasattr(source, "columns")
        and not hasattr(source, "column_names")
    ):
        keys = {str(key) for row in source if isinstance(row, Mapping) for key in row} if isinstance(source, (list, tuple)) else None
        yield from _row_chunks("row", source, columns, keys, None)
        return
    if isinstance(source, (str, Path)) and ending(path := Path(source).expanduser()) in JSON and path.is_file():
        keys = {key for number, row in enumerate(objects(path), 1) for key in named(f"{path.name} row {number}", row)}
        if keys:
            yield from _row_chunks(f"{path.name} row", objects(path), columns, keys, path.parent)
            return
    table = read(source, texts=columns)
    _columns_there(set(table.columns), columns, table.name)
    for start in range(0, len(table), CHUNK):
        yield _rows(table, np.arange(start, min(start + CHUNK, len(table))), columns), table.root


def _row_chunks(
    where: str, source: Iterable[Any], columns: set[str], keys: set[str] | None, root: Path | None
) -> Iterator[tuple[list[Row], Path | None]]:
    """Rows that need no type in common, so that an odd value is the matter of its row. A column that some row has (`keys`) is missing in rows
    without it. Of a stream (None) only the first row is known, so that one must have them all."""
    rows = (named(f"{where} {number}", row) for number, row in enumerate(source, 1))
    while chunk := list(islice(rows, CHUNK)):
        keys = set(chunk[0]) if keys is None else keys
        _columns_there(keys, columns, where.removesuffix("row").rstrip() or "rows")
        yield chunk, root


def _rows(table: Table, numbers: np.ndarray[Any, Any], columns: set[str]) -> list[Row]:
    values = {column: table.take(column, numbers) for column in columns}
    return [{column: values[column][i] for column in columns} for i in range(len(numbers))]


def _columns_there(found: set[str], wanted: set[str], where: str) -> None:
    missing = [Mistake(where, f"no column {c!r}", f"{did_you_mean(c, sorted(found))}. A missing value is None") for c in sorted(wanted - found)]
    if missing:
        raise Mistake.together(missing)
