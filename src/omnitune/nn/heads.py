"""Heads: from tokens to answers and losses. Both are float32, whatever the precision of the layers before."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss, mse_loss

from omnitune.nn.tokens import Loss, View


class Head(nn.Module, ABC):
    """Two verbs: `loss` compares with a target, `predict` answers."""

    @abstractmethod
    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Sum over rows of `target["weight"]` times the row's loss; `count` is the sum of `target["weight"]`."""

    @abstractmethod
    def predict(self, view: View) -> Tensor:
        """Answers, first dimension B, in the form of the task (probabilities, or numbers in the table's own units)."""


class Readout(nn.Module):
    """Dropout and one linear layer on the pooled tokens; it starts close to zero, so that nothing is claimed before it is learned.

    Args:
        width: D of the tokens.
        out: O, numbers a row.
        dropout: share of the pooled values that training drops.
    """

    def __init__(self, width: int, out: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.linear = nn.Dropout(dropout), nn.Linear(width, out)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, view: View) -> Tensor:
        """(B, O) float32."""
        with torch.autocast(view.fused.x_BLD.device.type, enabled=False):
            x_BO: Tensor = self.linear(self.dropout(view.fused.pooled().float()))
            return x_BO


class ClassifyHead(Head):
    """One of C classes. Target: `y` (B,) int64, -1 where it is not known; `weight` (B,).

    Args:
        width: D of the fused tokens.
        classes: C.
        label_smoothing: share of the truth spread over all classes (Szegedy et al. 2016, section 7).
        dropout: before the linear layer.
    """

    temperature: Tensor
    """Divides the logits of predictions, not those of the loss; fitted after training (Guo et al. 2017)."""

    def __init__(self, width: int, classes: int, label_smoothing: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__()
        self.logits, self.label_smoothing = Readout(width, classes, dropout), label_smoothing
        self.register_buffer("temperature", torch.tensor(1.0))

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Cross-entropy."""
        rows = cross_entropy(self.logits(view), target["y"], ignore_index=-1, reduction="none", label_smoothing=self.label_smoothing)
        return _weighted(rows, target["weight"])

    def predict(self, view: View) -> Tensor:
        """Probabilities, (B, C)."""
        logits_BC: Tensor = self.logits(view)
        return (logits_BC / self.temperature).softmax(1)


class LabelHead(Head):
    """Any of K labels. Target: `y` (B, K) int64, 1 and 0, and -1 where it is not known; `weight` (B,).

    Args:
        width: D of the fused tokens.
        labels: K.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.logits = Readout(width, labels, dropout)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Binary cross-entropy; of a row, the mean over the labels that are known."""
        y_BK, known_BK = target["y"].clamp(min=0).float(), (target["y"] >= 0).float()
        each_BK = binary_cross_entropy_with_logits(self.logits(view), y_BK, weight=known_BK, reduction="none")
        return _weighted(each_BK.sum(1) / known_BK.sum(1).clamp(min=1), target["weight"])

    def predict(self, view: View) -> Tensor:
        """Probabilities, (B, K)."""
        return torch.sigmoid(self.logits(view))


class RegressHead(Head):
    """A number. Target: `z` (B,) float32, the answer less `mean`, in units of `std`, 0 where it is not known; `weight` (B,).

    Args:
        width: D of the fused tokens.
        mean, std: of the answers in training.
        kind: `mse`, the squared error, or `huber`, half of it up to one `std` and linear beyond, which outliers pull less.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, mean: float, std: float, kind: Literal["huber", "mse"] = "huber", dropout: float = 0.0) -> None:
        super().__init__()
        self.standard, self.kind = Readout(width, 1, dropout), kind
        self.mean, self.std = mean, std

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """The error in units of `std`."""
        error = huber_loss if self.kind == "huber" else mse_loss
        return _weighted(error(self.standard(view)[:, 0], target["z"], reduction="none"), target["weight"])

    def predict(self, view: View) -> Tensor:
        """Numbers in the table's own units, (B,)."""
        standard_B1: Tensor = self.standard(view)
        return standard_B1[:, 0] * self.std + self.mean


def _weighted(rows: Tensor, weight: Tensor) -> Loss:
    return Loss((rows * weight).sum(), weight.sum())
