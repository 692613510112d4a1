"""Apart: the gradient of each task by itself, on the weights that tasks share.

Shape letters: T tasks, P shared weights.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omnitune.training.model import Model


def shared(model: Model) -> dict[str, nn.Parameter]:
    """The weights that learn below the heads, by name."""
    return {name: p for name, p in model.learning().items() if not name.startswith("heads.")}


class Apart:
    """The gradient of each task on the shared weights, added up over the parts of a batch. It costs a backward pass a task, and T P numbers.

    Args:
        model: as it learns.
        names: the tasks.

    Attributes:
        gradients_TP: float32, zero where a task has none.
    """

    def __init__(self, model: Model, names: Sequence[str]) -> None:
        self.names, self.device = names, model.device
        self.below = list(shared(model).values())
        self.heads = [p for name, p in model.learning().items() if name.startswith("heads.")]

    def start(self) -> None:
        """Begins with nothing."""
        self.gradients_TP = torch.zeros(len(self.names), sum(p.numel() for p in self.below), device=self.device)
        self.touched = [False] * len(self.below)

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Adds the gradients of these losses, and puts those on heads where they belong. Frees the graph."""
        asked = [task for task in self.names if task in losses and losses[task].requires_grad]
        for task in asked:
            self._add(self.names.index(task), losses[task], keep=task != asked[-1])

    def _add(self, number: int, loss: Tensor, keep: bool) -> None:
        found = torch.autograd.grad(loss, [*self.below, *self.heads], retain_graph=keep, allow_unused=True)
        end = 0
        for i, (p, gradient) in enumerate(zip(self.below, found, strict=False)):
            end += p.numel()
            if gradient is not None:
                self.touched[i] = True
                self.gradients_TP[number, end - p.numel() : end] += gradient.reshape(-1)
        for p, gradient in zip(self.heads, found[len(self.below) :], strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad + gradient

    def put(self, gradient_P: Tensor) -> None:
        """Sets the gradient of the shared weights; those that no task reads have none."""
        pieces = torch.split(gradient_P, [p.numel() for p in self.below])
        for p, piece, touched in zip(self.below, pieces, self.touched, strict=True):
            p.grad = piece.view_as(p).to(p.dtype) if touched else None
