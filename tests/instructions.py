"""A tiny language model that answers prompts, for tests: a GPT from nothing, and rows whose answers follow from their values."""

from typing import Any

import numpy as np

from omnitune.recipe import Recipe, read

ANSWERS = {"red": "stop here", "green": "go on", "blue": "wait a little"}
PROMPT = "Light {light} at {place} after {minutes} minutes. {{so}}:"


def rows(n: int = 120) -> list[dict[str, Any]]:
    """What a light means, whatever the place."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        light = str(rng.choice(list(ANSWERS)))
        made.append({"light": light, "place": f"corner {i}", "minutes": i % 7, "means": ANSWERS[light]})
    return made


def recipe(source: Any = None, *overrides: str, **task: Any) -> Recipe:
    """The model, asked by `PROMPT` unless `task` says otherwise."""
    gpt = {"kind": "gpt", "generation": "modern", "depth": 2, "width": 48, "heads": 2, "context": 64, "vocabulary": 300}
    values = {
        "data": {"from": rows() if source is None else source},
        "inputs": {"place": {"kind": "text", "backbone": gpt, "max_tokens": 64}},
        "tasks": {"means": {"kind": "generate", "of": "place", "prompt": PROMPT, "target": "means", "samples": 8} | task},
        "train": {"epochs": 14, "batch": 8, "lr": 3e-3},
    }
    return read(values, overrides)
