"""Gradients: of a whole batch, in parts that fit into memory.

Where the loss of a row depends on the rows beside it, the parts are read twice (gradient caching, Gao et al. 2021,
https://arxiv.org/abs/2101.06983): first without a graph, for what the loss needs of each row; then, with the loss of the whole batch and its slope
in that at hand, part by part with one. Memory is that of a part, gradients are those of the whole batch.

Shape letters: B rows, N numbers a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omnitune.data.batches import Question
from omnitune.nn.heads import JointHead
from omnitune.nn.recall import Recall
from omnitune.nn.tokens import View
from omnitune.training.balance import Balance
from omnitune.training.device import autocast, random_states, set_random_states
from omnitune.training.model import Model


@dataclass(frozen=True)
class Start:
    """Where a part began to be read, so that it is read the same again: dropout draws the same, and texts go on from the same memories."""

    random: list[Tensor]
    recall: dict[str, Recall]


@dataclass(frozen=True)
class Cached:
    """What the first reading gave.

    Args:
        starts: of each part; empty where there was no first reading.
        slopes: by task, the gradient of its share of the loss in what it gathered of each part, (B, N) each.
        means: by task, its mean loss.
    """

    starts: Sequence[Start] = ()
    slopes: Mapping[str, Sequence[Tensor]] = field(default_factory=dict)
    means: Mapping[str, float] = field(default_factory=dict)


class Gradients:
    """Adds to `grad` the gradient of the balanced mean losses.

    Args:
        model: on its device, in training.
        balance: of its tasks.
        precision: of forward passes.
    """

    def __init__(self, model: Model, balance: Balance, precision: str) -> None:
        self.model, self.balance, self.precision = model, balance, precision

    def add(self, question: Question, rows: int) -> dict[str, float]:
        """The mean loss of every task; up to so many rows are in memory at once."""
        device, parts = self.model.device, list(question.parts(rows))
        counts = {task: target["weight"].sum().clamp(min=1e-12).to(device) for task, (_, target) in question.asked.items()}
        joint = {task: head for task in question.asked if isinstance(head := self.model.head(task), JointHead)}
        cached = self._cached(question, parts, joint, counts) if joint and len(parts) > 1 else Cached()
        added: dict[str, list[Tensor]] = {task: [] for task in counts}
        self.balance.start()
        for i, part in enumerate(part.to(device) for part in parts):
            part = self.model.kept(part) if cached.starts else part  # what is frozen is not computed twice
            views, slopes = self._again(part, i, cached, joint) if cached.starts else ({}, [])
            with autocast(device, self.precision):
                losses = self.model.losses(part, views, cached.slopes)
            shares = {task: loss.sum / counts[task] for task, loss in losses.items()}
            self.balance.add(shares, slopes)
            for task, share in shares.items():
                added[task].append(share.detach())
        means = {task: cached.means.get(task, 0.0) + sum(shares) for task, shares in numbers(added).items()}
        self.balance.finish({task: means[task] for task, (_, target) in question.asked.items() if target["weight"].any()})
        return means

    def _cached(self, question: Question, parts: Sequence[Question], joint: Mapping[str, JointHead], counts: Mapping[str, Tensor]) -> Cached:
        """Reads every part without a graph, and adds the gradients of those weights that only the loss has."""
        starts, gathered = [], []
        for part in (part.to(self.model.device) for part in parts):
            starts.append(Start(random_states(self.model.device), self.model.recall))
            with torch.no_grad(), autocast(self.model.device, self.precision):
                gathered.append(self._gathered(part, self.model.views(part, joint), joint))
        slopes, means = {}, {}
        for task, head in joint.items():
            x_BN = torch.cat([made[task] for made in gathered]).requires_grad_()
            target = {name: tensor.to(self.model.device) for name, tensor in question.asked[task][1].items()}
            share = head.loss_of(x_BN, target).sum / counts[task]
            (self.balance.weights[task] * share).backward()  # type: ignore[no-untyped-call]
            assert x_BN.grad is not None
            slopes[task], means[task] = torch.split(x_BN.grad, [len(made[task]) for made in gathered]), float(share.detach())
        return Cached(starts, slopes, means)

    def _again(self, part: Question, i: int, cached: Cached, joint: Mapping[str, JointHead]) -> tuple[dict[int, View], list[Tensor]]:
        """What was read of a part, and of every joint task a sum whose gradient is that of its share of the loss of the whole batch."""
        outside = random_states(self.model.device)
        set_random_states(cached.starts[i].random)
        self.model.recall = cached.starts[i].recall
        with autocast(self.model.device, self.precision):
            views = self.model.views(part, joint)
            gathered = self._gathered(part, views, joint)
        set_random_states(outside)  # what other heads draw is new luck
        return views, [(gathered[task] * cached.slopes[task][i]).sum() for task in joint]

    @staticmethod
    def _gathered(part: Question, views: Mapping[int, View], joint: Mapping[str, JointHead]) -> dict[str, Tensor]:
        return {task: head.gather(views[id(part.asked[task][0])]) for task, head in joint.items()}


def numbers(tensors: Mapping[str, Sequence[Tensor]]) -> dict[str, list[float]]:
    """Single numbers on a device, by name, in one go: a GPU is waited for once, when all its work is given out."""
    flat = [tensor.float() for some in tensors.values() for tensor in some]
    found = iter(torch.stack(flat).tolist() if flat else [])
    return {name: [next(found) for _ in some] for name, some in tensors.items()}
