"""Ladder: `tuning: auto`. One loop after the other, each with its own tuning, each from the best weights so far; whole at every rung."""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from omnitune.component import find
from omnitune.data.batches import Batches
from omnitune.data.prepared import Prepared
from omnitune.training import auto
from omnitune.training.device import autocast
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from omnitune.training.step import Progress, Step, Validation
from omnitune.tuning import Tuning
from omnitune.tuning.auto import Auto
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA
from omnitune.tuning.probe import Probe

Weights = dict[str, Tensor]
RUNGS = ("probe", "freeze", "top")


@dataclass
class Climb:
    """How far a climb is. Everything here is saved and restored, beside `Progress`.

    Args:
        rungs: those that are over, begun or not: `rung`, `why`, and of those begun `steps`, `epochs`, `seconds`, `validation`, `result`.
        at: number of rungs that were decided on.
        tuning: of the rung under way; None where none is.
        why: the reason for it.
        minutes: it has.
        pass_seconds: of one forward pass over all training rows.
        score: of the best weights, higher is better; None before the first.
        means: rungs in the average.
        found: validation of the best round of the rung under way.
        base: steps and epochs of earlier rungs.
        winner: what gave the best weights.
    """

    rungs: list[dict[str, Any]] = field(default_factory=list)
    at: int = 0
    tuning: dict[str, Any] | None = None
    why: str = ""
    minutes: float | None = None
    pass_seconds: float = 0.0
    score: float | None = None
    means: int = 0
    found: Validation | None = None
    base: tuple[int, float] = (0, 0.0)
    winner: str = ""


