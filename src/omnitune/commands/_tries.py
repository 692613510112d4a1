"""Tries: trials of a search, learned together where they can be and one by one where not, each with its score on the validation rows."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import torch

from omnitune.commands import _space
from omnitune.data.held import Held
from omnitune.data.prepared import Prepared
from omnitune.evaluation import assess
from omnitune.evaluation.answers import known
from omnitune.evaluation.score import Score, score
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe
from omnitune.training import balance, trials
from omnitune.training.device import best_device, random_states, set_random_states
from omnitune.training.features import hold
from omnitune.training.loop import Diverged, Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from omnitune.training.reference import referred

CHECKED = 1024
"""Validation rows whose answers are asked for together; they come from memory."""


@dataclass(frozen=True)
class Try:
    """One trial that is done.

    Args:
        number: of the trial.
        score: None where it failed, or where validation measured nothing.
        seconds: it took; of trials that learned together, each its share.
        failed: why there is no score.
    """

    number: int
    score: Score | None
    seconds: float
    failed: str


class Tries:
    """Trials of one recipe.

    Args:
        prepared: the data, with the recipe without `auto`.

    Attributes:
        pretrained: whether weights of a backbone learn.
        alone: why trials learn one by one; None where they learn together.
        validate: has the validation rows.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.model, self.frozen = _start(prepared)
        self.pretrained = any(p.requires_grad for backbone in self.model.backbones.values() for p in backbone.parameters())
        self.alone = trials.refusal(self.model, prepared.recipe)
        self.validate = Validate(self.model, self.frozen.prepared)

    def run(self, settings: Mapping[int, _space.Setting]) -> Iterator[Try]:
        """The trials of these numbers, in their order; each is told as soon as it is done."""
        recipes = {number: _space.apply(self.prepared.recipe, setting) for number, setting in settings.items()}
        if not recipes:
            return
        yield from self._together(recipes) if self.alone is None else self._one_by_one(recipes)

    def close(self) -> None:
        """Makes what was computed known to later runs."""
        self.frozen.close()

    # Together

    def _together(self, recipes: Mapping[int, Recipe]) -> Iterator[Try]:
        states = random_states(self.model.device)
        start = {name: p.detach().clone() for name, p in self.model.learning().items()}
        learn, check = self._held()
        metric = self._metric(check)
        size, numbers = trials.at_once(self.model), list(recipes)
        for some in (numbers[i : i + size] for i in range(0, len(numbers), size)):
            began = time.monotonic()
            set_random_states(states)
            self.model.put(start)
            higher = self.validate.higher(self.prepared.recipe.train.stop_on)
            done = trials.Stack(self.model, [recipes[number] for number in some], learn, check, metric, higher).run()
            scores = [self._chosen(trial) for trial in done]
            share = (time.monotonic() - began) / len(some)
            for number, trial, found in zip(some, done, scores, strict=True):
                yield Try(number, found, share, trial.failed or _nothing(found))

    def _held(self) -> tuple[Held, Held]:
        """The training rows and the validation rows in memory; `validate` reads them there from then on."""
        prepared, train = self.frozen.prepared, self.prepared.recipe.train
        memory = hold(self.model, prepared, ("train", "validation"))
        check = Held(prepared.batches("validation", CHECKED), memory)
        self.validate = Validate(self.model, prepared, check)
        return Held(prepared.batches("train", int(train.batch), train.seed), memory), check

    def _metric(self, check: Held) -> trials.Metric | None:
        """`train.stop_on` of answers on the validation rows; None where it is the loss."""
        task, _, name = self.prepared.recipe.train.stop_on.rpartition(".")
        if not task:
            return None
        target = check.question(check.rows).asked[task][1]
        y = target["y"].cpu().numpy()
        there, compute = known(y, target["weight"].cpu().numpy()), self.validate.metrics[task][name].compute
        return lambda p: compute(y[there], p[there])

    def _chosen(self, trial: trials.Trial) -> Score | None:
        if trial.failed or not trial.progress.best:
            return None
        assess.choose(trial, self.validate)
        return score(self.validate)

    # One by one

    def _one_by_one(self, recipes: Mapping[int, Recipe]) -> Iterator[Try]:
        del self.model, self.validate.model  # each trial has a model of its own, and memory may hold one only
        for number, recipe in recipes.items():
            began = time.monotonic()
            failed, found = "", None
            try:
                found = self._learn(recipe)
            except Diverged as diverged:
                failed = str(diverged)
            yield Try(number, found, time.monotonic() - began, failed or _nothing(found))

    def _learn(self, recipe: Recipe) -> Score | None:
        model, frozen = _start(replace(self.prepared, recipe=recipe))
        train, prepared = recipe.train, frozen.prepared
        validate = Validate(model, prepared)
        weights = {name: task.weight for name, task in recipe.tasks.items()}
        loop = Loop(model, prepared.batches("train", int(train.batch), train.seed), train, weights, validate, validate.higher(train.stop_on))
        try:
            for _ in loop:
                pass
            if not loop.progress.best:
                return None
            assess.choose(loop, validate)
            return score(validate)
        finally:
            frozen.close()


def _nothing(found: Score | None) -> str:
    return "" if found else "validation measured nothing"


def _start(prepared: Prepared) -> tuple[Model, Frozen]:
    """A model as `fit` starts with it, on its device."""
    torch.manual_seed(prepared.recipe.train.seed)
    model = Model(prepared.recipe, prepared.schema)
    prepared = referred(model.to(best_device()), prepared)
    tune(model, prepared.recipe)
    balance.check(model, prepared.recipe)
    return model, Frozen(model.to(best_device()), prepared)
