"""The loop: a generator of steps. It knows no task, no modality and no tuning; what it is given decides whether it pre-trains or fine-tunes."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from omnitune.data.batches import Batches, Question
from omnitune.data.held import Held
from omnitune.errors import Mistake
from omnitune.recipe import Train
from omnitune.training import checkpoint, optim
from omnitune.training.balance import balance
from omnitune.training.device import out_of_memory, random_states, set_random_states
from omnitune.training.gradients import Gradients
from omnitune.training.model import Model
from omnitune.training.step import Progress, Step, Validation, candidates


class Diverged(Mistake):
    """A loss or a gradient is no longer finite."""


class Loop:
    """Trains `model` on `batches`.

    Args:
        model: on its device, with `requires_grad` set by the tuning.
        batches: of training rows.
        train: settings without `auto`.
        weights: factor of every task in the sum of mean losses, as the recipe has them; `train.balance` may learn others.
        validate: measures the validation rows: a dictionary with `loss` and `task.metric`; None where there are none.
        higher: whether more is better in `train.stop_on`.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        model: Model,
        batches: Batches | Held,
        train: Train,
        weights: dict[str, float],
        validate: Callable[[], Validation] | None = None,
        higher: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        assert isinstance(train.epochs, float) and isinstance(train.micro_batch, int), "auto values are resolved before"
        self.model, self.batches, self.train = model, batches, train
        self.validate, self.higher, self.clock = validate, higher, clock
        self.balance = balance(model, train, weights)
        self.optimizer = optim.optimizer(model, train, self.balance.learned, self.balance.rate)
        self.learning = list(model.learning().values())
        self.gradients = Gradients(model, self.balance, train.precision)
        self.progress = Progress(micro_batch=train.micro_batch)
        self.kept: dict[int, dict[str, Tensor]] = {}
        self.steps = max(1, math.ceil(train.epochs * len(batches)))
        self.every = max(1, round(train.validate_every * len(batches)))

    def __iter__(self) -> Iterator[Step]:
        at, began, ready = self.progress, self.clock() - self.progress.seconds, self.clock()
        self.model.train()  # walks through every module, so not in every step
        while not self._done():
            waiting = self.clock()
            if not at.batch:
                self.model.recall = {}  # what an epoch reads first goes on from nothing
            for question in self.batches.epoch(at.epoch, at.batch):
                at.idle += self.clock() - waiting
                lr = self._set_rate()
                losses, norm = self._learn(question)
                rate = len(question.rows) / (self.clock() - ready)
                at.step, at.batch, at.seconds = at.step + 1, at.batch + 1, self.clock() - began
                if at.batch == len(self.batches):
                    at.epoch, at.batch = at.epoch + 1, 0
                validation = self._validate() if at.step % self.every == 0 or self._done() else None
                at.seconds = self.clock() - began
                yield self._step(question, rate, losses, norm, lr, validation)
                if self._done():
                    return
                ready = waiting = self.clock()

    # One step

    def _set_rate(self) -> float:
        optim.set_rate(self.optimizer, self.train, self._share(), self.steps)
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def _share(self) -> float:
        clock = self.progress.seconds / (60 * self.train.minutes) if self.train.minutes else 0.0
        return min(1.0, max(self.progress.step / self.steps, clock))

    def _learn(self, question: Question) -> tuple[dict[str, float], float]:
        if not self.model.training:
            self.model.train()
        self.optimizer.zero_grad()
        losses = self._gradients(question)
        self._finite(losses, "loss", question)
        norm = optim.clip(self.learning, self.train.clip)
        self._finite({"": norm}, "gradient", question)
        optim.step(self.optimizer)
        self.balance.settle()
        return losses, norm

    def _gradients(self, question: Question) -> dict[str, float]:
        """Gradients of the whole batch, in parts that fit into memory."""
        while True:
            random, recall = random_states(self.model.device), self.model.recall
            try:
                return self.gradients.add(question, self.progress.micro_batch)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                self._halve(error)
            self.optimizer.zero_grad()
            set_random_states(random)
            self.model.recall = recall

    def _halve(self, error: Exception) -> None:
        if self.progress.micro_batch == 1:
            raise Mistake(
                "train", f"memory ends with a single row in it: {error}", "Use a smaller backbone, shorter inputs or checkpointing"
            ) from error
        self.progress.micro_batch //= 2
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def _finite(self, values: dict[str, float], what: str, question: Question) -> None:
        for task, value in values.items():
            if not math.isfinite(value):
                rows = ", ".join(str(row + 1) for row in dict.fromkeys(self.batches.origin(question.rows[:64]).tolist()))
                of = f" of task {task!r}" if task else ""
                raise Diverged(
                    f"train step {self.progress.step + 1}",
                    f"the {what}{of} is {value}; rows {rows}",
                    "Lower train.lr, or look at these rows for extreme values; the last checkpoint is whole",
                )

    # Validation, and when to stop

    def _validate(self) -> Validation | None:
        if self.validate is None:
            return None
        self.model.eval()
        found = self.validate()
        value = found[self.train.stop_on]
        if not math.isnan(value):  # a round that measured nothing says nothing: neither kept nor waited for
            self._keep(value if self.higher else -value)
        return found

    def _keep(self, score: float) -> None:
        at = self.progress
        at.note(score, self.train)
        if at.step in {step for _, step in at.best}:
            self.kept[at.step] = {name: p.detach().cpu().clone() for name, p in self.model.learning().items()}
        self.kept = {step: self.kept[step] for _, step in at.best}

    def _done(self) -> bool:
        at = self.progress
        if not at.stopped and at.step >= self.steps:
            at.stopped = "all epochs done"
        if not at.stopped and at.step and self._share() >= 1.0:
            at.stopped = f"{self.train.minutes} minutes are over"
        return bool(at.stopped)

    def _step(self, question: Question, rate: float, losses: dict[str, float], norm: float, lr: float, validation: Validation | None) -> Step:
        at, rows = self.progress, len(question.rows)
        epoch = at.epoch + at.batch / len(self.batches)
        return Step(at.step, epoch, at.seconds, self._share(), rows, rate, losses, lr, norm, at.micro_batch, validation, self._done(), self.state)

    def facts(self) -> dict[str, Any]:
        """For the report: the factors of losses, where they were learned."""
        learned = {} if self.balance.learned is None else self.balance.factors()
        return {"weights of tasks at the end": ", ".join(f"{task} {factor:.3g}" for task, factor in learned.items())} if learned else {}

    # Best weights, saving and going on

    def candidates(self) -> list[dict[str, Tensor]]:
        """See `step.candidates`."""
        return candidates(self.progress, self.kept)

    def put(self, weights: dict[str, Tensor]) -> None:
        """Sets the learning weights."""
        self.model.put(weights)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything needed to go on bit for bit, as tensors and plain values."""
        tensors, optimizer = checkpoint.pack_optimizer(self.optimizer)
        tensors |= {f"model.{name}": p for name, p in self.model.learning().items()}
        tensors |= {f"best.{step}.{name}": t for step, weights in self.kept.items() for name, t in weights.items()}
        tensors |= {f"recall.{name}": t for name, t in self.model.recalled().items()}
        tensors |= {f"balance.{name}": t for name, t in self.balance.state_dict().items()}
        tensors |= {"random.cpu": torch.get_rng_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return tensors, {"progress": asdict(self.progress), "optimizer": optimizer}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.progress = Progress(**facts["progress"])
        self.progress.best = [(score, step) for score, step in self.progress.best]
        self.put({name.removeprefix("model."): t for name, t in tensors.items() if name.startswith("model.")})
        self.kept = {step: {} for _, step in self.progress.best}
        for name, tensor in tensors.items():
            if name.startswith("best."):
                _, step, parameter = name.split(".", 2)
                self.kept[int(step)][parameter] = tensor
        self.model.remember({name.removeprefix("recall."): t for name, t in tensors.items() if name.startswith("recall.")})
        self.balance.load_state_dict({name.removeprefix("balance."): t for name, t in tensors.items() if name.startswith("balance.")})
        checkpoint.unpack_optimizer(self.optimizer, tensors, facts["optimizer"])
        torch.set_rng_state(tensors["random.cpu"])
        if torch.cuda.is_available() and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"])
