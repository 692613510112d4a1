"""Ladder: `tuning: auto`. One loop after the other, each with its own tuning, each from the best weights so far."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from omnitune.component import find
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import tune
from omnitune.training.prefix import Frozen
from omnitune.training.rungs import Rungs
from omnitune.training.step import Climb, Progress, Step, Validation
from omnitune.tuning import Tuning

Weights = dict[str, Tensor]
AVERAGED = "the best so far, averaged with those before"


class Ladder:
    """Trains as `Loop` does, and is used as one.

    Args:
        frozen: of a model and its data; opened anew on every rung.
        validate, higher, clock: see `Loop`.
        keep: called with a name where the model holds new best weights at the end of a rung.
    """

    def __init__(
        self,
        frozen: Frozen,
        validate: Callable[[], Validation] | None = None,
        higher: bool = False,
        keep: Callable[[str], None] = lambda rung: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.frozen, self.model, self.prepared = frozen, frozen.model, frozen.prepared
        self.recipe, self.train = self.prepared.recipe, self.prepared.recipe.train
        self.validate, self.higher, self.keep, self.clock = validate, higher, keep, clock
        self.rungs = Rungs(self.model, self.prepared, clock)
        self.progress, self.climb = Progress(micro_batch=int(self.train.micro_batch)), Climb()
        self.loop: Loop | None = None
        self.best: Weights = {}
        self.mean: Weights = {}

    def __iter__(self) -> Iterator[Step]:
        self.rungs.began = self.clock() - self.progress.seconds
        if not self.climb.at:
            self.rungs.measure()
            self.climb.pass_seconds = self.rungs.pass_seconds
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
        at, climb = self.progress, self.climb
        at.step, at.seconds, at.micro_batch = climb.steps + step.step, self.rungs.seconds, step.micro_batch
        at.idle = climb.idle + loop.progress.idle
        if step.validation and loop.progress.best and loop.progress.best[0][1] == step.step:
            climb.found = step.validation
        share = (climb.at - 1 + step.progress) / len(self.rungs.names)
        clock = at.seconds / (60 * self.train.minutes) if self.train.minutes else 0.0
        epoch, progress = climb.epochs + step.epoch, min(1.0, max(share, clock))
        return replace(step, step=at.step, epoch=epoch, seconds=at.seconds, progress=progress, last=False, state=self.state)

    # From one rung to the next

    def _next(self) -> None:
        """Begins the next rung that there is reason and time for; without one, the climb is over."""
        self.loop, self.climb.tuning = None, None
        while self.climb.at < len(self.rungs.names):
            tuning, why = self.rungs.choose(self.rungs.names[self.climb.at])
            self.climb.at += 1
            against = self._against(tuning)
            if not against:
                self._begin(tuning, why)
                return
            self.climb.rungs.append({"rung": tuning.kind, "why": why, "result": f"not begun: {against}"})
        self.progress.stopped = "no rung is left"

    def _against(self, tuning: Tuning) -> str:
        """Why a rung is not begun; empty where it is. The first always is."""
        if self.climb.at == 1:
            return ""
        if not self.train.minutes:
            stayed = self.validate and self.climb.rungs[-1]["result"] == "no better"
            return "the rung before it brought nothing" if stayed else ""
        need, rest = self.rungs.need(tuning.kind), self.rungs.rest()
        return f"it needs about {need:.0f} s, {max(0.0, rest):.0f} s are left" if need > rest else ""

    def _begin(self, tuning: Tuning, why: str) -> None:
        self.climb.tuning, self.climb.why, self.climb.found = tuning.to_dict(), why, None
        self._set_up(tuning)
        self.climb.minutes = self.rungs.minutes(self.climb.at - 1)
        self.loop = self._looped(tuning)

    def _set_up(self, tuning: Tuning) -> None:
        """The model as a rung begins: with the best weights so far. Weights that learn for the first time join the best and the average."""
        self._put(self.best)
        self.model.zero_grad()  # of weights that may not learn on this rung
        tune(self.model, self.recipe.replace(tuning=tuning))
        self.frozen.again(replace(self.prepared, augment=self.climb.at > 1), self.climb.rungs[-1]["rung"] if self.climb.rungs else "")
        for name, parameter in self.model.named_parameters():
            own = name.replace(".base_layer.", ".")  # with adapters beside it, into which they will be merged
            if own not in self.best and "lora_" not in name and (parameter.requires_grad or own != name):
                self.best[own] = parameter.detach().cpu().clone()
                self.mean[own] = self.best[own].clone()

    def _looped(self, tuning: Tuning) -> Loop:
        weights = {name: task.weight for name, task in self.recipe.tasks.items()}
        batches = self.rungs.batches(replace(self.prepared, augment=self.climb.at > 1))
        train = auto.on_rung(self.recipe, tuning, self.climb.minutes)
        return Loop(self.model, batches, train, weights, self.validate, self.higher, self.clock)

    # What a rung brought

    def _arrive(self, loop: Loop) -> None:
        """Compares what a rung learned with the best so far, and both with the average of all rungs; notes it, and keeps what is better."""
        climb, at, result = self.climb, loop.progress, "no better"
        kind = str((climb.tuning or {})["kind"])
        score, found = self._chosen(loop)
        for encoder in self.model.backbones.values():
            encoder.merge()
        self._average()
        if climb.score is None or (score is not None and score > climb.score):
            self.best, climb.score, climb.winner, result = self._weights(), score, kind, "the best so far"
        if climb.means > 1 and climb.score is not None and self.rungs.rest() >= self.rungs.validation():
            self._put(self.mean)
            score, of_mean = self._measured()
            if score > climb.score:
                self.best, climb.score, climb.winner, result, found = self._weights(), score, f"average up to {kind}", AVERAGED, of_mean
        epochs = at.epoch + at.batch / len(loop.batches)
        facts = {"steps": at.step, "epochs": epochs, "seconds": self.rungs.seconds, "stopped": at.stopped, "validation": found}
        climb.rungs.append({"rung": kind, "why": climb.why, "result": result} | facts)
        climb.steps, climb.epochs, climb.idle = climb.steps + at.step, climb.epochs + epochs, climb.idle + at.idle
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
            if averaged > score:
                return averaged, also
        loop.put(rounds[0])
        return score, found

    def _average(self) -> None:
        """Takes what is in the model into the mean over the rungs (Wortsman et al. 2022, Model soups)."""
        self.climb.means += 1
        here = self._weights()
        self.mean = {name: mean + (here[name] - mean) / self.climb.means for name, mean in self.mean.items()}

    def _measured(self) -> tuple[float, Validation]:
        assert self.validate
        self.model.eval()
        found = self.validate()
        value = found[self.train.stop_on]
        return value if self.higher else -value, found

    # Weights, saving and going on

    def _put(self, weights: Weights) -> None:
        parameters = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, tensor in weights.items():
                parameters[name].copy_(tensor)

    def _weights(self) -> Weights:
        """Those that learned on some rung, as they are now."""
        return {name: p.detach().cpu().clone() for name, p in self.model.named_parameters() if name in self.best}

    def _mark(self) -> None:
        """Says of every weight whether it learned on some rung."""
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in self.best)

    def facts(self) -> dict[str, Any]:
        """For the report: what gave the best weights, and all rungs."""
        return {"best rung": self.climb.winner, "rungs": [rung | {"validation": _defined(rung.get("validation"))} for rung in self.climb.rungs]}

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
        self.rungs.pass_seconds = self.climb.pass_seconds
        self.best, self.mean, inside = (
            {name.removeprefix(part): t for name, t in tensors.items() if name.startswith(part)} for part in ("best.", "mean.", "loop.")
        )
        if self.climb.tuning is None:
            self._put(self.best)
            self._mark()
            self.frozen.again(self.prepared)
            return
        settings = dict(self.climb.tuning)
        tuning = find(Tuning, settings.pop("kind"))(**settings)
        self._set_up(tuning)
        self.loop = self._looped(tuning)
        self.loop.restore(inside, facts["loop"])


def _defined(validation: Validation | None) -> dict[str, float | None] | None:
    """Metrics that few rows leave undefined are None, as JSON wants it."""
    return {name: None if math.isnan(value) else value for name, value in validation.items()} if validation else None


Training = Loop | Ladder
