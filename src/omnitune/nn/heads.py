"""Heads: from tokens to answers and losses."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from omnitune.nn.tokens import Loss, View


class Head(nn.Module, ABC):
    """Two verbs: `loss` compares with a target, `predict` answers."""

    @abstractmethod
    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Sum over rows of `target["weight"]` times the row's loss; `count` is the sum of `target["weight"]`."""

    @abstractmethod
    def predict(self, view: View) -> Tensor:
        """Answers, first dimension B, in the form of the task (probabilities, or numbers in the table's own units)."""
