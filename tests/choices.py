"""Rows to choose among, for tests: what a light means, as one option of several."""

from typing import Any

from instructions import ANSWERS
from instructions import rows as lights
from omnitune.recipe import Recipe, read

PROMPT = "Light {light} at {place}:"
GPT = {"kind": "gpt", "generation": "modern", "depth": 2, "width": 48, "heads": 2, "context": 64, "vocabulary": 300}


def rows(n: int = 120) -> list[dict[str, Any]]:
    """`options` of a row in an order of its own, some rows with two of the three; the right one is `means`, and in `place_of` its number from 1."""
    made = []
    for i, row in enumerate(lights(n)):
        options = [*ANSWERS.values()]
        options = options[i % 3 :] + options[: i % 3]
        if i % 4 == 0:
            options.remove(next(option for option in options if option != row["means"]))
        made.append(row | {"options": options, "place_of": 1 + options.index(row["means"])})
    return made


def recipe(source: Any = None, *overrides: str, backbone: Any = None, **task: Any) -> Recipe:
    """A tiny model that chooses among the options of each row unless `task` says otherwise."""
    values = {
        "data": {"from": rows() if source is None else source},
        "inputs": {"place": {"kind": "text", "backbone": backbone or GPT, "max_tokens": 64}},
        "tasks": {"means": {"kind": "choose", "of": "place", "prompt": PROMPT, "target": "means", "options": "options"} | task},
        "train": {"epochs": 10, "batch": 8, "lr": 3e-3},
    }
    if "choices" in task:
        del values["tasks"]["means"]["options"]
    return read(values, overrides)
