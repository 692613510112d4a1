"""Writing: what tasks with prompts answer, as texts, in the order of the rows."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from omnitune.data.prompted import FREE, shown
from omnitune.data.schema import Schema
from omnitune.modalities._prompts import Asked
from omnitune.nn import values as cells
from omnitune.nn.writing import Sampling, Writer, Written
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model
from omnitune.training.showing import Showing

GREEDY = Sampling(max_new_tokens=100_000, temperature=0)
"""The likeliest token always, as many as training kept free for an answer."""
ROWS = 16
"""That are written together where they are as long as the longest, or have pictures or sounds in their prompts."""


class Writing:
    """Writes the answers of one task.

    Args:
        model: as it stands.
        recipe, schema: how it is trained.
        name: of a task that writes.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, name: str) -> None:
        task = recipe.tasks[name]
        assert task.prompts, f"{name} writes no texts"
        modality, facts = recipe.inputs[task.of], schema.inputs[task.of]
        self.device, self.precision, self.columns = model.device, recipe.train.precision, recipe.read_by(name)
        self.free = int(schema.tasks[name][FREE])
        self.prompts = modality.prompts(task.prompts, self.free, facts, shown(recipe, name))
        self.control = task.control
        self.writer = Writer(model.pretrained[task.of], modality.backbone.tokenizer(facts), self.prompts.end)
        self.showing = Showing(model, recipe, schema, name) if self.prompts.shown else None

    def __call__(self, rows: Sequence[Mapping[str, Any]], sampling: Sampling = GREEDY) -> list[Written]:
        """The answers to rows, values by column, in their order.

        Args:
            rows: what is not there is missing.
            sampling: how tokens are chosen; never more are written than training kept free for an answer. What it leaves out of `control` is as the
                task says.

        Raises:
            Mistake: there is no room for what must be written.
        """
        texts = [{name: cells.text(row.get(column)) for name, column in self.columns.items()} for row in rows]
        asked = self.prompts.read(texts, [None] * len(rows))
        order = np.argsort([len(one.ids) for one in asked], kind="stable").tolist()
        together = len(rows) if self.writer.refills and sampling.num_beams == 1 and self.showing is None else ROWS
        control = self.control if sampling.control is None else sampling.control
        sampling = replace(sampling, max_new_tokens=min(sampling.max_new_tokens, self.free), control=control)
        lead = self.prompts.lead or (" " if control and control.formed else "")
        found: dict[int, Written] = {}
        for start in range(0, len(order), together):
            some = order[start : start + together]
            with autocast(self.device, self.precision), torch.no_grad():
                ids, vectors = self._read([asked[i] for i in some], [rows[i] for i in some])
                said = self.writer.write(ids, sampling, vectors=vectors, numbers=some)
            found |= dict(zip(some, said, strict=True))
        return [replace(found[i], text=found[i].text.removeprefix(lead)) for i in range(len(rows))]

    def _read(self, asked: list[Asked], rows: Sequence[Mapping[str, Any]]) -> tuple[list[list[int]], torch.Tensor | None]:
        """The tokens of prompts, and the vectors that numbers beyond words stand for."""
        if self.showing is None:
            return [one.ids for one in asked], None
        laid = self.showing(asked, rows)
        return [ids[mask].tolist() for ids, mask in zip(laid.ids_BM, laid.mask_BM, strict=True)], laid.vectors_KD
