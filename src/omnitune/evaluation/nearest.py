"""Nearest: what a model that writes about pictures and sounds has to beat: the answer of the training row whose pictures or sounds are most alike."""

from typing import Any

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.before import ROWS, sample
from omnitune.nn import values as cells
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


def answers(model: Model, prepared: Prepared, name: str, rows: Array) -> tuple[list[str], str]:
    """What stands as the answer of the nearest of up to 2,000 training rows, by the cosine between what the backbones make of what stands in the
    prompt of task `name`, before training; and what that is, in words.

    Args:
        model: before training.
        prepared: the data.
        name: of the task.
        rows: of the test.
    """
    column, *_ = prepared.recipe.tasks[name].columns()
    there = np.array([not cells.missing(value) for value in Column(prepared.table, column, prepared.answered)], bool)
    train = sample(prepared.answered[there], ROWS, prepared.recipe.train.seed)
    known_ND, asked_MD = (_vectors(model, prepared, list(prepared.recipe.shown(name)), some) for some in (train, rows))
    found = (asked_MD @ known_ND.T).argmax(1).tolist()
    said = Column(prepared.table, column, train[found])[:]
    words = f"the answer of the nearest of {len(train):,} training rows, by the backbone's vectors of {' and '.join(prepared.recipe.shown(name))}"
    return [cells.text(value) for value in said], words


@torch.no_grad()
def _vectors(model: Model, prepared: Prepared, inputs: list[str], rows: Array) -> torch.Tensor:
    """Of these rows, in their order, the pooled vectors of inputs side by side, each of length 1; zeros where one is missing."""
    model.eval()
    train, order, made = prepared.recipe.train, list[int](), list[torch.Tensor]()
    for question in prepared.batches("test", int(train.micro_batch), rows=rows).epoch():
        batch = next(iter(question.asked.values()))[0].to(model.device)
        with autocast(model.device, train.precision):
            read = model.read(inputs, batch)
        vectors = [tokens.only(batch.inputs[of]["present"]).pooled().float() for of, tokens in read.items()]
        made.append(torch.cat([torch.nn.functional.normalize(x_BD) for x_BD in vectors], 1))
        order += question.rows.tolist()
    places = {row: place for place, row in enumerate(order)}
    return torch.cat(made)[[places[row] for row in rows.tolist()]]
