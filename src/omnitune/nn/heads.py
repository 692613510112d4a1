"""Heads: from tokens to answers and losses. Both are float32, whatever the precision of the layers before."""

from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, huber_loss, mse_loss

from omnitune.nn.dropout import Dropout
from omnitune.nn.metrics import Array
from omnitune.nn.tokens import Loss, Tokens, View


class Head(nn.Module, ABC):
    """What a task asks the tokens: `loss` compares with a target, `measure` also tells what metrics are made of."""

    @abstractmethod
    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Sum over rows of `target["weight"]` times the row's loss; `count` is the sum of `target["weight"]`."""

    @abstractmethod
    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """What metrics are made of, first dimension B, in the form of the task; and the loss."""

    def together(self, y: Array, p: Array, known: Array) -> tuple[Array, Array]:
        """Answers `y` and what `measure` gave, of all rows that are measured, as metrics take them: where what one row is worth depends on others.

        Args:
            y, p: first dimension n.
            known: which rows are measured, (n,) bool.
        """
        return y, p


class RowHead(Head):
    """A head that has something to say of a row nobody told the answer of."""

    @abstractmethod
    def predict(self, view: View) -> Tensor:
        """Answers, first dimension B, as `Task.decode` takes them."""


class JointHead(Head):
    """A head whose loss of a row depends on the rows beside it: it wants the whole batch, also where that is read in parts
    (`training/gradients.py`). N is how many numbers it needs of a row."""

    @abstractmethod
    def gather(self, view: View) -> Tensor:
        """What the loss needs of each row, (B, N) float32; what that is of one row depends on no other row."""

    @abstractmethod
    def loss_of(self, x_BN: Tensor, target: dict[str, Tensor]) -> Loss:
        """The loss of what was gathered of all rows; luck has no part in it."""

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """See `Head.loss`; that of a row depends on the rows beside it."""
        return self.loss_of(self.gather(view), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """What was gathered, and the loss."""
        x_BN = self.gather(view)
        return x_BN, self.loss_of(x_BN, target)


class EmbeddingHead(JointHead):
    """A head that puts values of some inputs into one space, where those that belong together are near each other."""

    of: tuple[str, ...]
    """The inputs."""
    width: int
    """P."""

    @abstractmethod
    def embed(self, name: str, tokens: Tokens) -> Tensor:
        """The vectors of an input's tokens, (B, P) float32 of length 1."""

    @abstractmethod
    def steepened(self, cosines: Tensor) -> Tensor:
        """Logits from cosines of vectors."""


class Readout(nn.Module):
    """Dropout and one linear layer on the pooled tokens; it starts close to zero, so that nothing is claimed before it is learned.

    Args:
        width: D of the tokens.
        out: O, numbers a row.
        dropout: share of the pooled values that training drops.
    """

    def __init__(self, width: int, out: int, dropout: float) -> None:
        super().__init__()
        self.dropout, self.linear = Dropout(dropout), nn.Linear(width, out)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def forward(self, view: View) -> Tensor:
        """(B, O) float32."""
        with torch.autocast(view.fused.x_BLD.device.type, enabled=False):
            x_BO: Tensor = self.linear(self.dropout(view.fused.pooled().float()))
            return x_BO


class LinearHead(RowHead):
    """A `Readout` that answers each row, and a loss of each row by itself: such heads can be stacked and learn together (`training/trials.py`)."""

    @property
    @abstractmethod
    def readout(self) -> Readout:
        """What learns."""

    @abstractmethod
    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """The loss of each row, (B,), from what `readout` gave."""

    @abstractmethod
    def answers(self, x_BO: Tensor) -> Tensor:
        """Answers from what `readout` gave."""

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """See `Head.loss`."""
        return Loss((self.losses(self.readout(view), target) * target["weight"]).sum(), target["weight"].sum())

    def predict(self, view: View) -> Tensor:
        """Answers, first dimension B, in the form of the task (probabilities, or numbers in the table's own units)."""
        return self.answers(self.readout(view))

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """Answers, and the loss."""
        return self.predict(view), self.loss(view, target)


class ClassifyHead(LinearHead):
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

    @property
    def readout(self) -> Readout:
        """Gives logits."""
        return self.logits

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(x_BO, target["y"], ignore_index=-1, reduction="none", label_smoothing=self.label_smoothing)

    def answers(self, x_BO: Tensor) -> Tensor:
        """Probabilities, (B, C)."""
        return (x_BO / self.temperature).softmax(1)


class LabelHead(LinearHead):
    """Any of K labels. Target: `y` (B, K) int64, 1 and 0, and -1 where it is not known; `weight` (B,).

    Args:
        width: D of the fused tokens.
        labels: K.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, labels: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.logits = Readout(width, labels, dropout)

    @property
    def readout(self) -> Readout:
        """Gives logits."""
        return self.logits

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Binary cross-entropy; of a row, the mean over the labels that are known."""
        y_BK, known_BK = target["y"].clamp(min=0).float(), (target["y"] >= 0).float()
        each_BK = binary_cross_entropy_with_logits(x_BO, y_BK, weight=known_BK, reduction="none")
        return each_BK.sum(1) / known_BK.sum(1).clamp(min=1)

    def answers(self, x_BO: Tensor) -> Tensor:
        """Probabilities, (B, K)."""
        return torch.sigmoid(x_BO)


class RegressHead(LinearHead):
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

    @property
    def readout(self) -> Readout:
        """Gives one number, in units of `std`."""
        return self.standard

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """The error in units of `std`."""
        error = huber_loss if self.kind == "huber" else mse_loss
        return error(x_BO[:, 0], target["z"], reduction="none")

    def answers(self, x_BO: Tensor) -> Tensor:
        """Numbers in the table's own units, (B,)."""
        return x_BO[:, 0] * self.std + self.mean
