"""Sounds for the tests."""

import io
from typing import Any

import numpy as np
import soundfile

Wave = np.ndarray[Any, Any]
RATE = 16_000


def tone(seconds: float, rate: int = RATE, hertz: float = 440.0, seed: int | None = None) -> Wave:
    """(S,) float32: a tone, with noise where a seed is given."""
    t = np.arange(round(seconds * rate)) / rate
    x = 0.5 * np.sin(2 * np.pi * hertz * t)
    return (x if seed is None else x + 0.05 * np.random.default_rng(seed).standard_normal(len(t))).astype(np.float32)


def file(x: Wave, rate: int = RATE, form: str = "WAV", subtype: str | None = None) -> bytes:
    """A sound file of samples (S,) or (S, C)."""
    made = io.BytesIO()
    soundfile.write(made, x, rate, subtype, format=form)
    return made.getvalue()
