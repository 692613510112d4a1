"""check: whether a recipe can run, as far as it can be told without loading torch or touching the data."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omnitune.recipe import Recipe, read


def check(source: str | Path | Mapping[str, Any], changes: Iterable[str] = ()) -> Recipe:
    """The recipe, complete with every default.

    Args:
        source: a YAML file, or plain values.
        changes: dotted overrides such as `train.lr=1e-4`.

    Raises:
        Mistake: everything that is wrong, at once.
    """
    return read(source, changes)


def summary(recipe: Recipe) -> str:
    """A few lines on what the recipe says."""
    inputs = ", ".join(f"{name} ({modality.kind})" for name, modality in recipe.inputs.items())
    tasks = ", ".join(f"{name} ({task.kind} {' '.join(task.columns())})" for name, task in recipe.tasks.items())
    return f"inputs: {inputs}\ntasks: {tasks}\nfusion: {recipe.fusion.kind}, tuning: {recipe.tuning.kind}\nfingerprint: {recipe.fingerprint}"
