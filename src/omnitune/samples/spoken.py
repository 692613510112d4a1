"""Spoken digits among the samples: a speech engine says them in many voices, some of which are kept for validation and testing."""

from __future__ import annotations

import ctypes
import platform
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from omnitune.errors import Mistake
from omnitune.samples.tables import write

if TYPE_CHECKING:
    import numpy as np

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-US", "en", "en-029", "en-GB-scotland")
VOICES = {"train": ("m1", "m2", "m4", "m6", "f1", "f2", "f3", "f5"), "validation": ("m5", "f4"), "test": ("m3", "m7", "croak", "klatt3")}
"""Variants of the engine by part; every one speaks in each of the accents."""
TAKES, MOST, RATE = 25, 4, 16_000
"""Of a voice in an accent: how often it speaks, and how many digits at most."""
RETRIEVED, CHARS_UTF8 = 2, 1
"""What the engine's header calls sound that is handed over in one go, and texts in UTF-8."""


def digits(wheel: Path, folder: Path) -> None:
    """`text`: one to four digits as words; `voice`: who says them, in no other part."""
    import pyarrow as pa
    import soundfile

    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Mistake("sample:spoken-digits", "its speech engine is made for Linux on x86-64", "Make it there, and copy its folder")
    with TemporaryDirectory() as work:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work)
        engine = Engine(Path(work) / "espeakng_loader")
        (folder / "audio").mkdir()
        for part, variants in VOICES.items():
            rows = []
            for number, (voice, text) in enumerate(_lines(variants)):
                path = f"audio/{part}-{number:04}.flac"
                soundfile.write(folder / path, engine.say(text, voice), RATE, "PCM_16")
                rows.append({"audio": path, "text": text, "voice": voice})
            write(pa.Table.from_pylist(rows), folder, name=part)


def _lines(variants: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Voices, and what they say."""
    for voice in (f"gmw/{accent}+{variant}" for accent in ACCENTS for variant in variants):
        rng = random.Random(voice)
        for _ in range(TAKES):
            yield voice, " ".join(rng.choices(WORDS, k=rng.randint(1, MOST)))


class Engine:
    """espeak-ng, from its shared library.

    Args:
        folder: where the library and its data lie.
    """

    def __init__(self, folder: Path) -> None:
        self.library = ctypes.CDLL(str(folder / "libespeak-ng.so"))
        data = next(folder.rglob("phontab")).parent.parent
        self.rate = self.library.espeak_Initialize(RETRIEVED, 0, str(data).encode(), 0)
        self.parts: list[bytes] = []
        self.callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)(self._take)  # kept alive
        self.library.espeak_SetSynthCallback(self.callback)

    def _take(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self.parts.append(ctypes.string_at(samples, 2 * count))
        return 0

    def say(self, text: str, voice: str) -> np.ndarray[Any, Any]:
        """(S,) float32, at `RATE`."""
        import numpy as np
        import soxr

        assert self.library.espeak_SetVoiceByName(voice.encode()) == 0, voice
        self.parts.clear()
        line = text.encode()
        self.library.espeak_Synth(line, len(line) + 1, 0, 0, 0, CHARS_UTF8, None, None)
        self.library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self.parts), np.int16).astype(np.float32) / 2**15
        return np.asarray(soxr.resample(samples, self.rate, RATE), np.float32).clip(-1, 1)
