"""Sharing: what tasks of one model cost each, and whether they pull the weights that they share the same way.

Shape letters: T tasks, P shared weights.
"""

import time
from itertools import combinations, islice
from typing import Any

import torch
from torch import Tensor

from omnitune.data.batches import Question
from omnitune.data.prepared import Prepared
from omnitune.nn.late import with_own
from omnitune.nn.tokens import Loss, View
from omnitune.training.apart import Apart, shared
from omnitune.training.device import autocast
from omnitune.training.model import Model

BATCHES = 4
"""Of training rows, after one that is not counted."""
NUMBERS = 2**28
"""T P at most, 1 GiB: beyond, gradients are not held side by side."""


def sharing(model: Model, prepared: Prepared) -> dict[str, Any]:
    """Measured on a few batches of training rows, in evaluation mode; empty for one task. The weights are as they are, only gradients are cleared.

    Returns:
        `batches`, `rows` (measured), `seconds` (of this measurement), `shared` (milliseconds a row: the encoders and the fusion there and back once),
        `tasks` {name: {`milliseconds` a row of its head, `share` of all}} and `cosine` [{`a`, `b`, `value`}], the mean over the batches of the cosine
        between the two gradients on shared weights (None where these do not learn). A `note` alone where there is too much to hold.
    """
    numbers = len(model.tasks) * sum(p.numel() for p in shared(model).values())
    if len(model.tasks) < 2:
        return {}
    if numbers > NUMBERS:
        return {"note": f"not measured: the gradients of all tasks are {numbers:,} numbers"}
    began, train = time.monotonic(), prepared.recipe.train
    watch = _Watch(model, str(train.precision))
    model.eval()
    with model.apart():
        for i, question in enumerate(islice(prepared.batches("train", int(train.micro_batch), train.seed).epoch(), BATCHES + 1)):
            if i == 1:
                watch.forget()  # the first batch warms up, unless it is all there is
            watch.see(question.to(model.device))
    model.zero_grad()
    return watch.told() | {"seconds": round(time.monotonic() - began, 2)}


class _Watch:
    """Sums over batches."""

    def __init__(self, model: Model, precision: str) -> None:
        self.model, self.precision, self.apart = model, precision, Apart(model, model.tasks)
        self.forget()

    def forget(self) -> None:
        self.batches = self.rows = 0
        self.shared, self.heads = 0.0, dict.fromkeys(self.model.tasks, 0.0)
        self.cosines: dict[tuple[str, str], list[float]] = {pair: [] for pair in combinations(self.model.tasks, 2)}

    def see(self, question: Question) -> None:
        began = self._now()
        with autocast(self.model.device, self.precision):
            views = self.model.views(question)
        forward = self._now() - began
        means = {task: self._head(task, views[id(batch)], target) for task, (batch, target) in question.asked.items()}
        self.apart.start()
        began = self._now()
        self.apart.add(means)
        self.shared += forward + (self._now() - began) / len(means)  # a training step goes back once for all
        self._compare()
        self.batches, self.rows = self.batches + 1, self.rows + len(question.rows)

    def _head(self, task: str, view: View, target: dict[str, Tensor]) -> Tensor:
        """The mean loss of a task, its head timed there and back."""
        head, began = self.model.head(task), self._now()
        with autocast(self.model.device, self.precision):
            loss: Loss = with_own(head, view, target)
        own = [p for p in head.parameters() if p.requires_grad]
        if own and loss.sum.requires_grad:
            torch.autograd.grad(loss.mean, own, retain_graph=True, allow_unused=True)
        self.heads[task] += self._now() - began
        return loss.mean

    def _compare(self) -> None:
        by = dict(zip(self.model.tasks, self.apart.gradients_TP, strict=True))
        for (a, b), cosines in self.cosines.items():
            size = float(by[a].norm() * by[b].norm())
            if size:
                cosines.append(float(by[a] @ by[b]) / size)

    def _now(self) -> float:
        if self.model.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def told(self) -> dict[str, Any]:
        whole, rows = self.shared + sum(self.heads.values()), max(1, self.rows)
        return {
            "batches": self.batches,
            "rows": self.rows,
            "shared": 1000 * self.shared / rows,
            "tasks": {task: {"milliseconds": 1000 * s / rows, "share": s / max(whole, 1e-12)} for task, s in self.heads.items()},
            "cosine": [{"a": a, "b": b, "value": sum(found) / len(found) if found else None} for (a, b), found in self.cosines.items()],
        }
