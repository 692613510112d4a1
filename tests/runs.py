"""Small real runs for the tests: a table of numbers and categories, and recipes over it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from omnitune.artifact import Artifact
from omnitune.commands.fit import fit
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import Recipe, read
from omnitune.training import auto
from omnitune.training.model import Model


def rows(n: int = 240, seed: int = 0) -> list[dict[str, Any]]:
    """Rows whose `class` and `value` follow from `a`, `b` and `color`; some values are missing."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(n):
        a, b, color = float(rng.normal()), float(rng.normal()), str(rng.choice(["red", "green", "blue"]))
        high = a + (0.5 if color == "red" else -0.5) > 0
        made.append({
            "id": i, "a": a if i % 17 else None, "b": b, "color": color if i % 13 else None,
            "class": "high" if high else "low", "value": 3 * a - b,
        })  # fmt: skip
    return made


def table_recipe(source: Any, *overrides: str) -> Recipe:
    """Numbers and categories to a class and a value."""
    values = {
        "data": {"from": source},
        "inputs": {"a": "number", "b": "number", "color": "category"},
        "tasks": {"class": {"kind": "classify", "target": "class"}, "value": {"kind": "regress", "target": "value"}},
        "train": {"epochs": 3, "batch": 16, "head_lr": 0.01},
    }
    return read(values, overrides)


def language_recipe(source: Any, *overrides: str) -> Recipe:
    """A tiny GPT from nothing that reads a column of texts."""
    gpt = {"kind": "gpt", "depth": 2, "width": 32, "heads": 2, "context": 32, "vocabulary": 300}
    values = {
        "data": {"from": source},
        "inputs": {"text": {"kind": "text", "backbone": gpt, "max_tokens": 32}},
        "tasks": {"language": {"kind": "generate", "of": "text"}},
        "train": {"epochs": 4, "batch": 8, "lr": 3e-3},
    }
    return read(values, overrides)


def ready(recipe: Recipe) -> tuple[Model, Prepared]:
    """The model and the data as training starts."""
    from dataclasses import replace

    prepared = prepare(recipe)
    train, _ = auto.resolve(recipe, len(prepared.parts["train"]), torch.device("cpu"))
    prepared = replace(prepared, recipe=recipe.replace(train=train))
    torch.manual_seed(train.seed)
    return Model(prepared.recipe, prepared.schema), prepared


class Cut(Exception):
    """Stops a run from outside."""


def cut_and_resumed(recipe: Recipe, folder: Path, at: int) -> Artifact:
    """A run that was cut off at step `at`, and went on."""

    def cut(step: Any) -> None:
        if step.step == at:
            raise Cut

    with pytest.raises(Cut):
        fit(recipe, folder, watch=cut)
    return fit(recipe, folder, resume=True)


def same_weights(one: Artifact, other: Artifact) -> bool:
    """Whether two runs ended with the same weights, bit for bit."""
    a, b = one.model.state_dict(), other.model.state_dict()
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


def write_csv(path: Path, table: list[dict[str, Any]]) -> Path:
    """`table` as a CSV file."""
    import csv

    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows(table)
    return path