class Ladder:
    """Trains as `Loop` does, and is used as one.

    Args:
        frozen: of `model` and `prepared`; opened anew on every rung.
        validate, higher, clock: see `Loop`.
        keep: called where the model holds new best weights, with the name of what gave them.
    """

    def __init__(
        self,
        frozen: Frozen,
        validate: Callable[[], Validation] | None = None,
        higher: bool = False,
        keep: Callable[[str], None] = lambda rung: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frozen, self.model, self.prepared, self.recipe = frozen, frozen.model, frozen.prepared, frozen.prepared.recipe
        self.train, self.validate, self.higher, self.keep, self.clock = self.recipe.train, validate, higher, keep, clock
        assert isinstance(self.recipe.tuning, Auto)
        self.tuning: Auto = self.recipe.tuning
        self.progress, self.climb = Progress(micro_batch=int(self.train.micro_batch)), Climb()
        self.loop: Loop | None = None
        self.best: Weights = {}
        self.mean: Weights = {}
        self.began = 0.0

    def __iter__(self) -> Iterator[Step]:
        self.began = self.clock() - self.progress.seconds
        if not self.climb.at:
            self.climb.pass_seconds = self._pass_seconds() if self.train.minutes else 0.0
            self._next()
        while self.loop:
            loop, last = self.loop, None
            for step in loop:
                told = self._told(step, loop)
                if step.last:
                    last = told  # told when what follows is decided, so that a run goes on from there
                else:
                    yield told
            self._arrive(loop)
            self._next()
            assert last
            yield replace(last, last=self.loop is None)

    def _told(self, step: Step, loop: Loop) -> Step:
        """A step of a rung as one of the climb."""
        steps, epochs = self.climb.base
        at = self.progress
        at.step, at.seconds, at.micro_batch = steps + step.step, self.clock() - self.began, step.micro_batch
        if step.validation and loop.progress.best and loop.progress.best[0][1] == step.step:
            self.climb.found = step.validation
        share = (self.climb.at - 1 + step.progress) / len(self._plan())
        done = at.seconds / (60 * self.train.minutes) if self.train.minutes else 0.0
        return replace(step, step=at.step, epoch=epochs + step.epoch, seconds=at.seconds, progress=min(1.0, max(share, done)), last=False, state=self.state)

    # From one rung to the next

    def _next(self) -> None:
        """Begins the next rung that there is reason and time for; without one, the climb is over."""
        self.loop, self.climb.tuning = None, None
        while self.climb.at < len(self._plan()):
            name = self._plan()[self.climb.at]
            tuning, why = self._tuning(name)
            self.climb.at += 1
            if against := self._against(name, tuning):
                self.climb.rungs.append({"rung": tuning.kind, "why": why, "result": f"not begun: {against}"})
            else:
                self._begin(tuning, why)
                return
        self._mark()
        self.progress.stopped = "the ladder is climbed"

    def _plan(self) -> tuple[str, ...]:
        blocks = [len(encoder.blocks) for encoder in self.model.backbones.values()]
        return tuple(name for name in RUNGS if name == "probe" or (blocks and (name == "top" or min(blocks) > 1)))

    def _tuning(self, name: str) -> tuple[Tuning, str]:
        """What learns on a rung, and why."""
        encoders = list(self.model.backbones.values())
        if name == "probe":
            return Probe(), "the heads alone, on features that are computed once" if encoders else "nothing is pretrained: all learns at once"
        if name == "freeze":
            blocks = min(self.tuning.blocks, *(len(encoder.blocks) - 1 for encoder in encoders))
            return Freeze(blocks), "upper blocks hold what is special to a task (Yosinski et al. 2014)"
        if self.tuning.top != "auto":
            return (Full() if self.tuning.top == "full" else LoRA()), "as asked"
        if not all(encoder.blocks for encoder in encoders):
            return Full(), "a backbone has no blocks for adapters"
        weights = sum(p.numel() for encoder in encoders for p in encoder.parameters())
        steps = float(self.train.epochs) * len(self._batches(self.prepared))
        return auto.top_rung(weights, steps, lambda kind: self._need(kind) <= self._rest())

    def _against(self, name: str, tuning: Tuning) -> str:
        """Why a rung is not begun; empty where it is. The first always is."""
        if name == "probe":
            return ""
        if not self.train.minutes:
            stayed = self.climb.rungs[-1].get("result") == "no better" and self.validate
            return "the rung before it was no better than those before" if stayed else ""
        need, rest = self._need(tuning.kind), self._rest()
        return f"it needs about {need:.0f} s, {max(0.0, rest):.0f} s are left" if need > rest else ""

    def _begin(self, tuning: Tuning, why: str) -> None:
        self.climb.tuning, self.climb.why, self.climb.found = tuning.to_dict(), why, None
        self.climb.base = (self.progress.step, self.climb.base[1])
        self._set_up(tuning)
        self.climb.minutes = self._minutes()
        self.loop = self._looped(tuning)

    def _set_up(self, tuning: Tuning) -> None:
        """The model as a rung of `tuning` begins: with the best weights so far."""
        self._put(self.best)
        self.model.zero_grad()  # of weights that may not learn on this rung
        tune(self.model, self.recipe.replace(tuning=tuning))
        self.frozen.again(replace(self.prepared, augment=self.climb.at > 1), str(self.climb.rungs[-1]["rung"]) if self.climb.rungs else "")
        adapted = {name.replace(".base_layer.", ".") for name, _ in self.model.named_parameters() if ".base_layer." in name}
        there = {name.replace(".base_layer.", "."): p for name, p in self.model.named_parameters() if "lora_" not in name}
        for name, parameter in there.items():
            if name not in self.best and (parameter.requires_grad or name in adapted):
                self.best[name] = parameter.detach().cpu().clone()
                self.mean[name] = self.best[name].clone()

    def _looped(self, tuning: Tuning) -> Loop:
        weights = {name: task.weight for name, task in self.recipe.tasks.items()}
        prepared = replace(self.prepared, augment=self.climb.at > 1)
        train = auto.on_rung(self.recipe, tuning, self.climb.minutes)
        return Loop(self.model, self._batches(prepared), train, weights, self.validate, self.higher, self.clock)

    def _batches(self, prepared: Prepared) -> Batches:
        return prepared.batches("train", int(self.train.batch), self.train.seed)

    # What a rung brought

    def _arrive(self, loop: Loop) -> None:
        """Compares what a rung learned with the best so far, and both with the average of all rungs."""
        climb, at = self.climb, loop.progress
        score, found = self._chosen(loop)
        for encoder in self.model.backbones.values():
            encoder.merge()
        kind, result = str((climb.tuning or {})["kind"]), "no better"
        if climb.score is None or (score is not None and score > climb.score):
            self.best, climb.score, climb.winner, result = self._weights(), score, kind, "the best so far"
        self._average()
        if climb.means > 1 and self.validate and self._rest() >= self._validation():
            self._put(self.mean)
            score, found_of_mean = self._measured()
            if climb.score is not None and score is not None and score > climb.score:
                self.best, climb.score, climb.winner, result = self._weights(), score, f"average up to {kind}", "the best so far, averaged with those before"
                found = found_of_mean
        epochs = at.epoch + at.batch / len(loop.batches)
        told = {"steps": at.step, "epochs": round(epochs, 2), "seconds": self.clock() - self.began, "stopped": at.stopped}
        climb.rungs.append({"rung": kind, "why": climb.why} | told | {"validation": found, "result": result})
        climb.base = (self.progress.step, climb.base[1] + epochs)
        self._put(self.best)
        self._mark()
        if result != "no better":
            self.keep(f"{climb.at}-{kind}")

    def _chosen(self, loop: Loop) -> tuple[float | None, Validation | None]:
        """Puts the best of a rung into the model: its best round, or the average of its best rounds where that is better."""
        rounds = loop.candidates()
        if not rounds:
            return None, None
        score, found = loop.progress.best[0][0], self.climb.found
        for weights in rounds[1:]:
            loop.put(weights)
            averaged, also = self._measured()
            if averaged is not None and averaged > score:
                return averaged, also
        loop.put(rounds[0])
        return score, found

    def _average(self) -> None:
        """The mean over the rungs, of which this one is in the model (Wortsman et al. 2022, Model soups)."""
        self.climb.means += 1
        here = self._weights()
        self.mean = {name: mean + (here[name] - mean) / self.climb.means for name, mean in self.mean.items()}

    def _measured(self) -> tuple[float | None, Validation]:
        assert self.validate
        self.model.eval()
        found = self.validate()
        value = found[self.train.stop_on]
        return None if value != value else value if self.higher else -value, found

    def _mark(self) -> None:
        """Says of every weight whether it learned on some rung."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.best)

    # Time

    def _rest(self) -> float:
        """Seconds that are left."""
        return 60 * self.train.minutes - (self.clock() - self.began) if self.train.minutes else float("inf")

    def _need(self, kind: str) -> float:
        """Seconds of a rung's first epoch, a round of validation, and one of the average."""
        return COSTS[kind](self._learning_share()) * self.climb.pass_seconds + 2 * self._validation()

    def _learning_share(self) -> float:
        encoders = self.model.backbones.values()
        return max((min(1.0, self.tuning.blocks / max(1, len(encoder.blocks))) for encoder in encoders), default=1.0)

    def _validation(self) -> float:
        rows = {part: len(rows) for part, rows in self.prepared.parts.items()}
        return self.climb.pass_seconds * rows["validation"] / max(1, rows["train"])

    def _minutes(self) -> float | None:
        """Of the rung that begins: half of the rest where that holds the next rung, all of it otherwise; from the second on, less a round for the average."""
        if not self.train.minutes:
            return None
        half, later = self._rest() / 2, self._plan()[self.climb.at : self.climb.at + 1]
        kinds = {"freeze": "freeze", "top": "lora" if self.tuning.top == "auto" else self.tuning.top}
        seconds = half if any(self._need(kinds[name]) <= half for name in later) else self._rest()
        return max(1e-3, seconds - (self._validation() if self.climb.means else 0.0)) / 60

    @torch.no_grad()
    def _pass_seconds(self) -> float:
        """Of one forward pass over the training rows, from the batch whose length is nearest to the mean."""
        if not self.model.backbones:
            return 0.0
        batches = replace(self._batches(self.prepared), known={})
        order = batches.order(0)
        lengths = dict(zip(batches.rows.tolist(), batches.lengths.tolist(), strict=True))
        long = [sum(lengths[row] for row in rows.tolist()) for rows in order]
        middle = min(range(len(order)), key=lambda i: abs(long[i] - sum(long) / len(long)))
        known, self.model.known = self.model.known, {}
        question = batches.question(order[middle]).to(self.model.device)
        self.model.eval()
        turns = []
        for _ in range(2):
            began = self.clock()
            with autocast(self.model.device, self.train.precision):
                sum(float(loss.sum) for loss in self.model.losses(question).values())
            turns.append(self.clock() - began)
        self.model.known = known
        return min(turns) * len(batches.rows) / len(order[middle])

    # Weights, saving and going on

    def _put(self, weights: Weights) -> None:
        with torch.no_grad():
            parameters = dict(self.model.named_parameters())
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)

    def _weights(self) -> Weights:
        """Those that learned on some rung, as they are now."""
        return {name: p.detach().cpu().clone() for name, p in self.model.named_parameters() if name in self.best}

    def facts(self) -> dict[str, Any]:
        """For the report: what gave the best weights, and all rungs."""
        return {"best rung": self.climb.winner, "rungs": self.climb.rungs}

    def candidates(self) -> list[Weights]:
        """The best weights."""
        return [self.best]

    def put(self, weights: Weights) -> None:
        """Sets the weights that learned on some rung."""
        self._put(weights)

    def state(self) -> tuple[Weights, dict[str, Any]]:
        """See `Loop.state`."""
        tensors = {f"best.{name}": t for name, t in self.best.items()} | {f"mean.{name}": t for name, t in self.mean.items()}
        facts: dict[str, Any] = {"progress": asdict(self.progress), "climb": asdict(self.climb), "loop": None}
        if self.loop:
            inside, facts["loop"] = self.loop.state()
            tensors |= {f"loop.{name}": t for name, t in inside.items()}
        return tensors, facts

    def restore(self, tensors: Weights, facts: dict[str, Any]) -> None:
        """See `Loop.restore`."""
        self.progress, self.climb = Progress(**facts["progress"]), Climb(**facts["climb"])
        self.climb.base = (int(self.climb.base[0]), float(self.climb.base[1]))
        self.best, self.mean, inside = (
            {name.removeprefix(part): t for name, t in tensors.items() if name.startswith(part)} for part in ("best.", "mean.", "loop.")
        )
        if self.climb.tuning is None:
            self._put(self.best)
            self._mark()
            self.frozen.again(self.prepared)
            return
        settings = dict(self.climb.tuning)
        tuning = find(Tuning, settings.pop("kind"))(**settings)  # type: ignore[type-abstract]
        self._set_up(tuning)
        self.loop = self._looped(tuning)
        self.loop.restore(inside, facts["loop"])


COSTS: dict[str, Callable[[float], float]] = {
    "probe": lambda share: 1.0, "freeze": lambda share: 1.0 + 2 * share, "lora": lambda share: 2.0, "full": lambda share: 3.0,
}  # fmt: skip
"""An epoch in forward passes, by the share of blocks that learn: a backward pass takes two, one without gradients of the weights (Kaplan et al. 2020)."""

Training = Loop | Ladder
