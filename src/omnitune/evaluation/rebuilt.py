"""Rebuilt: what an autoencoder has to beat at the same rate: the mean, principal components, and itself before training."""

from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered, places
from omnitune.evaluation.before import ROWS, sample
from omnitune.tasks.reconstruct import Reconstruct
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
LEVELS = 255


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the errors on the test rows, (n, 2) as `rebuilt_metrics` wants them, and what they are of, by name of the rival; of the
    trained model itself, its rate."""
    made = {}
    for name in tasks:
        p, words = _of_task(prepared, name)
        made[name] = (p | {"before": as_it_is[name].p[as_it_is[name].known]}, words) if p else (p, words)
    return made


def _of_task(prepared: Prepared, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    task = prepared.recipe.tasks[name]
    assert isinstance(task, Reconstruct)
    x, _ = _wanted(prepared, name, task, sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed))
    test, scale = _wanted(prepared, name, task, prepared.parts["test"])
    if not len(x) or not len(test):
        return {}, {}
    mean = np.nan_to_num(np.nansum(x, 0) / np.maximum((~np.isnan(x)).sum(0), 1))
    x, filled = (np.where(np.isnan(some), mean, some) for some in (x, test))
    axes = np.linalg.svd(x - mean, full_matrices=False)[2][: task.width]
    codes, known_codes = (filled - mean) @ axes.T, (x - mean) @ axes.T
    said = {"constant": [mean, mean], "simple": [codes @ axes + mean, _stored(codes, known_codes) @ axes + mean]}
    kept = f"{task.width:,} numbers a row ({8 * task.width:,} bits at 8 each), of {test.shape[1]:,}"
    words = {
        "constant": f"the mean of {len(x):,} training rows",
        "simple": f"principal components (PCA) of {len(x):,} training rows, {len(axes):,} numbers a row",
        "before": "the model before training",
        "after": kept,
    }
    return {rival: np.stack([np.nansum(np.square(one - test), 1) * scale for one in both], 1) for rival, both in said.items()}, words


def _stored(codes: Array, known: Array) -> Array:
    """Numbers as 8 bits keep them, over the range that training rows take."""
    low, high = known.min(0), known.max(0)
    step = np.maximum(high - low, 1e-12) / LEVELS
    return np.asarray(low + np.round((np.clip(codes, low, high) - low) / step) * step)


def _wanted(prepared: Prepared, name: str, task: Reconstruct, rows: Array) -> tuple[Array, Array]:
    """What is asked for of rows that have it, (n, N), NaN where a number is not known; and the squared unit of each in the table's, (n,)."""
    numbers, pieces = [], []
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch() if len(rows) else ():
        batch, target = question.asked[name]
        wanted = np.where(target["known"].numpy(), target["wanted"].numpy(), np.nan)
        scale = batch.inputs[task.of]["spread"].numpy() if "spread" in batch.inputs[task.of] else np.ones(batch.size)
        numbers.append(question.rows)
        pieces.append((wanted, np.square(scale), target["weight"].numpy()))
    if not pieces:
        return np.zeros((0, 1)), np.zeros(0)
    wanted, scale, weight = (np.concatenate(column) for column in zip(*pieces, strict=True))
    order = places(np.concatenate(numbers), rows)
    there = order[weight[order] > 0]
    return wanted[there].astype(np.float64), scale[there]
