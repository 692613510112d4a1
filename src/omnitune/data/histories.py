"""Histories: what is counted on them goes beyond their own column: items that were taken next are items too."""

from itertools import chain
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.table import Table
from omnitune.modalities.behaviour import Behaviour
from omnitune.recipe import Recipe
from omnitune.tasks.rank import Rank

Facts = dict[str, Any]
Rows = np.ndarray[Any, Any]


def learn(recipe: Recipe, name: str, table: Table, train: Rows) -> Facts | None:
    """What input `name` learns from these training rows and from what they took next; None where it is no input of histories."""
    modality = recipe.inputs[name]
    if not isinstance(modality, Behaviour):
        return None
    targets = [task.target for task in recipe.tasks.values() if isinstance(task, Rank) and task.of == name]
    taken = chain.from_iterable(Column(table, target, train) for target in dict.fromkeys(targets))
    return modality.learn_items(Column(table, recipe.column(name), train), taken)
