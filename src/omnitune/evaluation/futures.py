"""Futures: what a model that foretells series has to beat on the same hidden numbers: means, the last number, the last season, a linear model, and
itself before training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered, places
from omnitune.evaluation.before import sample
from omnitune.tasks.forecast import Forecast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 20_000
"""Training rows that means and linear models see at most."""
BACK = 64
"""Numbers before the hidden ones that a linear model reads at most."""
PENALTIES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of the squared weights of a linear model, among which validation chooses."""


@dataclass(frozen=True)
class Seen:
    """Of one task on rows that can be measured; NaN is a gap.

    Args:
        before: the last numbers that are shown, (n, C), in the units that the input reads a row in.
        after: those that are hidden, (n, H).
        spread: of these units in the table's, (n, 1).
    """

    before: Array
    after: Array
    spread: Array


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the errors on the test rows, (n, 2) as `series_metrics` wants them, and what they are of, by name of the rival."""
    made = {}
    for name in tasks:
        p, words = _of_task(prepared, name)
        made[name] = (p | {"before": as_it_is[name].p[as_it_is[name].known]}, words | {"before": "the model before training"}) if p else (p, words)
    return made


def _of_task(prepared: Prepared, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    task = prepared.recipe.tasks[name]
    assert isinstance(task, Forecast)
    some = sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed)
    parts = {part: _seen(prepared, name, task, rows) for part, rows in (prepared.parts | {"train": some}).items()}
    train, test = parts["train"], parts["test"]
    if not len(train.after) or not len(test.after):
        return {}, {}
    n = len(train.after)
    means = np.nan_to_num(_mean(train.after))
    said = {"constant": np.tile(means, (len(test.after), 1)), "naive": _last(test, task.horizon)}
    words = {"constant": f"the mean of {n:,} training rows at each place", "naive": "the last number that is shown"}
    if task.period and test.before.shape[1] >= task.period:
        said["seasonal"], words["seasonal"] = _season(test, task.horizon, task.period), f"what was {task.period} numbers before"
    said["simple"], words["simple"] = _linear(train, parts["validation"], test)
    return {rival: _errors(x, test) for rival, x in said.items()}, words


def _seen(prepared: Prepared, name: str, task: Forecast, rows: Array) -> Seen:
    wide = max(BACK, task.period or 0)
    numbers, pieces = [rows[:0]], [(np.zeros((0, wide)), np.zeros((0, task.horizon)), np.zeros((0, 1)), np.zeros(0))]
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch() if len(rows) else ():
        batch, target = question.asked[name]
        shown = batch.inputs[task.of]
        before = np.where(shown["known"].numpy(), shown["values"].numpy(), np.nan)[:, -wide:]
        after = np.where(target["after_known"].numpy(), target["after"].numpy(), np.nan)
        numbers.append(question.rows)
        spread = shown["spread"].numpy()[:, None]
        pieces.append((_padded(before, wide, 0), _padded(after, 0, task.horizon), spread, target["weight"].numpy()))
    before, after, spread, weight = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = places(np.concatenate(numbers), rows)
    there = order[weight[order] > 0]
    return Seen(before[there], after[there], spread[there])


def _padded(x: Array, left: int, right: int) -> Array:
    """With gaps before or behind, up to so many columns."""
    return np.pad(x, ((0, 0), (max(0, left - x.shape[1]), max(0, right - x.shape[1]))), constant_values=np.nan)


def _errors(said: Array, of: Seen) -> Array:
    wrong = np.nan_to_num(np.abs(said - of.after)) * of.spread
    return np.stack([wrong.sum(1), np.square(wrong).sum(1)], 1)


def _mean(x: Array) -> Array:
    there = ~np.isnan(x)
    return np.asarray(np.nansum(x, 0) / np.maximum(there.sum(0), 1))


def _last(of: Seen, horizon: int) -> Array:
    return np.repeat(_filled(of.before)[:, -1:], horizon, 1)


def _season(of: Seen, horizon: int, period: int) -> Array:
    """The number a whole number of seasons before; the last one where that is a gap."""
    found = of.before[:, of.before.shape[1] - period + np.arange(horizon) % period]
    return np.where(np.isnan(found), _last(of, horizon), found)


def _filled(before: Array) -> Array:
    """Gaps as the number before them, and those before the first as the first."""
    there = ~np.isnan(before)
    place = np.maximum.accumulate(np.where(there, np.arange(before.shape[1]), -1), 1)
    place = np.where(place < 0, there.argmax(1)[:, None], place)
    return np.take_along_axis(before, place, 1)


# A linear model


def _linear(train: Seen, validation: Seen, test: Seen) -> tuple[Array, str]:
    """Ridge regression from the last numbers to the next ones, with or without the last number taken off (NLinear: Zeng et al. 2023,
    https://arxiv.org/abs/2205.13504): what errs less on validation rows."""
    chosen, read = validation if len(validation.after) else train, min(BACK, _longest(train))
    best: tuple[float, Array, str] | None = None
    for off, words in (
        (False, ""),
        (True, ", less the last one"),
    ):
        for penalty, predict in _ridges(train, off):
            wrong = float(np.nanmean(np.abs(predict(chosen) - chosen.after)))
            if best is None or wrong < best[0]:
                told = f"ridge regression on the last {read} numbers{words} (alpha = {penalty:g}), {len(train.after):,} training rows"
                best = wrong, predict(test), told
    assert best is not None
    return best[1], best[2]


def _ridges(train: Seen, off: bool) -> list[tuple[float, Callable[[Seen], Array]]]:
    from sklearn.linear_model import Ridge

    width = min(BACK, _longest(train))

    def features(of: Seen) -> tuple[Array, Array]:
        x = _filled(of.before)[:, -width:]
        level = x[:, -1:] if off else np.zeros_like(x[:, -1:])
        return x - level, level

    x, level = features(train)
    y = np.where(np.isnan(train.after), _mean(train.after) if not off else level, train.after) - level

    def made(penalty: float) -> Callable[[Seen], Array]:
        fitted = Ridge(alpha=penalty).fit(x, y)

        def predict(of: Seen) -> Array:
            found, at = features(of)
            return np.asarray(fitted.predict(found).reshape(len(found), -1) + at)

        return predict

    return [(penalty, made(penalty)) for penalty in PENALTIES]


def _longest(of: Seen) -> int:
    """Numbers that the longest row shows."""
    there = ~np.isnan(of.before)
    return int((of.before.shape[1] - there.argmax(1)).max())
