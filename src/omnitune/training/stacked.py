"""Stacked: the learning weights of one model many times over, and what each copy says of a batch, in batched products.

Shape letters: T copies, P weights of one, B rows, D width, O numbers a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import linear

from omnitune.data.batches import Question
from omnitune.nn.heads import LinearHead
from omnitune.nn.tokens import Batch, Tokens
from omnitune.recipe import Recipe
from omnitune.training.device import autocast, random_states, set_random_states
from omnitune.training.model import Model, slug


def set_dropout(model: Model, recipe: Recipe) -> None:
    """The dropout of the heads becomes that of the tasks."""
    for name, task in recipe.tasks.items():
        head = model.head(name)
        if isinstance(head, LinearHead) and hasattr(task, "dropout"):
            head.readout.dropout.p = task.dropout


def dropouts(recipe: Recipe) -> tuple[float, ...]:
    """Of every head."""
    return tuple(getattr(task, "dropout", 0.0) for task in recipe.tasks.values())


@dataclass
class Group:
    """Copies of one dropout, side by side; they share their masks, and draw them as each alone would."""

    part: slice
    dropouts: tuple[float, ...]
    random: list[Tensor]


class Stacked:
    """Copies of what learns in a model. No weight of a backbone does, the fusion reads one vector of each input, and heads are linear.

    Args:
        model: as every copy starts, on its device.
        recipes: one a copy, those of one dropout side by side.

    Attributes:
        theta_TP: the weights, a row a copy.
        gradient_TP: theirs.
    """

    def __init__(self, model: Model, recipes: Sequence[Recipe]) -> None:
        self.model, self.device, self.precision = model, model.device, recipes[0].train.precision
        self.learning, self.frozen = model.learning(), list(model.pretrained)
        self.theta_TP = torch.cat([p.detach().reshape(-1) for p in self.learning.values()]).repeat(len(recipes), 1)
        self.gradient_TP = torch.zeros_like(self.theta_TP)
        self.places, self.leaves, end = dict[str, slice](), dict[str, Tensor](), 0
        for name, p in self.learning.items():
            self.places[name] = slice(end, end := end + p.numel())
            self.leaves[name] = self._view(self.theta_TP, name).detach().requires_grad_()
        self.heads = {task: head for task in model.tasks if isinstance(head := model.head(task), LinearHead)}
        self.names = {id(p): name for name, p in self.learning.items()}
        self.lower = [name for name in self.leaves if not name.startswith("heads.")]
        self.plain = all(name.startswith(("fusion.stand_ins.", "fusion.nothing")) for name in self.lower)
        self.below = _Below(model)
        starts = [i for i, r in enumerate(recipes) if not i or dropouts(r) != dropouts(recipes[i - 1])]
        ends = [*starts[1:], len(recipes)]
        self.groups = [Group(slice(i, j), dropouts(recipes[i]), random_states(self.device)) for i, j in zip(starts, ends, strict=True)]

    def _view(self, whole_TP: Tensor, name: str) -> Tensor:
        return whole_TP[:, self.places[name]].view(len(whole_TP), *self.learning[name].shape)

    def row(self, copy: int) -> dict[str, Tensor]:
        """The weights of one copy now, by name."""
        theta_P = self.theta_TP[copy].clone()
        return {name: theta_P[self.places[name]].view_as(p) for name, p in self.learning.items()}

    def add_gradients(self, loss: Tensor) -> None:
        """Adds those of the sum of all copies' losses, in which each copy's weights have a part of their own."""
        found = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
        for name, gradient in zip(self.leaves, found, strict=True):
            if gradient is not None:
                self._view(self.gradient_TP, name).add_(gradient)

    def train(self, training: bool) -> None:
        """Backbones stay in evaluation, since nothing of them learns; small encoders have no mode."""
        self.model.fusion.train(training)
        self.model.heads.train(training)

    def losses(self, question: Question, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of each task and copy, the weighted sum over rows, (T,)."""
        found = {}
        for task, (_, target) in question.asked.items():
            x_TBO = numbers[task]
            again = {name: tensor.repeat(len(x_TBO), *[1] * (tensor.ndim - 1)) for name, tensor in target.items()}
            rows_TB = self.heads[task].losses(x_TBO.flatten(0, 1), again).view(x_TBO.shape[:2])
            found[task] = rows_TB @ target["weight"]
        return found

    def drawn(self, question: Question) -> dict[str, Tensor]:
        """Of each task what the heads give in training, (T, B, O), every copy with the luck that it would have alone."""
        seen, found, outside = self._seen(question), [], random_states(self.device)
        for group in self.groups:
            set_random_states(group.random)
            for head, share in zip(self.heads.values(), group.dropouts, strict=True):
                head.readout.dropout.p = share
            found.append(self._numbers(question, seen, group.part))
            group.random = random_states(self.device)
        set_random_states(outside)
        return {task: torch.cat([numbers[task] for numbers in found]) for task in question.asked}

    def numbers(self, question: Question) -> dict[str, Tensor]:
        """Of each task what the heads give in evaluation, (T, B, O)."""
        return self._numbers(question, self._seen(question), slice(None))

    @torch.no_grad()
    def _seen(self, question: Question) -> dict[str, Tokens] | Tensor:
        """What is the same for all copies: what heads read, (B, D), or the tokens of the inputs of which nothing learns.

        The former where of one input nothing but the stand-in for missing values learns, and no value is missing; no luck is in it then.
        """
        batch = _batch(question)
        with autocast(self.device, self.precision):
            streams = {name: tokens.only(batch.inputs[name]["present"]) for name, tokens in self.model.read(self.frozen, batch).items()}
            same = self.plain and all(bool(stream.mask_BL.any(1).all()) for stream in streams.values())
            return self.below(batch, streams).float() if same else streams

    def _numbers(self, question: Question, seen: dict[str, Tokens] | Tensor, part: slice) -> dict[str, Tensor]:
        x = seen if isinstance(seen, Tensor) else self._fused(_batch(question), seen, part)
        return {task: self._read(task, x, part) for task in question.asked}

    def _fused(self, batch: Batch, streams: dict[str, Tokens], part: slice) -> Tensor:
        """What the heads of some copies read, (T, B, D)."""
        lower = {name: self.leaves[name][part] for name in self.lower}
        with autocast(self.device, self.precision):
            x_TBD: Tensor = vmap(lambda own: functional_call(self.below, own, (batch, streams)), randomness="same")(lower)
        return x_TBD.float()

    def _read(self, task: str, x: Tensor, part: slice) -> Tensor:
        readout = self.heads[task].readout
        w_TOD, b_TO = (self.leaves[self.names[id(p)]][part] for p in (readout.linear.weight, readout.linear.bias))
        if x.ndim == 2:
            x_BO = linear(readout.dropout(x), w_TOD.flatten(0, 1), b_TO.flatten())
            return x_BO.view(len(x), *b_TO.shape).transpose(0, 1)
        return torch.baddbmm(b_TO[:, None], x * readout.dropout(torch.ones_like(x[0])), w_TOD.transpose(1, 2))


class _Below(nn.Module):
    """What heads read: small encoders and the fusion, under the names they have in the model."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.inputs, small = model.inputs, [name for name in model.inputs if name not in model.pretrained]
        self.slugs = {name: slug(name) for name in small}
        self.encoders = nn.ModuleDict({slug(name): model.encoder(name) for name in small})
        self.fusion = model.fusion

    def forward(self, batch: Batch, streams: dict[str, Tokens]) -> Tensor:
        """(B, D), from the tokens of the other inputs."""
        read = {name: self.encoders[place](batch.inputs[name]).only(batch.inputs[name]["present"]) for name, place in self.slugs.items()}
        fused: Tokens = self.fusion({name: streams[name] if name in streams else read[name] for name in self.inputs})
        return fused.pooled()


def _batch(question: Question) -> Batch:
    return next(iter(question.asked.values()))[0]
