"""Sounds: samples in a list or an array become a file, as all media are files from there on; the same samples always the same bytes."""

import io
from typing import Any

import numpy as np

from omnitune.errors import Mistake

Samples = np.ndarray[Any, Any]
WIDTHS = ("float32", "float64", "int16", "int32", "uint8")
"""Numbers that a WAV file holds as they are."""
MEND = "Give the samples of one channel as a list of numbers, full scale 1"


def rated(samples: Any, rate: Any) -> bytes:
    """A WAV file. Raises `Mistake` where there are no samples, or the rate is none."""
    from scipy.io import wavfile

    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)) or not 0 < rate < 2**31:
        raise Mistake("", f"a sampling_rate of {rate!r}", "Give samples a second, a whole number")
    file = io.BytesIO()
    wavfile.write(file, int(rate), _array(samples))
    return file.getvalue()


def unrated(samples: Any) -> bytes:
    """A .npy file, which tells no rate. Raises `Mistake` where there are no samples."""
    file = io.BytesIO()
    np.save(file, _array(samples).astype(np.float32), allow_pickle=False)
    return file.getvalue()


def _array(samples: Any) -> Samples:
    """(S,), or (S, C) of several channels, which are fewer than samples whichever comes first."""
    try:
        x = np.asarray(samples)
    except ValueError:  # lists of different lengths
        x = np.empty(0, object)
    if x.dtype.kind not in "iuf" and x.size:
        raise Mistake("", "a list of something else than numbers", MEND)
    if not x.size or x.ndim > 2:
        raise Mistake("", f"samples of shape {x.shape}" if x.size else "a sound of 0 samples", MEND)
    x = x if str(x.dtype) in WIDTHS else x.astype(np.float32)
    return np.ascontiguousarray(x.T if x.ndim == 2 and x.shape[0] < x.shape[1] else x)
