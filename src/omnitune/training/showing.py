"""Showing: pictures and sounds in the prompts of rows whose answers are written."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from omnitune.data.prompted import shown
from omnitune.data.schema import Schema
from omnitune.modalities._prompts import Asked, line
from omnitune.nn.inlay import SLOTS, Laid
from omnitune.nn.projector import Inlays
from omnitune.nn.tokens import Tokens
from omnitune.recipe import Recipe
from omnitune.training.model import Model, slug


class Showing:
    """Lays pictures and sounds into the prompts of one task.

    Args:
        model: as it stands.
        recipe, schema: how it is trained.
        name: of a task in whose prompt some stand.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, name: str) -> None:
        inlays = model.inlays[slug(recipe.tasks[name].of)]
        assert isinstance(inlays, Inlays)
        self.device, self.inlays = model.device, inlays
        self.inputs = {one.number: one.name for one in shown(recipe, name)}
        self.read = {of: (recipe.column(of), recipe.inputs[of], schema.inputs[of], model.encoder(of)) for of in self.inputs.values()}

    def __call__(self, asked: Sequence[Asked], rows: Sequence[Mapping[str, Any]]) -> Laid:
        """The prompts of rows, values by column, with what stands in them."""
        streams = {number: self._tokens(of, rows) for number, of in self.inputs.items()}
        longest = max(len(one.ids) for one in asked)
        read = {
            "input_ids": [one.ids + [0] * (longest - len(one.ids)) for one in asked],
            "attention_mask": [[1] * len(one.ids) + [0] * (longest - len(one.ids)) for one in asked],
            SLOTS: [line(one.slots, longest) for one in asked],
        }
        return self.inlays.lay({name: torch.tensor(values, device=self.device) for name, values in read.items()}, streams)

    def _tokens(self, of: str, rows: Sequence[Mapping[str, Any]]) -> Tokens:
        """Not by `Model.read`, which keeps what it makes of rows of the table by their numbers."""
        column, modality, facts, encoder = self.read[of]
        inputs = {name: t.to(self.device) for name, t in modality.encode([row.get(column) for row in rows], facts).items()}
        tokens: Tokens = encoder(inputs)
        return tokens.only(inputs["present"])
