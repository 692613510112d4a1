"""Heads: from tokens to answers and losses. Both are float32, whatever the precision of the layers before."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, logsigmoid, nll_loss, pad

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


class ClassHead(LinearHead, ABC):
    """One of C classes, with probabilities. Target: `y` (B,) int64, -1 where it is not known; `weight` (B,).

    Args:
        width: D of the fused tokens.
        outputs: O, of the linear layer.
        dropout: before the linear layer.
    """

    temperature: Tensor
    """Divides the log-probabilities of predictions, not those of the loss; fitted after training (Guo et al. 2017)."""

    def __init__(self, width: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.logits = Readout(width, outputs, dropout)
        self.register_buffer("temperature", torch.tensor(1.0))

    @property
    def readout(self) -> Readout:
        """Gives logits."""
        return self.logits

    @abstractmethod
    def scores(self, x_BO: Tensor) -> Tensor:
        """Log-probabilities of the classes but for a constant of each row, (B, C), from what `readout` gave."""

    def answers(self, x_BO: Tensor) -> Tensor:
        """Probabilities, (B, C)."""
        return (self.scores(x_BO) / self.temperature).softmax(1)


class ClassifyHead(ClassHead):
    """Classes in no order.

    Args:
        width: D of the fused tokens.
        classes: C.
        label_smoothing: share of the truth spread over all classes (Szegedy et al. 2016, section 7).
        dropout: before the linear layer.
    """

    def __init__(self, width: int, classes: int, label_smoothing: float = 0.0, dropout: float = 0.0) -> None:
        super().__init__(width, classes, dropout)
        self.label_smoothing = label_smoothing

    def scores(self, x_BO: Tensor) -> Tensor:
        """The logits, one a class."""
        return x_BO

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Cross-entropy."""
        return cross_entropy(x_BO, target["y"], ignore_index=-1, reduction="none", label_smoothing=self.label_smoothing)


class OrdinalHead(ClassHead):
    """Classes that rise: where a number, linear in the tokens, lies among borders that are learned (proportional odds, McCullagh 1980). It starts
    with the shares of the training rows.

    Args:
        width: D of the fused tokens.
        shares: of each class, (C,), none 0.
        dropout: before the linear layer.
    """

    def __init__(self, width: int, shares: Sequence[float], dropout: float = 0.0) -> None:
        super().__init__(width, 1, dropout)
        borders = torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1].logit().float()
        self.lowest, self.gaps = nn.Parameter(borders[:1]), nn.Parameter(borders.diff().log())  # of the borders, so that they stay in order

    def scores(self, x_BO: Tensor) -> Tensor:
        """Log-probabilities of lying between two borders: sigmoid(a) - sigmoid(b) is sigmoid(a) sigmoid(-b) (1 - exp(b - a))."""
        gaps = self.gaps.exp()
        above_BC = self.lowest + pad(gaps.cumsum(0), (1, 0)) - x_BO  # (B, C - 1): from the number up to each border
        return pad(logsigmoid(above_BC), (0, 1)) + pad(logsigmoid(-above_BC), (1, 0)) + pad((-torch.expm1(-gaps)).log(), (1, 1))

    def losses(self, x_BO: Tensor, target: dict[str, Tensor]) -> Tensor:
        """Cross-entropy."""
        return nll_loss(self.scores(x_BO), target["y"], ignore_index=-1, reduction="none")


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
