"""Trials: many settings of one model at once. Where backbones stay as they are, the weights of all trials are one matrix, a row a trial, and
each step is one batched product; every trial ends where the loop would end that tries it alone.

Shape letters: T trials, P weights of a trial, B rows, D width, O numbers a row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import linear

from omnitune.data.batches import Question
from omnitune.data.held import Held
from omnitune.nn.heads import LinearHead
from omnitune.nn.tokens import Batch, Tokens
from omnitune.recipe import Recipe, Train
from omnitune.training import optim
from omnitune.training.device import autocast, random_states, set_random_states
from omnitune.training.model import Model
from omnitune.training.step import Progress, candidates

Metric = Callable[[np.ndarray[Any, Any]], float]
ANSWERS = 2**24
"""Numbers that validation holds at once."""
WEIGHTS = 2**27
"""Weights of all trials that are stacked together; the optimiser needs some six times their room."""


def refusal(model: Model, recipe: Recipe) -> str | None:
    """Why trials of `recipe` cannot learn at once; None where they can."""
    if any(p.requires_grad for backbone in model.backbones.values() for p in backbone.parameters()):
        return "weights of a backbone learn"
    if not model.fusion.pools:
        return f"fusion {recipe.fusion.kind} reads single tokens"
    if not all(isinstance(model.head(task), LinearHead) for task in recipe.tasks):
        return "a head is more than one layer"
    if recipe.train.minutes:
        return "train.minutes ties the rate to the clock"
    if recipe.train.optimizer not in optim.PROPORTIONAL:
        return f"the steps of {recipe.train.optimizer} depend on the weights"
    return None


def at_once(model: Model) -> int:
    """How many trials fit into memory together."""
    return max(1, WEIGHTS // max(1, sum(p.numel() for p in model.learning().values())))


@dataclass
class Trial:
    """One setting, as it learns.

    Args:
        recipe: with the settings of this trial, without `auto`.
        model: which the weights are of.
        higher: whether more is better in `train.stop_on`.
        steps: that it takes at most.
        progress: see `Progress`.
        kept: the weights of its best rounds of validation.
        failed: why it ended before it was done.
    """

    recipe: Recipe
    model: Model
    higher: bool
    steps: int
    progress: Progress = field(default_factory=Progress)
    kept: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    failed: str = ""

    @property
    def train(self) -> Train:
        """How its weights move."""
        return self.recipe.train

    def running(self) -> bool:
        """Whether it learns still."""
        return not self.progress.stopped

    def candidates(self) -> list[dict[str, Tensor]]:
        """See `step.candidates`."""
        return candidates(self.progress, self.kept)

    def put(self, weights: dict[str, Tensor]) -> None:
        """Sets the learning weights of the model, and the dropout of this trial."""
        self.model.put(weights)
        set_dropout(self.model, self.recipe)


def set_dropout(model: Model, recipe: Recipe) -> None:
    """The dropout of the heads becomes that of the tasks."""
    for name, task in recipe.tasks.items():
        head = model.head(name)
        if isinstance(head, LinearHead) and hasattr(task, "dropout"):
            head.readout.dropout.p = task.dropout


@dataclass
class Group:
    """Trials of one dropout, side by side in the stack; they share their masks, and draw them as each alone would."""

    part: slice
    recipe: Recipe
    random: list[Tensor]


class Stack:
    """Trials that learn at once.

    Args:
        model: as each of them starts, on its device; see `refusal`.
        recipes: one a trial, without `auto`; they may differ in rates, decay, epochs and the dropout of heads.
        batches: of training rows.
        validation: of validation rows.
        metric: of `train.stop_on`, from answers on the validation rows; None where that is the loss.
        higher: whether more is better in it.
    """

    def __init__(self, model: Model, recipes: Sequence[Recipe], batches: Held, validation: Held, metric: Metric | None, higher: bool) -> None:
        assert refusal(model, recipes[0]) is None
        self.model, self.batches, self.validation, self.metric = model, batches, validation, metric
        self.trials = [Trial(recipe, model, higher, max(1, math.ceil(float(recipe.train.epochs) * len(batches)))) for recipe in recipes]
        self.stacked = sorted(self.trials, key=lambda trial: _dropouts(trial.recipe))  # so that those of one dropout are side by side
        self.first, self.weights = recipes[0].train, {name: task.weight for name, task in recipes[0].tasks.items()}
        self.every = max(1, round(self.first.validate_every * len(batches)))
        self._stack()
        self.groups = [Group(part, self.stacked[part.start].recipe, random_states(model.device)) for part in _parts(self.stacked)]
        self.below = _Below(model)
        self.lower = [name for name in self.leaves if not name.startswith("heads.")]
        self.plain = all(name.startswith("fusion.stand_ins.") for name in self.lower)
        self.names = {id(p): name for name, p in model.learning().items()}

    def _stack(self) -> None:
        """Weights, gradients and rates, (T, P); and of each parameter a view (T, ...) that learns."""
        learning, trials = self.model.learning(), len(self.stacked)
        self.theta_TP = torch.cat([p.detach().reshape(-1) for p in learning.values()]).repeat(trials, 1)
        self.gradient_TP, self.rates_TP, self.decays_TP = (torch.zeros_like(self.theta_TP) for _ in range(3))
        self.step_TP = nn.Parameter(torch.zeros_like(self.theta_TP))
        self.step_TP.grad = self.gradient_TP
        self.optimizer = optim.direction(self.step_TP, self.first)
        self.places, self.leaves = dict[str, slice](), dict[str, Tensor]()
        end = 0
        for name, p in learning.items():
            self.places[name] = slice(end, end := end + p.numel())
            view = lambda whole_TP, place=self.places[name], p=p: whole_TP[:, place].view(trials, *p.shape)  # noqa: E731
            self.leaves[name] = view(self.theta_TP).detach().requires_grad_()
            self.leaves[name].grad = view(self.gradient_TP)
        names = {id(p): name for name, p in learning.items()}
        for t, trial in enumerate(self.stacked):
            for group in optim.groups(self.model, trial.train):
                for p in group["params"]:
                    self.rates_TP[t, self.places[names[id(p)]]] = group["lr"]
                    self.decays_TP[t, self.places[names[id(p)]]] = group["weight_decay"]

    def run(self) -> list[Trial]:
        """All trials, in the order of `recipes`, learned to their ends."""
        epoch = step = 0
        self._mode(True)
        while any(trial.running() for trial in self.stacked):
            for question in self.batches.epoch(epoch):
                self._learn(question, step)
                step += 1
                for trial in self.stacked:
                    if trial.running():
                        trial.progress.step = step
                self._validate([t for t in self.stacked if t.running() and (step % self.every == 0 or step >= t.steps)])
                if not any(trial.running() for trial in self.stacked):
                    break
            epoch += 1
        return self.trials

    # One step

    def _learn(self, question: Question, step: int) -> None:
        self.gradient_TP.zero_()
        losses_T = self._gradients(question)
        norms_T = self.gradient_TP.norm(dim=1)
        fine_T = losses_T.isfinite() & norms_T.isfinite()
        if not fine_T.all():
            self._fail(fine_T, step)
        if self.first.clip:
            self.gradient_TP *= (self.first.clip / (norms_T + 1e-6)).clamp(max=1)[:, None]
        self._move(step)

    @torch.no_grad()
    def _move(self, step: int) -> None:
        factors = [optim.rate(t.train, min(1.0, step / t.steps), t.steps) if t.running() else 0.0 for t in self.stacked]
        self.step_TP.zero_()
        self.optimizer.step()
        now_TP = self.rates_TP * torch.tensor(factors, device=self.theta_TP.device)[:, None]
        self.theta_TP.addcmul_(self.theta_TP, now_TP * self.decays_TP, value=-1).addcmul_(now_TP, self.step_TP)

    def _fail(self, fine_T: Tensor, step: int) -> None:
        """Trials whose numbers are no longer finite end here; theirs must not touch their rows any more."""
        for t, fine in enumerate(fine_T.tolist()):
            if not fine:
                self.gradient_TP[t] = 0.0
                trial = self.stacked[t]
                if trial.running():
                    trial.failed = trial.progress.stopped = f"the loss or the gradient is no longer finite in step {step + 1}"

    def _gradients(self, question: Question) -> Tensor:
        """Adds the gradients of the whole batch, in parts of `micro_batch`; the losses of all trials, (T,)."""
        micro = int(self.first.micro_batch)
        counts = {task: target["weight"].sum().clamp(min=1e-12) for task, (_, target) in question.asked.items()}
        total_T = torch.zeros(len(self.stacked), device=self.theta_TP.device)
        for start in range(0, len(question.rows), micro):
            part = (question if micro >= len(question.rows) else question.part(start, start + micro)).to(self.model.device)
            losses = self._losses(part, self._drawn(part))
            loss_T = torch.stack([self.weights[task] * loss_T / counts[task] for task, loss_T in losses.items()]).sum(0)
            loss_T.sum().backward()  # type: ignore[no-untyped-call]
            total_T += loss_T.detach()
        return total_T

    # From a batch to losses

    def _losses(self, question: Question, numbers: dict[str, Tensor]) -> dict[str, Tensor]:
        """Of each task, the weighted sum over rows, (T,)."""
        found = {}
        for task, (_, target) in question.asked.items():
            x_TBO = numbers[task]
            again = {name: tensor.repeat(len(x_TBO), *[1] * (tensor.ndim - 1)) for name, tensor in target.items()}
            rows_TB = self._head(task).losses(x_TBO.flatten(0, 1), again).view(x_TBO.shape[:2])
            found[task] = (rows_TB * target["weight"]).sum(1)
        return found

    def _drawn(self, question: Question) -> dict[str, Tensor]:
        """Of each task, what the heads in training say, (T, B, O)."""
        streams, found = self._streams(question), []
        outside = random_states(self.model.device)
        for group in self.groups:
            set_random_states(group.random)
            set_dropout(self.model, group.recipe)
            found.append(self._numbers(question, streams, group.part))
            group.random = random_states(self.model.device)
        set_random_states(outside)
        return {task: torch.cat([numbers[task] for numbers in found]) for task in question.asked}

    @torch.no_grad()
    def _streams(self, question: Question) -> dict[str, Tokens]:
        """The tokens of inputs of which nothing learns."""
        batch = _batch(question)
        with autocast(self.model.device, self.first.precision):
            return {name: self.model.tokens(name, batch).only(batch.inputs[name]["present"]) for name in self.model.backbones}

    def _numbers(self, question: Question, streams: dict[str, Tokens], part: slice) -> dict[str, Tensor]:
        with autocast(self.model.device, self.first.precision):
            x = self._fused(_batch(question), streams, part).float()
        return {task: self._read(task, x, part) for task in question.asked}

    def _fused(self, batch: Batch, streams: dict[str, Tokens], part: slice) -> Tensor:
        """What the heads of some trials read: (T, B, D); (B, D) where it is the same for all."""
        if self.plain and all(stream.present.all() for stream in streams.values()):
            with torch.no_grad():
                return self.below(batch, streams)  # type: ignore[no-any-return]
        lower = {f"model.{name}": self.leaves[name][part] for name in self.lower}
        return vmap(lambda own: functional_call(self.below, own, (batch, streams)), randomness="same")(lower)  # type: ignore[no-any-return]

    def _read(self, task: str, x: Tensor, part: slice) -> Tensor:
        """What the heads of some trials give, (T, B, O)."""
        readout = self._head(task).readout
        w_TOD, b_TO = (self.leaves[self.names[id(p)]][part] for p in (readout.linear.weight, readout.linear.bias))
        with torch.autocast(x.device.type, enabled=False):
            if x.ndim == 2:
                x_BO = linear(readout.dropout(x), w_TOD.flatten(0, 1), b_TO.flatten())
                return x_BO.view(len(x), *b_TO.shape).transpose(0, 1)
            return torch.baddbmm(b_TO[:, None], x * readout.dropout(torch.ones_like(x[0])), w_TOD.transpose(1, 2))

    def _head(self, task: str) -> LinearHead:
        head = self.model.head(task)
        assert isinstance(head, LinearHead)
        return head

    def _mode(self, training: bool) -> None:
        """Backbones stay in evaluation, since nothing of them learns."""
        self.model.eval()
        for name, module in self.model.named_children():
            if name != "encoders":
                module.train(training)

    # Validation

    @torch.no_grad()
    def _validate(self, due: list[Trial]) -> None:
        if due:
            self._mode(False)
            values = self._values()
            for trial in due:
                self._note(trial, values[self.stacked.index(trial)])
            self._mode(True)

    def _values(self) -> list[float]:
        """`train.stop_on` of every trial."""
        sums, counts, answers = dict[str, Any](), dict[str, Any](), list[Tensor]()
        watched = self.first.stop_on.rpartition(".")[0]
        size = max(1, ANSWERS // (len(self.stacked) * int(self.model.fusion.width)))
        for start in range(0, len(self.validation.rows), size):
            question = self.validation.question(self.validation.rows[start : start + size]).to(self.model.device)
            numbers = self._numbers(question, self._streams(question), slice(None))
            for task, loss_T in self._losses(question, numbers).items():
                sums[task] = sums.get(task, 0.0) + loss_T.double()
                counts[task] = counts.get(task, 0.0) + float(question.asked[task][1]["weight"].sum())
            if self.metric:
                x_TBO = numbers[watched]
                answers.append(self._head(watched).answers(x_TBO.flatten(0, 1)).unflatten(0, x_TBO.shape[:2]))
        if self.metric:
            return [self.metric(p) for p in torch.cat(answers, 1).cpu().numpy()]
        asked = [task for task, count in counts.items() if count]
        if not asked:
            return [math.nan] * len(self.stacked)
        return torch.stack([self.weights[task] * sums[task] / counts[task] for task in asked]).sum(0).tolist()  # type: ignore[no-any-return]

    def _note(self, trial: Trial, value: float) -> None:
        at = trial.progress
        if not math.isnan(value):
            at.note(value if trial.higher else -value, trial.train)
            if at.step in {step for _, step in at.best}:
                row_P = self.theta_TP[self.stacked.index(trial)].clone()
                trial.kept[at.step] = {name: row_P[self.places[name]].view_as(p) for name, p in self.model.learning().items()}
            trial.kept = {step: trial.kept[step] for _, step in at.best}
        if trial.running() and at.step >= trial.steps:
            at.stopped = "all epochs done"


class _Below(nn.Module):
    """What heads read: small encoders and the fusion; `streams` are the tokens of inputs of which nothing learns."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, streams: dict[str, Tokens]) -> Tensor:
        """(B, D)."""
        others = {name: self.model.tokens(name, batch).only(batch.inputs[name]["present"]) for name in self.model.inputs if name not in streams}
        fused: Tokens = self.model.fusion({name: streams[name] if name in streams else others[name] for name in self.model.inputs})
        return fused.pooled()


def _batch(question: Question) -> Batch:
    return next(iter(question.asked.values()))[0]


def _dropouts(recipe: Recipe) -> tuple[float, ...]:
    return tuple(getattr(task, "dropout", 0.0) for task in recipe.tasks.values())


def _parts(trials: list[Trial]) -> list[slice]:
    """Where trials of like dropout stand."""
    starts = [i for i, t in enumerate(trials) if not i or _dropouts(t.recipe) != _dropouts(trials[i - 1].recipe)]
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(trials)], strict=True)]
