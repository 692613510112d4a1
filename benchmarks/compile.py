"""Whether torch.compile pays: seconds that compiling takes, what it saves a step, and after how many steps that is even.

python benchmarks/compile.py [ROUNDS]

MiniLM, every weight learns, batches of 32 reviews, flat rows: the steps of `omnitune fit`, and the same with the backbone compiled.
"""

import statistics
import sys
import tempfile
import time
import warnings
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from inputs import BATCH, recipe, resolved
from jobs import JOBS

from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune

STEPS = 8
"""Batches that both sides learn from, of different lengths."""


def loop(prepared: Any, compiled: bool) -> Loop:
    """A run before its first step."""
    settings = prepared.recipe.train
    torch.manual_seed(settings.seed)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    if compiled:
        for encoder in model.backbones.values():
            encoder.model.compile(dynamic=True)
    return Loop(model, prepared.batches("train", BATCH, settings.seed), settings, dict.fromkeys(prepared.recipe.tasks, 1.0))


def seconds(run: Loop) -> float:
    """Of the first steps of an epoch."""
    began = time.perf_counter()
    for question in islice(run.batches.epoch(0), STEPS):
        run._learn(question)
    return time.perf_counter() - began


def main(rounds: int = 5) -> None:
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place, closing(resolved(recipe(JOBS["text_full"], 400, 1, 0, Path(place)))) as prepared:
        plain, compiled = loop(prepared, False), loop(prepared, True)
        seconds(plain)
        first = seconds(compiled) + seconds(compiled)
        pairs = [(seconds(plain), seconds(compiled)) for _ in range(rounds)]
    eager, quick = (statistics.median(side) / STEPS for side in zip(*pairs, strict=True))
    paid = max(0.0, first - 2 * STEPS * quick)
    even = f"even after {paid / (eager - quick):,.0f} steps" if quick < eager else "never even"
    print(f"eager {eager:.3f} s a step, compiled {quick:.3f} s ({eager / quick:.2f}x), compiling {paid:.0f} s: {even}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
