"""Prediction: rows in, answers out, in the same order; a row that cannot be read gets its error, never another row's answer."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omnitune.component import find, kinds
from omnitune.data.batches import ahead, encode
from omnitune.data.files import JSON, ending
from omnitune.data.hub import is_dataset
from omnitune.data.json_files import objects
from omnitune.data.media import open_media
from omnitune.data.rows import named, value_of
from omnitune.data.schema import Schema
from omnitune.data.table import Table, read
from omnitune.data.written import read_as
from omnitune.errors import Mistake, did_you_mean
from omnitune.fusion import Fusion
from omnitune.nn import values as cells
from omnitune.nn.tokens import Batch
from omnitune.nn.writing import Sampling, Written
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model
from omnitune.training.writing import GREEDY, Writing

Row = dict[str, Any]
Array = np.ndarray[Any, Any]
CHUNK = 512
"""Rows sorted by length together: enough to leave little padding, few enough to stream."""
CHUNK_OF_MEDIA = 4
"""Batches of files that are opened together: they are in memory until they are answered."""
WEIGHTS = "\0weights"
"""Among outputs by task, those of no task: the weights of inputs."""
TOKENS = 64
"""Of a row of middling length. A batch holds as many tokens as `batch` such rows: short rows go in many at a time, long ones a few."""


class Predictor:
    """Answers rows with a trained model.

    Args:
        model: in evaluation mode, adapters merged.
        recipe, schema: how it was trained.
        precision: of forward passes.
        batch: rows of middling length that are computed together; of long texts fewer, of short ones more.
        weights: also tell how much each input counted, as `weights` beside each task's `value`; the fusion must weigh inputs.
        sampling: how texts are written; the likeliest token always where it is left out.
    """

    def __init__(
        self, model: Model, recipe: Recipe, schema: Schema, precision: str, batch: int = 32, weights: bool = False, sampling: Sampling = GREEDY
    ) -> None:
        self.model, self.recipe, self.schema, self.precision, self.batch = model.eval(), recipe, schema, precision, batch
        self.media = any(modality.media for modality in recipe.inputs.values())
        self.tasks = {name: task for name, task in recipe.tasks.items() if task.answers}
        self.weights, self.sampling = weights, sampling
        self.writing = {name: Writing(self.model, recipe, schema, name) for name, task in recipe.tasks.items() if task.writes}
        if weights and not recipe.fusion.weighs:
            fix = f"Train with fusion: {' or '.join(kind for kind in kinds(Fusion) if find(Fusion, kind).weighs)}"
            raise Mistake("predict", f"fusion {recipe.fusion.kind} gives inputs no weights", fix)
        if not self.tasks and not self.writing:
            raise Mistake("predict", "no task of this model answers rows", "A model that goes on from texts is asked by `omnitune generate`")

    def __call__(self, source: Any) -> Iterator[Row]:
        """One answer a row: `{task: {"value": ..., "probabilities": {...}}}`, or `{"error": why}`.

        Args:
            source: a row (a mapping), an iterable of rows, or anything `Data.source` may be. Every input's column must be there, in the first
                row of a stream or in any row else; None is a missing value.
        """
        columns = self.recipe.columns
        inputs = {self.recipe.column(name): modality for name, modality in self.recipe.inputs.items()}
        lists = {column: (list, np.ndarray) if m.of_texts else (list, np.ndarray, str) for column, m in inputs.items() if m.lists}
        for chunk, root in _chunks(source, columns, lists, CHUNK_OF_MEDIA * self.batch if self.media else CHUNK):
            opened = [self._open(row, root) for row in chunk]
            answered = self._answered([values for values in opened if not isinstance(values, str)])
            decoded = {name: iter(answers) for name, answers in answered.items()}
            for values in opened:
                yield {"error": values} if isinstance(values, str) else {name: next(answers) for name, answers in decoded.items()}

    def _answered(self, rows: list[Row]) -> dict[str, list[Row]]:
        """The answers of every task, in the order of the recipe; none where there is no row."""
        outputs = self._outputs(rows) if self.tasks else {}
        made = {name: self._decoded(name, outputs) for name in self.tasks if outputs}
        made |= {name: [_told(written) for written in writing(rows, self.sampling)] for name, writing in self.writing.items() if rows}
        return {name: made[name] for name in self.recipe.tasks if name in made}

    def _decoded(self, name: str, outputs: dict[str, Array]) -> list[Row]:
        """The answers of a task."""
        answers: list[Row] = self.tasks[name].decode(outputs[name], self.schema.tasks[name])
        if WEIGHTS not in outputs or not self.tasks[name].supervised:
            return answers
        weights = (dict(zip(self.model.inputs, row, strict=True)) for row in outputs[WEIGHTS].tolist())
        return [answer | {"weights": of} for answer, of in zip(answers, weights, strict=True)]

    def outputs(self, table: Table, numbers: Array) -> dict[str, Array]:
        """What heads predict of those rows of `table` that can be read, undecoded: by task, first dimension their number."""
        columns = self.recipe.columns
        _columns_there(set(table.columns), columns, table.name)
        opened = [self._open(row, table.root) for row in _rows(table, numbers, columns)]
        return self._outputs([values for values in opened if not isinstance(values, str)])

    def _outputs(self, rows: list[Row]) -> dict[str, Array]:
        """Outputs in the order of the rows; the next batch is encoded while the model computes. Empty where there is no row."""
        cuts = self._cut([self._size(row) for row in rows])

        def encoded() -> Iterator[Batch]:
            return (self._encode([rows[place] for place in places]) for places in cuts)

        made = [self._forward(batch) for batch in (ahead(encoded) if len(cuts) > 1 else encoded())]
        if not made:
            return {}
        order = np.argsort(np.concatenate(cuts))
        return {name: np.concatenate([outputs[name] for outputs in made])[order] for name in made[0]}

    def _cut(self, sizes: list[int]) -> list[list[int]]:
        """Places of rows, longest first, in batches of about equally many tokens."""
        cuts: list[list[int]] = []
        room = 0
        for place in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            if not cuts or sizes[place] > room:
                cuts, room = [*cuts, []], self.batch * TOKENS
            cuts[-1].append(place)
            room -= sizes[place]
        return cuts

    def _encode(self, rows: list[Row]) -> Batch:
        return encode(self.recipe, self.schema, np.arange(len(rows)), lambda name: [row[self.recipe.column(name)] for row in rows])

    @torch.inference_mode()
    def _forward(self, batch: Batch) -> dict[str, Array]:
        with autocast(self.model.device, self.precision):
            view = self.model(batch.to(self.model.device))
            outputs = self.model.predicted(view)
        told = {name: outputs[name] for name in self.tasks}
        if self.weights:
            told[WEIGHTS] = torch.stack([view.fused.weights[name] for name in self.model.inputs], 1)
        return {name: output.float().cpu().numpy() for name, output in told.items()}

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
        for column in sorted(self.recipe.columns - values.keys()):  # that prompts alone name
            values[column] = read_as(value_of(row.get(column)), self.schema.columns.get(column))
            problem = None if values[column] is None else cells.problem(values[column])
            problems += [f"{column}: {problem}"] if problem else []
        return "; ".join(problems) if problems else values

    def _size(self, row: Row) -> int:
        """About how many tokens; a row with a file counts as one of middling length, and with text beside it as longer."""
        sized = ((m, row[self.recipe.column(name)]) for name, m in self.recipe.inputs.items())
        tokens: int = sum(m.size(value) for m, value in sized if value is not None and not m.media)
        return max(1, tokens + TOKENS * self.media)


def _told(written: Written) -> Row:
    """A text as an answer, with its tokens and how likely each was."""
    return {"value": written.text, "tokens": [list(pair) for pair in zip(written.tokens, written.probabilities, strict=False)]}


def _column(value: Any, lists: tuple[type, ...] | None) -> bool:
    """Whether it holds the values of many rows, which may themselves be lists; then `lists` are the types that such a value may have."""
    return isinstance(value, (list, np.ndarray)) and (lists is None or (len(value) > 0 and isinstance(value[0], lists)))


def _chunks(source: Any, columns: set[str], lists: Mapping[str, tuple[type, ...]], size: int) -> Iterator[tuple[list[Row], Path | None]]:
    if isinstance(source, Mapping) and not is_dataset(source) and not any(_column(source.get(c), lists.get(c)) for c in columns):
        source = [source]
    if (
        isinstance(source, Iterable)
        and not isinstance(source, (str, Path, Mapping))
        and not hasattr(source, "columns")
        and not hasattr(source, "column_names")
    ):
        keys = {str(key) for row in source if isinstance(row, Mapping) for key in row} if isinstance(source, (list, tuple)) else None
        yield from _row_chunks("row", source, columns, keys, None, size)
        return
    if isinstance(source, (str, Path)) and ending(path := Path(source).expanduser()) in JSON and path.is_file():
        keys = {key for number, row in enumerate(objects(path), 1) for key in named(f"{path.name} row {number}", row)}
        if keys:
            yield from _row_chunks(f"{path.name} row", objects(path), columns, keys, path.parent, size)
            return
    table = read(source, texts=columns)
    _columns_there(set(table.columns), columns, table.name)
    for start in range(0, len(table), size):
        yield _rows(table, np.arange(start, min(start + size, len(table))), columns), table.root


def _row_chunks(
    where: str, source: Iterable[Any], columns: set[str], keys: set[str] | None, root: Path | None, size: int
) -> Iterator[tuple[list[Row], Path | None]]:
    """Rows that need no type in common, so that an odd value is the matter of its row. A column that some row has (`keys`) is missing in rows
    without it. Of a stream (None) only the first row is known, so that one must have them all."""
    rows = (named(f"{where} {number}", row) for number, row in enumerate(source, 1))
    while chunk := list(islice(rows, size)):
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
