"""Embedding: values of one input become vectors in the space where a task compares them.

Shape letters: n rows, P width of the vectors.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from omnitune.data.schema import Schema
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn.heads import EmbeddingHead
from omnitune.nn.tokens import Batch
from omnitune.reading import Reader, Row
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
MISSING = "missing"


@dataclass(frozen=True)
class Embedded:
    """Vectors of some rows.

    Args:
        vectors_nP: float32 of length 1; zeros where there is none.
        problems: of each row why it has no vector, `missing` or what is wrong with it; None where it has one.
    """

    vectors_nP: Array
    problems: list[str | None]


class Embedder:
    """Reads one input, and no other column.

    Args:
        model: in evaluation mode.
        recipe, schema: how it was trained.
        precision: of forward passes.
        task: that compares the input.
        of: the input.
        batch: rows of middling length that are computed together.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, precision: str, task: str, of: str, batch: int) -> None:
        head = model.head(task)
        assert isinstance(head, EmbeddingHead)
        self.model, self.head, self.precision, self.task, self.of = model.eval(), head, precision, task, of
        self.reader, self.column = Reader(recipe, schema, [of], batch), recipe.column(of)

    @property
    def media(self) -> bool:
        """Whether values are files."""
        return self.reader.media

    def __call__(self, source: Any) -> Iterator[Embedded]:
        """Of consecutive rows; `source` as for `Artifact.predict`, with the column of this input."""
        for opened in self.reader.chunks(source):
            yield self._embedded(opened)

    def all(self, source: Any) -> Embedded:
        """Of all rows at once."""
        parts = list(self(source))
        vectors = np.concatenate([part.vectors_nP for part in parts]) if parts else np.zeros((0, self.head.width), np.float32)
        return Embedded(vectors, [problem for part in parts for problem in part.problems])

    def _embedded(self, opened: list[Row | str]) -> Embedded:
        problems = [row if isinstance(row, str) else None for row in opened]
        good = [place for place, problem in enumerate(problems) if problem is None]
        vectors = np.zeros((len(opened), self.head.width), np.float32)
        places, batches = self.reader.batches([row for row in opened if not isinstance(row, str)])
        numbers = iter(np.array(good, np.int64)[places].tolist())
        for batch in batches:
            for vector_P, present, row in zip(*self._forward(batch), numbers, strict=False):  # rows of the next batch are left in `numbers`
                problems[row] = None if present else MISSING
                vectors[row] = vector_P if present else 0.0
        return Embedded(vectors, problems)

    @torch.inference_mode()
    def _forward(self, batch: Batch) -> tuple[Array, list[bool]]:
        """Vectors (B, P), and which values are there."""
        batch = batch.to(self.model.device)
        present_B = batch.inputs[self.of]["present"]
        with autocast(self.model.device, self.precision):
            tokens = self.model.tokens(self.of, batch).only(present_B)
            return self.head.embed(self.of, tokens).cpu().numpy(), present_B.tolist()


def comparing(recipe: Recipe, of: str, task: str | None = None) -> str:
    """The task that compares an input. Raises `Mistake` where none does, or where several do and none is named."""
    tasks = {name: one for name, one in recipe.tasks.items() if one.compares()}
    if not tasks:
        raise Mistake("tasks", "none compares inputs, so there are no vectors to look for", "Train with a task of kind: match")
    if task is not None and task not in tasks:
        raise Mistake(f"task {task!r}", "does not compare inputs, or is not there", did_you_mean(task, list(tasks)))
    fit = [name for name, one in tasks.items() if of in one.compares() and task in (None, name)]
    if not fit:
        compared = sorted({name for one in tasks.values() for name in one.compares()})
        raise Mistake(f"input {of!r}", "is not compared", did_you_mean(of, compared))
    if len(fit) > 1:
        raise Mistake(f"input {of!r}", f"is compared by several tasks: {', '.join(fit)}", "Name one of them with --task")
    return fit[0]
