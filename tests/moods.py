"""Rows whose mood stands in one word of their text, with a tiny model that tells moods apart and one that writes such texts from nothing."""

from typing import Any

import numpy as np

from omnitune.recipe import Recipe, read

WORDS = {"glad": ["lovely", "great", "superb"], "sad": ["awful", "poor", "dreadful"]}
THINGS = ["dress", "jumper", "shirt", "skirt", "coat"]
GPT = {"kind": "gpt", "generation": "modern", "depth": 2, "width": 32, "heads": 2, "context": 64, "vocabulary": 300}
PROMPT = "{mood} {thing}:"


def rows(n: int = 160) -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    made = []
    for i in range(n):
        mood, thing = str(rng.choice(list(WORDS))), str(rng.choice(THINGS))
        texts = [f"a {rng.choice(WORDS[mood])} {thing} of shop {rng.integers(60)}" for _ in range(2)]
        made.append({"id": i, "text": texts[0], "mood": mood, "thing": thing, "spelling": texts[1]})
    return made


def telling(source: Any, *overrides: str) -> Recipe:
    """Tells moods apart."""
    values = {
        "data": {"from": str(source), "split": [0.6, 0.15, 0.25]},
        "inputs": {"text": {"kind": "text", "backbone": GPT, "max_tokens": 48}},
        "tasks": {"mood": {"kind": "classify", "target": "mood"}},
        "train": {"epochs": 8, "batch": 8, "lr": 5e-3},
    }
    return read(values, overrides)


def writing(source: Any, *overrides: str) -> Recipe:
    """Writes texts of a mood about a thing; the same rows are held out."""
    values = {
        "data": {"from": str(source), "split": [0.6, 0.15, 0.25], "by": ["text"]},
        "inputs": {"writer": {"kind": "text", "backbone": GPT, "column": "spelling", "max_tokens": 64}},  # what its tokenizer is learned from
        "tasks": {"text": {"kind": "generate", "of": "writer", "prompt": PROMPT, "target": "text", "samples": 4}},
        "train": {"epochs": 10, "batch": 8, "lr": 5e-3},
    }
    return read(values, overrides)
