"""Sounds that say something, for the tests: each word is a tone of its own."""

from typing import Any

import numpy as np

from omnitune.recipe import Recipe, read
from sounds import RATE, file, tone

WORDS = {"low": 300.0, "mid": 900.0, "high": 2400.0}


def said(words: list[str], seconds: float = 0.3, seed: int = 0) -> bytes:
    """A sound of these words, in their order, each followed by a short rest."""
    rng = np.random.default_rng(seed)
    parts = [
        part for i, word in enumerate(words) for part in (tone(seconds, hertz=WORDS[word] * rng.uniform(0.97, 1.03), seed=seed + i), np.zeros(800))
    ]
    return file(np.concatenate(parts).astype(np.float32))


def rows(n: int, most: int = 2, seconds: float = 0.3, seed: int = 0) -> list[dict[str, Any]]:
    """`n` sounds of up to `most` words, and what they say."""
    rng = np.random.default_rng(seed)
    found = [[str(word) for word in rng.choice(list(WORDS), rng.integers(1, most + 1))] for _ in range(n)]
    return [{"sound": said(words, seconds, seed + i), "text": " ".join(words).capitalize()} for i, words in enumerate(found)]


def recipe(source: Any, backbone: Any, *overrides: str, **audio: Any) -> Recipe:
    """Sounds to texts."""
    values = {
        "data": {"from": source, "split": [0.6, 0.2, 0.2]},
        "inputs": {"sound": {"kind": "audio", "backbone": backbone} | audio},
        "tasks": {"words": {"kind": "transcribe", "of": "sound", "target": "text", "samples": 20}},
        "train": {"epochs": 1, "batch": 8, "head_lr": 0.003, "lr": 0.003, "seed": 0},
    }
    return read(values, overrides)


__all__ = ["RATE", "WORDS", "recipe", "rows", "said"]
