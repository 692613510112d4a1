"""search: which settings of a recipe are best on the validation rows?"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import recipe as recipes
from omnitune.commands import _space
from omnitune.commands._files import part_of, told, write
from omnitune.commands._tries import Tries, Try
from omnitune.data.prepared import Prepared, prepare
from omnitune.errors import Mistake
from omnitune.evaluation.measure import Figure
from omnitune.evaluation.score import Score, difference, interval
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe
from omnitune.training import auto
from omnitune.training.device import best_device

TABLE, OWN, BEST = "trials.json", "own.npz", "best.yaml"


@dataclass(frozen=True)
class Trial:
    """One setting and what validation says of it.

    Args:
        number: 0 is the recipe's own setting.
        setting: what was tried, see `draw` in `commands/_space.py`.
        value: of `train.stop_on`, with the interval it lies in with 95 % (of another sample of rows, not of another seed).
        gain: how much better than the recipe's own setting, paired by row, with its interval; above 0 is better.
        validation: the loss and every metric.
        seconds: it took; of trials that learned together, each its share.
        failed: why there is no value.
    """

    number: int
    setting: dict[str, float]
    value: Figure
    gain: Figure
    validation: dict[str, Any]
    seconds: float
    failed: str = ""


@dataclass(frozen=True)
class Search:
    """What a search found.

    Args:
        recipe: of trial 0, without `auto`.
        trials: in the order of their numbers.
        higher: whether more is better in `train.stop_on`.
        rows: of validation.
        alone: why trials learned one by one; empty where their weights were one batched product.
    """

    recipe: Recipe
    trials: tuple[Trial, ...]
    higher: bool
    rows: int
    alone: str

    @property
    def ranked(self) -> list[Trial]:
        """The best first; those without a value last."""
        sign = -1 if self.higher else 1
        return sorted(self.trials, key=lambda t: math.inf if t.value["value"] is None else sign * t.value["value"])

    @property
    def best(self) -> Recipe:
        """The complete recipe of the best trial. Raises `Mistake` where no trial has a value."""
        first = self.ranked[0]
        if first.value["value"] is None:
            raise Mistake("search", f"no trial has a value: {first.failed}", "Lower train.lr, or look at the validation rows")
        return _space.apply(self.recipe, first.setting)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        watched = {"stop_on": self.recipe.train.stop_on, "higher": self.higher, "rows": self.rows, "alone": self.alone}
        return watched | {"trials": [asdict(trial) for trial in self.trials]}

    def __str__(self) -> str:
        from omnitune.commands._search_text import text

        return text(self)


Watch = Callable[[Trial], None]


def search(recipe: Recipe, trials: int = 20, out: str | Path | None = None, seed: int = 0, watch: Watch | None = None) -> Search:
    """Tries settings of `recipe` and says which is best on the validation rows; test rows are not looked at.

    Where backbones stay as they are, they read each row once, and the heads of all trials learn in one batched product. Each trial ends as
    `fit` would end with its recipe.

    Args:
        recipe: what to start from; its own setting is trial 0.
        trials: how many, that one included.
        out: a folder for `trials.json`, written after each trial, and `best.yaml`, which `fit` runs. One of an earlier search of the same
            recipe is gone on with.
        seed: of the draw.
        watch: called with each trial that is done.

    Raises:
        Mistake: the recipe, the data or the folder is wrong, there are no validation rows, or every trial failed.
    """
    recipes.check(recipe)
    if trials < 1:
        raise Mistake("trials", f"{trials} is not a number of trials", "Ask for at least 1")
    if recipe.tables:
        raise Mistake("tables", "a search learns from one table", "Search with the tasks of one table, and fit with all")
    prepared = _prepared(recipe)
    with closing(prepared):
        folder = _Folder(Path(out), prepared, seed) if out is not None else None
        with closing(Tries(prepared)) as tries:
            found = _run(tries, trials, seed, folder, watch)
    assert found.best  # or it raises
    return found


def _prepared(recipe: Recipe) -> Prepared:
    prepared = prepare(recipe)
    if not len(prepared.parts["validation"]):
        raise Mistake("data.split", "leaves no validation rows to judge trials by", "Give them a share, such as [0.8, 0.1, 0.1]")
    train, _ = auto.resolve(recipe, len(prepared.parts["train"]), best_device())
    return replace(prepared, recipe=recipe.replace(train=train))


def _run(tries: Tries, trials: int, seed: int, folder: _Folder | None, watch: Watch | None) -> Search:
    recipe, validate = tries.prepared.recipe, tries.validate
    validate.known([("train.stop_on", recipe.train.stop_on)])
    done, own = folder.read() if folder else ([], None)
    there = {trial.number for trial in done}
    settings = {number: _space.draw(recipe, tries.pretrained, number, seed) for number in range(trials) if number not in there}
    made = Search(recipe, tuple(done), validate.higher(recipe.train.stop_on), len(tries.prepared.parts["validation"]), tries.alone or "")
    for one in tries.run(settings):
        own = one.score if one.number == 0 else own
        trial = _trial(one, settings[one.number], own, validate, made.higher)
        made = replace(made, trials=(*made.trials, trial))
        if folder:
            folder.write(made, own)
        if watch:
            watch(trial)
    return made


def _trial(one: Try, setting: _space.Setting, own: Score | None, validate: Validate, higher: bool) -> Trial:
    nothing: Figure = {"value": None, "low": None, "high": None}
    value = interval(validate, one.score) if one.score else nothing
    gain = difference(validate, one.score, own) if one.score and own else nothing
    if not higher and gain["value"] is not None:
        low, high = gain["low"], gain["high"]
        gain = {"value": -gain["value"], "low": None if high is None else -high, "high": None if low is None else -low}
    validation = {k: v if math.isfinite(v) else None for k, v in (one.score.validation if one.score else {}).items()}
    return Trial(one.number, setting, value, gain, validation, round(one.seconds, 3), one.failed)


class _Folder:
    """Where a search keeps what is done, so that nothing is lost when it is cut off."""

    def __init__(self, path: Path, prepared: Prepared, seed: int) -> None:
        self.path = path
        self.identity = {"recipe": prepared.recipe.fingerprint, "table": prepared.table.fingerprint, "seed": seed}
        if path.exists() and not path.is_dir():
            raise Mistake(str(path), "is a file", "Give a folder with --out")
        if path.exists() and any(path.iterdir()) and self._there() != self.identity:
            raise Mistake(str(path), "holds something else than this search", "Give another folder with --out, or the same recipe, data and --seed")
        with told(path):
            path.mkdir(parents=True, exist_ok=True)

    def _there(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.path / TABLE).read_text(encoding="utf-8"))["identity"]  # type: ignore[no-any-return]
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def read(self) -> tuple[list[Trial], Score | None]:
        """The trials that are done, and the score of the recipe's own setting."""
        if self._there() is None:
            return [], None
        values = json.loads((self.path / TABLE).read_text(encoding="utf-8"))
        done = [Trial(**trial) for trial in values["trials"]]
        if not (self.path / OWN).exists():
            return done, None
        with np.load(self.path / OWN, allow_pickle=False) as evidence:
            return done, Score(next(trial.validation for trial in done if trial.number == 0), dict(evidence))

    def write(self, found: Search, own: Score | None) -> None:
        """Writes all files again, each in one step."""
        with told(self.path):
            if own and not (self.path / OWN).exists():
                with part_of(self.path / OWN).open("wb") as file:
                    np.savez(file, **own.evidence)  # type: ignore[arg-type]
                part_of(self.path / OWN).replace(self.path / OWN)
            write(self.path / TABLE, json.dumps({"identity": self.identity} | found.to_dict(), indent=1))
            if found.ranked[0].value["value"] is not None:
                found.best.write(self.path / BEST)
