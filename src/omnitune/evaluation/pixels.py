"""Pixels: what a model that draws hidden patches has to beat on the same test rows: mean patches, and itself before training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import answer
from omnitune.evaluation.before import sample
from omnitune.nn import patches
from omnitune.nn.pixels import PixelHead, costs
from omnitune.tasks import Target
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 2000
"""Training pictures whose mean is taken."""


def rivals(model: Model, prepared: Prepared, tasks: list[str]) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the answers on the test rows, (n, 2) as `pixel_metrics` wants them, and what they are of, by name of the rival."""
    test, train = prepared.parts["test"], prepared.recipe.train
    if not tasks or not len(test):
        return {name: ({}, {}) for name in tasks}
    as_it_is = answer(model, prepared.batches("test", int(train.micro_batch)), train.precision)
    seen = sample(prepared.parts["train"], ROWS, train.seed)
    return {name: _of_task(model.head(name), prepared, name, seen, as_it_is[name].p, as_it_is[name].known) for name in tasks}


@torch.inference_mode()
def _of_task(head: Any, prepared: Prepared, name: str, seen: Array, before: Array, known: Array) -> tuple[dict[str, Array], dict[str, str]]:
    assert isinstance(head, PixelHead)
    sums = [(head.wanted(target)[target["weight"] > 0].sum(0), target["weight"].sum()) for _, target in _targets(prepared, name, seen, head)]
    mean_PN = torch.stack([total for total, _ in sums]).sum(0) / torch.stack([count for _, count in sums]).sum().clamp(min=1)
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for rows, target in _targets(prepared, name, prepared.parts["test"], head):
        every = head.wanted(target)
        visible, hidden = patches.at(every, target["visible"]), patches.at(every, target["hidden"])
        constant = costs(patches.at(mean_PN.expand_as(every), target["hidden"]), hidden)
        found |= dict(zip(rows, zip(constant.cpu(), costs(visible.mean(1, keepdim=True), hidden).cpu(), strict=True), strict=True))
    constant, simple = (torch.stack([found[row][i] for row in prepared.parts["test"].tolist()]).numpy() for i in (0, 1))
    words = {
        "constant": f"the mean of {len(seen):,} training pictures at each place",
        "simple": "the mean of the visible patches of the same picture",
        "before": "the model before training",
    }
    return {rival: p[known] for rival, p in {"constant": constant, "simple": simple, "before": before}.items()}, words


def _targets(prepared: Prepared, name: str, rows: Array, head: PixelHead) -> Iterator[tuple[list[int], Target]]:
    """What is asked of some rows as they are, a batch at a time."""
    device = head.numbers.mean.device
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch():
        yield question.rows.tolist(), question.to(device).asked[name][1]
