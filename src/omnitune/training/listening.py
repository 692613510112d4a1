"""Listening: what is said in sounds of any length, as texts, in the order of the rows."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch

from omnitune.data.schema import Schema
from omnitune.errors import Mistake
from omnitune.nn.scribe import Window
from omnitune.nn.writing import Sampling, Written
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model, slug
from omnitune.training.writing import GREEDY, Writing

WINDOWS = 16
"""That are heard together."""
NOTHING = Written("", (), ())


class Listening:
    """Writes the transcripts of one task.

    Args:
        model: as it stands.
        recipe, schema: how it is trained.
        name: of a task that writes without a prompt.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, name: str) -> None:
        task = recipe.tasks[name]
        assert task.writes and task.prompts is None, f"{name} writes down no sounds"
        self.modality, self.facts = recipe.inputs[task.of], schema.inputs[task.of]
        self.encoder, self.device, self.precision = model.encoders[slug(task.of)], model.device, recipe.train.precision
        self.column, self.overlap, self.seconds = recipe.column(task.of), task.overlap, float(self.modality.speech(self.facts)["seconds"])
        self.scribe = task.scribe(schema.tasks[name], model.head(name), model.backbones[task.of], self.modality.backbone)

    def __call__(self, rows: Sequence[Mapping[str, Any]], sampling: Sampling = GREEDY) -> list[Written]:
        """The transcripts of rows, values by column, in their order; of a missing sound an empty one. Long sounds are heard in windows, a few at a
        time, whatever their length.

        Raises:
            Mistake: texts are to be held to something.
        """
        if sampling.control is not None:
            raise Mistake("control", "what is heard is written down as it is", "Leave it out")
        found: list[list[tuple[Window, Any]]] = [[] for _ in rows]
        windows = self._windows(rows)
        while some := list(islice(windows, WINDOWS)):
            with torch.inference_mode(), autocast(self.device, self.precision):
                inputs = self.modality.encode([read for _, _, read in some], self.facts)
                tokens = self.encoder({name: tensor.to(self.device) for name, tensor in inputs.items()})
                said = self.scribe.heard(tokens, [window for _, window, _ in some], sampling)
            for (row, window, _), part in zip(some, said, strict=True):
                found[row].append((window, part))
        return [self.scribe.joined(parts) if parts else NOTHING for parts in found]

    def _windows(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, Window, Any]]:
        """The number of the row, a window of it, and what is read of that."""
        overlap = min(self.overlap, self.seconds / 2)
        for number, row in enumerate(rows):
            if (value := row.get(self.column)) is None:
                continue
            for start, stop, last, read in self.modality.windows(value, overlap):
                yield number, Window(start, stop, start == 0, last, overlap), read


def writer(model: Model, recipe: Recipe, schema: Schema, name: str) -> Writing | Listening:
    """What writes the answers of a task: behind its prompt, or of what its input says."""
    return Listening(model, recipe, schema, name) if recipe.tasks[name].prompts is None else Writing(model, recipe, schema, name)
