"""Pixels: what a model that draws hidden patches has to beat on the same test rows: mean patches, and itself before training."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered, Answers
from omnitune.evaluation.before import sample
from omnitune.nn import patches
from omnitune.nn.pixels import PixelHead, costs
from omnitune.tasks import Target
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 2000
"""Training pictures whose mean is taken."""


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the answers on the test rows, (n, 2) as `pixel_metrics` wants them, and what they are of, by name of the rival."""
    seen = sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed)
    return {name: _of_task(model, prepared, name, seen, as_it_is[name]) for name in tasks}


@torch.inference_mode()
def _of_task(model: Model, prepared: Prepared, name: str, seen: Array, as_it_is: Answers) -> tuple[dict[str, Array], dict[str, str]]:
    head, test = model.head(name), prepared.parts["test"]
    assert isinstance(head, PixelHead)
    mean_PN = _mean(head, _targets(prepared, name, seen, model.device))
    found: dict[int, Array] = {}
    for rows, target in _targets(prepared, name, test, model.device):
        every_BPN = head.wanted(target)
        visible, hidden = (patches.at(every_BPN, target[which]) for which in ("visible", "hidden"))
        guesses = (patches.at(mean_PN.expand_as(every_BPN), target["hidden"]), visible.mean(1, keepdim=True))
        found |= dict(zip(rows, torch.stack([costs(guess, hidden) for guess in guesses], 1).cpu().numpy(), strict=True))
    p = np.stack([found[row] for row in test.tolist()])
    words = {
        "constant": f"the mean of {len(seen):,} training pictures at each place",
        "simple": "the mean of the visible patches of the same picture",
        "before": "the model before training",
    }
    made = {"constant": p[:, 0], "simple": p[:, 1], "before": as_it_is.p}
    return {rival: answers[as_it_is.known] for rival, answers in made.items()}, words


def _mean(head: PixelHead, asked: Iterator[tuple[list[int], Target]]) -> Tensor:
    """What every place looks like on average, (P, N)."""
    total, count = torch.zeros(()), torch.zeros(())
    for _, target in asked:
        there = head.wanted(target)[target["weight"] > 0]
        total, count = total.to(there.device) + there.sum(0), count + len(there)
    return total / count.clamp(min=1).to(total.device)


def _targets(prepared: Prepared, name: str, rows: Array, device: torch.device) -> Iterator[tuple[list[int], Target]]:
    """What is asked of some rows as they are, a batch at a time."""
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch():
        yield question.rows.tolist(), question.to(device).asked[name][1]
