"""Prediction: rows in, answers out, in the same order; a row that cannot be read gets its error, never another row's answer."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from omnitune.component import find, kinds
from omnitune.data.prompted import prompted, told
from omnitune.data.schema import Schema
from omnitune.data.table import Table
from omnitune.errors import Mistake
from omnitune.fusion import Fusion
from omnitune.nn.tokens import Batch
from omnitune.nn.writing import Sampling, Written
from omnitune.reading import Reader, Row
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.listening import writer
from omnitune.training.model import Model
from omnitune.training.writing import GREEDY

Array = np.ndarray[Any, Any]
WEIGHTS = "\0weights"
"""Among outputs by task, those of no task: the weights of inputs."""


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
        self.model, self.recipe, self.schema, self.precision = model.eval(), recipe, schema, precision
        self.reader = Reader(recipe, schema, [name for name in recipe.inputs if name != recipe.unread], batch, recipe.columns)
        self.tasks = {name: task for name, task in recipe.tasks.items() if task.answers}
        self.asked = [name for name, task in self.tasks.items() if task.prompts]
        self.weights, self.sampling = weights, sampling
        self.writing = {name: writer(self.model, recipe, schema, name) for name, task in recipe.tasks.items() if task.writes}
        if weights and not recipe.fusion.weighs:
            fix = f"Train with fusion: {' or '.join(kind for kind in kinds(Fusion) if find(Fusion, kind).weighs)}"
            raise Mistake("predict", f"fusion {recipe.fusion.kind} gives inputs no weights", fix)
        if not self.tasks and not self.writing:
            raise Mistake(
                "predict",
                "no task of this model answers rows",
                "A model that goes on from texts is asked by `omnitune generate`, one that compares rows by `omnitune retrieve`",
            )

    def __call__(self, source: Any) -> Iterator[Row]:
        """One answer a row: `{task: {"value": ..., "probabilities": {...}}}`, or `{"error": why}`.

        Args:
            source: a row (a mapping), an iterable of rows, or anything `Data.source` may be. Every input's column must be there, in the first
                row of a stream or in any row else; None is a missing value.
        """
        for opened in self.reader.chunks(source):
            answered = self._answered([values for values in opened if not isinstance(values, str)])
            decoded = {name: iter(answers) for name, answers in answered.items()}
            for values in opened:
                yield {"error": values} if isinstance(values, str) else {name: next(answers) for name, answers in decoded.items()}

    def _answered(self, rows: list[Row]) -> dict[str, list[Row]]:
        """The answers of every task, in the order of the recipe; none where there is no row."""
        outputs = self._outputs(rows) if self.tasks else {}
        made = {name: self._decoded(name, outputs, rows) for name in self.tasks if outputs}
        made |= {name: [_told(written) for written in writing(rows, self.sampling)] for name, writing in self.writing.items() if rows}
        return {name: made[name] for name in self.recipe.tasks if name in made}

    def _decoded(self, name: str, outputs: dict[str, Array], rows: list[Row]) -> list[Row]:
        """The answers of a task."""
        answers: list[Row] = self.tasks[name].decode(outputs[name], self.schema.tasks[name])
        if name in self.asked:
            texts = told(self.recipe, name, self._read(name, rows), len(rows))
            return [self.tasks[name].in_words(answer, some) for answer, some in zip(answers, texts, strict=True)]
        if WEIGHTS not in outputs or not self.tasks[name].supervised:
            return answers
        weights = (dict(zip(self.model.inputs, row, strict=True)) for row in outputs[WEIGHTS].tolist())
        return [answer | {"weights": of} for answer, of in zip(answers, weights, strict=True)]

    def outputs(self, table: Table, numbers: Array) -> dict[str, Array]:
        """What heads predict of those rows of `table` that can be read, undecoded: by task, first dimension their number."""
        opened = self.reader.rows(table, numbers)
        return self._outputs([values for values in opened if not isinstance(values, str)])

    def _outputs(self, rows: list[Row]) -> dict[str, Array]:
        """Outputs in the order of the rows; the next batch is encoded while the model computes. Empty where there is no row."""
        places, batches = self.reader.batches(rows)
        made, start = [], 0
        for batch in batches:
            made.append(self._forward(batch, [rows[place] for place in places[start : start + batch.size]]))
            start += batch.size
        if not made:
            return {}
        order = np.argsort(places)
        return {name: np.concatenate([outputs[name] for outputs in made])[order] for name in made[0]}

    @torch.inference_mode()
    def _forward(self, batch: Batch, rows: list[Row]) -> dict[str, Array]:
        plain, made = [name for name in self.tasks if name not in self.asked], dict[str, torch.Tensor]()
        with autocast(self.model.device, self.precision):
            if plain or self.weights:
                view = self.model(batch.to(self.model.device))
                made |= self.model.predicted(view, plain)
            if self.weights:
                made[WEIGHTS] = torch.stack([view.fused.weights[name] for name in self.model.inputs], 1)
            for name in self.asked:
                asked = self._asked(name, batch, rows).to(self.model.device)
                made |= self.model.predicted(self.model(asked), [name])
        return {name: output.float().cpu().numpy() for name, output in made.items()}

    def _asked(self, name: str, batch: Batch, rows: list[Row]) -> Batch:
        """The batch that task `name` reads by its prompt."""
        return prompted(self.recipe, self.schema.inputs, name, self.schema.tasks[name], batch, self._read(name, rows))

    def _read(self, name: str, rows: list[Row]) -> dict[str, list[Any]]:
        """The values that task `name` is asked with, by column."""
        named = (*self.recipe.read_by(name).values(), *self.tasks[name].needs())
        return {column: [row.get(column) for row in rows] for column in named or ("",)}


def _told(written: Written) -> Row:
    """A text as an answer, with its tokens and how likely each was; where it was held to something, whether it `meets` that; and of speech when
    what was said, where that was asked for."""
    told: Row = {"value": written.text, "tokens": [list(pair) for pair in zip(written.tokens, written.probabilities, strict=False)]}
    told |= {} if written.meets is None else {"meets": written.meets}
    return told | ({} if written.segments is None else {"segments": [{"start": a, "end": b, "text": text} for a, b, text in written.segments]})
