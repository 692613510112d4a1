"""Before: what the pretrained backbones are worth without fine-tuning, by a linear probe on their frozen features."""

from typing import Any

import numpy as np
import torch

from omnitune.data.batches import Batches
from omnitune.evaluation.answers import places
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 2000
"""Training rows a probe sees: enough for a stable linear model, few enough for seconds."""


def sample(rows: Array, most: int, seed: int) -> Array:
    """At most `most` of `rows`, in their order."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


@torch.inference_mode()
def features(model: Model, batches: Batches, precision: str) -> Array:
    """Pooled tokens of every input of the model as it stands, side by side: (n, D) in the order of the rows, zeros where a value is missing.

    Of the whole inputs: of the tasks, those that hide a part of one are not asked.
    """
    model.eval()
    blocks, rows = [], []
    supervised = {name for name, task in batches.recipe.tasks.items() if task.supervised}
    for question in batches.epoch():
        whole = next(name for name in question.asked if name in supervised)
        batch = question.asked[whole][0].to(model.device)
        with autocast(model.device, precision):
            streams = model(batch).streams
        blocks.append(torch.cat([streams[name].pooled().float() for name in model.inputs], 1).cpu().numpy())
        rows.append(question.rows)
    return np.asarray(np.concatenate(blocks)[places(np.concatenate(rows), batches.rows)])
