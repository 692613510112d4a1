"""Balance: how the losses of several tasks become one gradient. All are exact across the parts of a batch.

Shape letters: T tasks that learn, P shared weights: those that learn below the heads.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake
from omnitune.recipe import Recipe, Train
from omnitune.training.apart import Apart, shared
from omnitune.training.model import Model


class Balance(nn.Module, ABC):
    """Fills in gradients, part by part of a batch. What it learns itself is saved with the run.

    Args:
        model: as it learns.
        weights: of the recipe, by task; a task of weight 0 does not learn.

    Attributes:
        learned: its own weights, (T,); None where it has none.
        rate: their peak learning rate; None: that of heads.
    """

    learned: nn.Parameter | None
    rate: float | None = None

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.register_parameter("learned", None)
        self.weights = weights
        self.names = [name for name, weight in weights.items() if weight]

    def start(self) -> None:
        """A batch begins."""

    @abstractmethod
    def add(self, shares: Mapping[str, Tensor], slopes: Sequence[Tensor] = ()) -> None:
        """Takes what one part adds to the mean loss of each task, and frees its graph.

        Args:
            shares: by task.
            slopes: weighted sums whose gradients are those of tasks that compare the rows of a batch, see `Gradients`; with `static` alone.
        """

    def finish(self, means: Mapping[str, float]) -> None:
        """All parts were added; `means`: the mean losses of those tasks that had an answer in the batch."""

    def settle(self) -> None:
        """The optimiser made its step."""

    def factors(self) -> dict[str, float]:
        """What the mean loss of each task is multiplied with now."""
        return dict(self.weights)


class Static(Balance):
    """The weights of the recipe."""

    def add(self, shares: Mapping[str, Tensor], slopes: Sequence[Tensor] = ()) -> None:
        """See `Balance`."""
        torch.stack([*(self.weights[task] * share for task, share in shares.items()), *slopes]).sum().backward()  # type: ignore[no-untyped-call]


class Uncertainty(Balance):
    """Each loss L counts exp(-s) L + s / 2, with the log-variance s learned, from 0 (Kendall, Gal, Cipolla 2018, https://arxiv.org/abs/1705.07115).

    The paper halves squared errors besides, which moves where s comes to rest by log 2 and nothing else.
    """

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        super().__init__(model, weights)
        self.learned = nn.Parameter(torch.zeros(len(self.names), device=model.device))

    def add(self, shares: Mapping[str, Tensor], slopes: Sequence[Tensor] = ()) -> None:
        """See `Balance`."""
        assert not slopes, "refused with the recipe"
        assert self.learned is not None
        precision_T = torch.exp(-self.learned)
        counted = [self.weights[task] * precision_T[i] * shares[task] for i, task in enumerate(self.names) if task in shares]
        if counted:
            torch.stack(counted).sum().backward()  # type: ignore[no-untyped-call]

    def finish(self, means: Mapping[str, float]) -> None:
        """Adds s / 2, once a batch, of those tasks that were asked."""
        assert self.learned is not None
        halves = [self.weights[task] * self.learned[i] / 2 for i, task in enumerate(self.names) if task in means]
        if halves:
            torch.stack(halves).sum().backward()  # type: ignore[no-untyped-call]

    def factors(self) -> dict[str, float]:
        """See `Balance`."""
        assert self.learned is not None
        return dict(self.weights) | {t: self.weights[t] * f for t, f in zip(self.names, torch.exp(-self.learned).tolist(), strict=True)}


class GradNorm(Balance):
    """Factors, of sum T, are learned so that the gradients of all tasks on the shared weights have norms that stand to each other as
    the tasks' relative losses to the power of 1.5: what learns slowly pulls more (Chen et al. 2018, https://arxiv.org/abs/1711.02257).

    All shared weights are compared, where the paper saves time by the last layer. A task without an answer in a batch is left out of it.
    """

    ALPHA = 1.5
    """Of the paper, section 5."""
    LEAST = 0.01
    """Of a factor: below 0 a task would be unlearned."""
    rate = 0.025
    first: Tensor
    """The loss of each task when it was first asked, (T,); NaN before."""

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        super().__init__(model, weights)
        self.learned = nn.Parameter(torch.ones(len(self.names), device=model.device))
        self.register_buffer("first", torch.full((len(self.names),), torch.nan, dtype=torch.float64))
        self.apart = Apart(model, self.names)

    def start(self) -> None:
        """See `Balance`."""
        self.apart.start()

    def add(self, shares: Mapping[str, Tensor], slopes: Sequence[Tensor] = ()) -> None:
        """See `Balance`."""
        assert not slopes, "refused with the recipe"
        factors = self.factors()
        self.apart.add({task: factors[task] * shares[task] for task in self.names if task in shares})

    def finish(self, means: Mapping[str, float]) -> None:
        """Gradients of the model, and of the factors: towards the norms that the tasks should have."""
        assert self.learned is not None
        self.apart.put(self.apart.gradients_TP.sum(0))
        asked = [i for i, task in enumerate(self.names) if task in means]
        loss_T = torch.tensor([means.get(task, torch.nan) for task in self.names], dtype=torch.float64)
        self.first = torch.where(self.first.isnan(), loss_T, self.first)
        ratio_A = (loss_T / self.first.clamp(min=1e-12))[asked]
        norm_A = self.apart.gradients_TP.norm(dim=1)[asked]
        wanted_A = norm_A.mean() * (ratio_A / ratio_A.mean().clamp(min=1e-12)).to(norm_A) ** self.ALPHA
        self.learned.grad = torch.zeros_like(self.learned)
        self.learned.grad[asked] = (norm_A - wanted_A).sign() * norm_A / self.learned.detach()[asked]

    @torch.no_grad()
    def settle(self) -> None:
        """The factors keep their sum."""
        assert self.learned is not None
        self.learned.clamp_(min=self.LEAST)
        self.learned.mul_(len(self.names) / self.learned.sum())

    def factors(self) -> dict[str, float]:
        """See `Balance`."""
        assert self.learned is not None
        return dict(self.weights) | {t: self.weights[t] * f for t, f in zip(self.names, self.learned.tolist(), strict=True)}


class PCGrad(Balance):
    """Of two tasks whose gradients on the shared weights point against each other, each gives up what it has along the other
    (Yu et al. 2020, https://arxiv.org/abs/2001.06782, algorithm 1; the order of the others is drawn)."""

    def __init__(self, model: Model, weights: Mapping[str, float]) -> None:
        super().__init__(model, weights)
        self.apart = Apart(model, self.names)

    def start(self) -> None:
        """See `Balance`."""
        self.apart.start()

    def add(self, shares: Mapping[str, Tensor], slopes: Sequence[Tensor] = ()) -> None:
        """See `Balance`."""
        assert not slopes, "refused with the recipe"
        self.apart.add({task: self.weights[task] * shares[task] for task in self.names if task in shares})

    def finish(self, means: Mapping[str, float]) -> None:
        """Projects, and adds up."""
        self.apart.put(projected(self.apart.gradients_TP))


def projected(gradients_TP: Tensor) -> Tensor:
    """The sum of gradients without their conflicts, (P,). Draws from torch's generator on the CPU."""
    squares, total_P = (gradients_TP**2).sum(1).tolist(), torch.zeros_like(gradients_TP[0])
    for i, gradient_P in enumerate(gradients_TP):
        kept_P = gradient_P.clone()
        for j in torch.randperm(len(squares)).tolist():
            along = float(kept_P @ gradients_TP[j]) if j != i else 0.0
            if along < 0:
                kept_P -= (along / squares[j]) * gradients_TP[j]
        total_P += kept_P
    return total_P


KINDS: dict[str, type[Balance]] = {"static": Static, "uncertainty": Uncertainty, "gradnorm": GradNorm, "pcgrad": PCGrad}


def balance(model: Model, train: Train, weights: Mapping[str, float]) -> Balance:
    """The one that the recipe names."""
    return KINDS[train.balance](model, weights)


def check(model: Model, recipe: Recipe) -> None:
    """Raises `Mistake` where gradients on shared weights are to be compared, and none learns but what stands for missing inputs."""
    compares = recipe.train.balance in ("gradnorm", "pcgrad")
    if compares and recipe.tuning.kind != "auto" and all(name.startswith(("fusion.stand_ins.", "fusion.nothing")) for name in shared(model)):
        wrong = f"{recipe.train.balance!r} compares tasks on the weights that they share, and {recipe.tuning.kind} lets none of these learn"
        raise Mistake("train.balance", wrong, "Choose static or uncertainty, or another tuning")
