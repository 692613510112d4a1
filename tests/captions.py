"""Pictures and sounds that stand in prompts, for tests: what they show follows from their colours or tones."""

import io
from typing import Any

import numpy as np
from PIL import Image

import checkpoints
from omnitune.recipe import Recipe, read
from sounds import file, tone

COLOURS = {"red": (220, 40, 30), "green": (30, 200, 60), "blue": (40, 60, 230)}
SAID = {"red": "stop here", "green": "go on", "blue": "wait a little"}
NOTHING = "nothing there"
GPT = {"kind": "gpt", "generation": "modern", "depth": 2, "width": 48, "heads": 2, "context": 64, "vocabulary": 300}
TONES = {"red": 300.0, "green": 900.0, "blue": 2400.0}


def picture(colour: str, seed: int = 0) -> bytes:
    """A PNG file of one colour, with noise."""
    rng, made = np.random.default_rng(seed), io.BytesIO()
    x_HW3 = np.array(COLOURS[colour]) + rng.normal(scale=12, size=(checkpoints.SIDE, checkpoints.SIDE, 3))
    Image.fromarray(x_HW3.clip(0, 255).astype(np.uint8)).save(made, "PNG")
    return made.getvalue()


def heard(colour: str, seed: int = 0) -> bytes:
    """A sound that stands for a colour, of a length of its own."""
    rng = np.random.default_rng(seed)
    return file(tone(float(rng.uniform(0.2, 0.4)), hertz=TONES[colour], seed=seed))


def rows(n: int = 90, make: Any = picture) -> list[dict[str, Any]]:
    """Pictures, some of them missing, a word about each that is of no use, and what they say."""
    rng = np.random.default_rng(0)
    colours = [str(colour) for colour in rng.choice(list(COLOURS), n)]
    made = [{"photo": make(colour, i), "place": f"corner {i}" * (i % 3), "says": SAID[colour]} for i, colour in enumerate(colours)]
    return [row | ({"photo": None, "says": NOTHING} if i % 10 == 9 else {}) for i, row in enumerate(made)]


def recipe(source: Any, *overrides: str, photo: dict[str, Any] | None = None, backbone: Any = None, **task: Any) -> Recipe:
    """A picture and the language model that is asked about it."""
    values = {
        "data": {"from": source, "split": [0.6, 0.2, 0.2]},
        "inputs": {
            "photo": photo or {"kind": "image", "backbone": str(checkpoints.tiny_vit()), "augment": False, "prompt_tokens": 9},
            "place": {"kind": "text", "backbone": GPT if backbone is None else backbone, "max_tokens": 64},
        },
        "tasks": {"says": {"kind": "generate", "of": "place", "prompt": "At {place} {photo} says", "target": "says", "samples": 8} | task},
        "tuning": {"kind": "full", "of": ["place"]},
        "train": {"epochs": 20, "batch": 8, "lr": 3e-3, "head_lr": 3e-3},
    }
    return read(values, overrides)
