"""From the bytes of a sound file to one channel at the rate that a backbone wants; damaged, hostile and odd files included."""

from __future__ import annotations

import io
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from omnitune.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

    Wave = np.ndarray[Any, np.dtype[np.float32]]

FORMATS = "WAV, FLAC, OGG (Vorbis, Opus), MP3, AIFF, AU, CAF"
ARRAY = b"\x93NUMPY"
"""How a list of samples begins once `data.media` made a file of it: .npy, which tells no rate."""
UNKNOWN = 2**31 - 2**16
"""Sizes from here on are what programs write into the head of a WAV file while they do not know its size."""
LOUDEST = 16.0
"""Full scale is 1. Decoders may overshoot a little; whole numbers of 16 bits that somebody forgot to scale lie far beyond."""
MEND = "Replace the file, or leave the value missing"


def read(data: bytes, rate: int, seconds: float, given: int | None, start: float = 0.0) -> Wave:
    """(S,) float32, full scale 1: the mean of the channels, of `seconds` from `start` on, at `rate` samples a second.

    Args:
        data: the file.
        rate: that is wanted.
        seconds: what comes later is not read.
        given: rate of lists of samples, which tell none.

    Raises:
        Mistake: it is empty, no sound, damaged, without a sample, or has samples that are no number or far too loud.
    """
    import numpy as np

    x_SC, found = _array(data, seconds, given, start) if data.startswith(ARRAY) else _file(data, seconds, start)
    if not x_SC.size:
        raise Mistake("", "a sound of 0 samples", MEND)
    if not np.isfinite(x_SC).all():
        place = int((~np.isfinite(x_SC)).any(1).argmax())
        raise Mistake("", f"sample {place + 1:,} is no finite number (NaN or infinite)", MEND)
    if (loudest := float(np.abs(x_SC).max())) > LOUDEST:
        raise Mistake("", f"its samples go up to {loudest:,.0f}, where full scale is 1", f"Divide whole numbers of 16 bits by 32,768. {MEND}")
    return _resampled(x_SC.mean(1, dtype=np.float32), found, rate)


def length(data: bytes, given: int | None) -> float:
    """Seconds, as the header tells them."""
    if data.startswith(ARRAY):
        x, rate = _array(data, math.inf, given)
        return len(x) / rate
    with _opened(data) as file:
        return float(file.frames / file.samplerate)


def _resampled(x_S: Wave, found: int, rate: int) -> Wave:
    import numpy as np
    import soxr

    if found == rate:
        return x_S
    made = soxr.resample(x_S, found, rate)
    return np.ascontiguousarray(made if len(made) else x_S[:1], dtype=np.float32)  # of a sample or two, nothing would be left


def _array(data: bytes, seconds: float, given: int | None, start: float = 0.0) -> tuple[np.ndarray[Any, Any], int]:
    import numpy as np

    if given is None:
        raise Mistake("", "a list of samples tells no rate", "Set `rate`, in samples a second, or give {array: ..., sampling_rate: ...}")
    x = np.load(io.BytesIO(data), allow_pickle=False)
    first = round(start * given)
    return x[first : None if math.isinf(seconds) else first + math.ceil(seconds * given)].reshape(-1, 1), given


def _file(data: bytes, seconds: float, start: float) -> tuple[np.ndarray[Any, Any], int]:
    """(S, C), and the rate."""
    with _opened(data) as file:
        if start:
            file.seek(min(file.frames, round(start * file.samplerate)))
        wanted = min(file.frames, math.ceil(seconds * file.samplerate))
        return file.read(wanted, dtype="float32", always_2d=True), int(file.samplerate)


@contextmanager
def _opened(data: bytes) -> Iterator[Any]:
    import soundfile

    if not data:
        raise Mistake("", "an empty file (0 bytes)", MEND)
    try:
        file = soundfile.SoundFile(io.BytesIO(data))
    except (soundfile.LibsndfileError, TypeError) as error:
        said = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise Mistake("", f"not a sound that can be read, or its header is damaged ({said})", f"Formats: {FORMATS}") from None
    if (size := _size(data)) > len(data):
        raise Mistake("", f"a damaged sound: {len(data):,} of {size:,} bytes", MEND)
    with file:
        try:
            yield file
        except soundfile.LibsndfileError as error:
            raise Mistake("", f"a damaged sound: {error.error_string.strip().rstrip('.')}", MEND) from None


def _size(data: bytes) -> int:
    """Bytes that the head of a WAV or AIFF file promises; libsndfile would take what is there for all. 0 where it does not know."""
    order: Any = {b"RIFF": "little", b"FORM": "big"}.get(data[:4])
    size = int.from_bytes(data[4:8], order) if order else 0
    return size + 8 if 0 < size < UNKNOWN else 0
