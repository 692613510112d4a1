"""Trials: many settings of one model at once. Where backbones stay as they are, each step of all trials is one batched product, and every
trial ends where the loop would end that tries it alone.

Shape letters: T trials, P weights of a trial.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from omnitune.data.batches import Question
from omnitune.data.held import Held
from omnitune.nn.heads import LinearHead
from omnitune.recipe import Recipe, Train
from omnitune.training import optim
from omnitune.training.model import Model
from omnitune.training.stacked import Stacked, dropouts, set_dropout
from omnitune.training.step import Progress, candidates

Metric = Callable[[np.ndarray[Any, Any]], float]
ANSWERS = 2**24
"""Numbers that validation holds at once."""
WEIGHTS = 2**27
"""Weights of all trials that are stacked together; the optimiser needs some six times their room."""

LAYER = 2
"""Tensors of a linear layer: its weight and its bias."""


def refusal(model: Model, recipe: Recipe) -> str | None:
    """Why trials of `recipe` cannot learn at once; None where they can."""
    if any(p.requires_grad for backbone in model.backbones.values() for p in backbone.parameters()):
        return "weights of a backbone learn"
    if not model.fusion.pools:
        return f"fusion {recipe.fusion.kind} reads single tokens"
    if getattr(model.fusion, "own", 0.0):
        return f"fusion {recipe.fusion.kind} trains a head of each input as well"
    if not all(isinstance(model.head(task), LinearHead) for task in recipe.tasks):
        return "a head is more than one layer"
    if any(len(list(model.head(task).parameters())) > LAYER for task in recipe.tasks):
        return "a head learns more than its layer"
    if recipe.train.balance != "static":
        return f"train.balance {recipe.train.balance} learns or compares tasks as it goes"
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

    @property
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

    def note(self, value: float, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Remembers a round of validation, as the loop does."""
        at = self.progress
        if not math.isnan(value):
            at.note(value if self.higher else -value, self.train)
            if at.step in {step for _, step in at.best}:
                self.kept[at.step] = weights()
            self.kept = {step: self.kept[step] for _, step in at.best}
        if self.running and at.step >= self.steps:
            at.stopped = "all epochs done"


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
        self.batches, self.validation, self.metric = batches, validation, metric
        self.asked = [Trial(recipe, model, higher, max(1, math.ceil(float(recipe.train.epochs) * len(batches)))) for recipe in recipes]
        self.trials = sorted(self.asked, key=lambda trial: dropouts(trial.recipe))
        self.train, self.weights = recipes[0].train, {name: task.weight for name, task in recipes[0].tasks.items()}
        self.every = max(1, round(self.train.validate_every * len(batches)))
        self.stacked = Stacked(model, [trial.recipe for trial in self.trials])
        self.step_TP = nn.Parameter(torch.zeros_like(self.stacked.theta_TP))
        self.step_TP.grad = self.stacked.gradient_TP
        self.optimizer = optim.direction(self.step_TP, self.train)
        self._set_rates()

    def _set_rates(self) -> None:
        """Highest rate and decay of every weight of every trial, (T, P)."""
        stacked = self.stacked
        self.rates_TP, self.decays_TP = torch.zeros_like(stacked.theta_TP), torch.zeros_like(stacked.theta_TP)
        for t, trial in enumerate(self.trials):
            for group in optim.groups(stacked.model, trial.train):
                for p in group["params"]:
                    place = stacked.places[stacked.names[id(p)]]
                    self.rates_TP[t, place], self.decays_TP[t, place] = group["lr"], group["weight_decay"]

    def run(self) -> list[Trial]:
        """All trials, in the order of `recipes`, learned to their ends."""
        self.stacked.model.eval()
        self.stacked.train(True)
        epoch = step = 0
        while any(trial.running for trial in self.trials):
            for question in self.batches.epoch(epoch):
                self._learn(question, step)
                step += 1
                self._count(step)
                if not any(trial.running for trial in self.trials):
                    break
            epoch += 1
        self.stacked.train(False)
        return self.asked

    def _count(self, step: int) -> None:
        due = {}
        for t, trial in enumerate(self.trials):
            if trial.running:
                trial.progress.step = step
                if step % self.every == 0 or step >= trial.steps:
                    due[t] = trial
        values = self._values() if due else []
        for t, trial in due.items():
            trial.note(values[t], partial(self.stacked.row, t))

    # One step

    def _learn(self, question: Question, step: int) -> None:
        gradient_TP = self.stacked.gradient_TP.zero_()
        losses_T = self._gradients(question)
        norms_T = gradient_TP.norm(dim=1)
        if not torch.isfinite(losses_T + norms_T).all():
            self._fail(losses_T.isfinite() & norms_T.isfinite(), step)
        if self.train.clip:
            gradient_TP *= (self.train.clip / (norms_T + 1e-6)).clamp(max=1)[:, None]
        self._move(step)

    def _gradients(self, question: Question) -> Tensor:
        """Adds the gradients of the whole batch, in parts of `micro_batch`; the losses of all trials, (T,)."""
        micro, stacked = int(self.train.micro_batch), self.stacked
        counts = {task: target["weight"].sum().clamp(min=1e-12) for task, (_, target) in question.asked.items()}
        total_T = torch.zeros(len(self.trials), device=stacked.device)
        for start in range(0, len(question.rows), micro):
            part = (question if micro >= len(question.rows) else question.part(start, start + micro)).to(stacked.device)
            losses = stacked.losses(part, stacked.drawn(part))
            loss_T = torch.stack([self.weights[task] * loss_T / counts[task].to(stacked.device) for task, loss_T in losses.items()]).sum(0)
            stacked.add_gradients(loss_T.sum())
            total_T += loss_T.detach()
        return total_T

    def _fail(self, fine_T: Tensor, step: int) -> None:
        """Trials whose numbers are no longer finite end here."""
        for t, fine in enumerate(fine_T.tolist()):
            if not fine:
                self.stacked.gradient_TP[t] = 0.0
                trial = self.trials[t]
                if trial.running:
                    trial.failed = trial.progress.stopped = f"the loss or the gradient is no longer finite in step {step + 1}"

    @torch.no_grad()
    def _move(self, step: int) -> None:
        factors = [optim.rate(t.train, min(1.0, step / t.steps), t.steps) if t.running else 0.0 for t in self.trials]
        self.step_TP.zero_()
        self.optimizer.step()
        theta_TP, now_TP = self.stacked.theta_TP, self.rates_TP * torch.tensor(factors, device=self.stacked.device)[:, None]
        theta_TP.addcmul_(theta_TP, now_TP * self.decays_TP, value=-1).addcmul_(now_TP, self.step_TP)

    # Validation

    @torch.no_grad()
    def _values(self) -> list[float]:
        """`train.stop_on` of every trial."""
        stacked, rows = self.stacked, self.validation.rows
        stacked.train(False)
        sums, counts, answers = dict[str, Tensor](), dict[str, float](), list[Tensor]()
        watched = self.train.stop_on.rpartition(".")[0]
        size = max(1, ANSWERS // (len(self.trials) * int(stacked.model.fusion.width)))
        for start in range(0, len(rows), size):
            question = self.validation.question(rows[start : start + size]).to(stacked.device)
            numbers = stacked.numbers(question)
            if self.metric:
                x_TBO = numbers[watched]
                said = stacked.heads[watched].answers(x_TBO.flatten(0, 1))
                answers.append(said.view(*x_TBO.shape[:2], *said.shape[1:]))
                continue
            for task, loss_T in stacked.losses(question, numbers).items():
                sums[task] = sums.get(task, torch.zeros_like(loss_T).double()) + loss_T
                counts[task] = counts.get(task, 0.0) + float(question.asked[task][1]["weight"].sum())
        stacked.train(True)
        if self.metric:
            return [self.metric(p) for p in torch.cat(answers, 1).cpu().numpy()]
        means = [self.weights[task] * sums[task] / count for task, count in counts.items() if count]
        return torch.stack(means).sum(0).tolist() if means else [math.nan] * len(self.trials)
