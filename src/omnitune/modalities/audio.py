"""audio: a sound, from the bytes of its file or from its samples."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from omnitune.backbones import Backbone
from omnitune.component import any_of, component
from omnitune.errors import Mistake
from omnitune.modalities import Decoder, Facts, Modality, _several, _sound
from omnitune.modalities._words import Words

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from omnitune.nn.encoder import Encoder

LONGEST = 30.0
"""Seconds that are read where neither the recipe nor the checkpoint says how many."""
SILENCE = 1.0
"""Seconds of it behind a clip that Whisper hears; measured in docs/log.md."""
RATE, BANDS = 16_000, 40
"""Of `outline`."""
SHARE = 0.2
"""Of a clip that one time mask hides at most; p of Park et al. 2019, table 1."""


@component
class Audio(Modality):
    """A sound: WAV, FLAC, OGG, Opus, MP3, AIFF; of any rate and number of channels, whose mean is read; or samples, full scale 1, as
    {array: ..., sampling_rate: ...} or as a plain list. Its rate and spectrogram are those of the checkpoint.

    Each clip is read at its own length; a short one does not cost the 30 seconds of Whisper or the 10 of AST.

    Args:
        backbone: a checkpoint of sound (Whisper, whose encoder is read; wav2vec 2.0, HuBERT, WavLM; AST): a hub name, a directory or
            `sample:NAME`; or `spectrogram`, a small Transformer that starts from nothing.
        rate: samples a second of cells that are plain lists, which tell none.
        max_seconds: that are read, the first ones; what the checkpoint hears at a time where left out, 30 where it has no limit. The share of
            clips that are longer is reported.
        silence: seconds behind each clip that are read too. Whisper was trained with silence behind what it hears, and tells in it of the whole:
            1 for its checkpoints where left out, 0 for others.
        full_length: fill every clip up with silence to the length that Whisper or AST was trained on, at its cost.
        most: clips that are read of one cell, the first ones of a list (in files without lists a text such as `["a", "b"]`); with 1 a
            cell holds one. Each is read by itself, and stands as one token in the fusion; their mean is the input's vector.
        prompt_tokens: that it takes in a prompt at most; where its backbone makes more, those that follow one another are averaged.
        time_masks: stretches of time hidden in training (SpecAugment, Park et al. 2019, https://arxiv.org/abs/1904.08779), each up to a fifth of
            the clip.
        time_mask: the widest of them, in seconds.
        band_masks: stretches of the frequencies hidden in training.
        band_mask: the widest of them, as a share of all bands.
        noise: adds white noise in training, so many dB below the clip at its loudest, and up to 20 dB more at its faintest.
        shift: moves clips in training by up to so many seconds, earlier or later, silence filling the gap.
        views: so many augmented views of each clip, always the same, take turns over the epochs, so that a frozen part is computed once a view;
            0 draws new ones in every epoch.
    """

    media: ClassVar[bool] = True
    content: ClassVar[bool] = True

    backbone: any_of(Backbone) = Field(default="spectrogram", validate_default=True)  # type: ignore[valid-type]
    rate: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    max_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    silence: Annotated[float, Field(ge=0, le=3600)] | None = None
    full_length: bool = False
    most: Annotated[int, Field(ge=1, le=64)] = 1
    prompt_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    time_masks: Annotated[int, Field(ge=0, le=100)] = 0
    time_mask: Annotated[float, Field(gt=0, le=3600)] = 0.5
    band_masks: Annotated[int, Field(ge=0, le=100)] = 0
    band_mask: Annotated[float, Field(gt=0, lt=1)] = 0.2
    noise: Annotated[float, Field(ge=-20, le=100)] | None = None
    shift: Annotated[float, Field(ge=0, le=3600)] = 0.0
    views: Annotated[int, Field(ge=0)] = 0

    @property
    def augments(self) -> bool:
        """See `Modality.augments`."""
        return bool(self.time_masks or self.band_masks or self.shift) or self.noise is not None

    @property
    def fixed_views(self) -> int:
        """See `Modality.fixed_views`."""
        return self.views if self.augments else 0

    def check(self, value: Any) -> str | None:
        """Decodes what is read of it, so that a damaged file is found before training."""
        if self.several:
            return _several.check(self.one, value, self.most)
        if isinstance(value, list):
            return f"expected one file, got a list. {_several.FIX}"
        if not isinstance(value, bytes):
            return f"expected the bytes of a sound file, got {type(value).__name__}"
        try:
            self._wave(value)
        except Mistake as mistake:
            return f"{mistake.what}. {mistake.fix}"
        return None

    @property
    def one(self) -> Audio:
        """What reads each of several."""
        return self.replace(most=1)

    def each(self, values: Sequence[Any]) -> Sequence[Any]:
        """See `Modality.each`."""
        return _several.Items(values, self.most) if self.several else values

    def learn(self, values: Sequence[Any]) -> Facts:
        """`cut`: the share of clips that are longer than is read, by their headers."""
        seconds = [_sound.length(value, self.rate) for value in self.each(values) if value is not None]
        return {"cut": sum(one > self._hears["seconds"] for one in seconds) / max(1, len(seconds))}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`sound` (B, T, M) float32, or (B, T) of a backbone that hears waves, zeros behind shorter clips; `length` (B,), of each in frames or
        samples, 0 where it is missing; `cut` (B,), whether it is as long as what is read, so that more may follow. Every clip has a random stream
        of its own, and a thread.

        A value is the bytes of a file, or what `decoder` made of them. Of several in a cell see `_several.encode`.
        """
        import torch

        if self.several:
            return _several.encode(self.one, values, self.most, facts, rng)
        augment = rng is not None and self.augments
        draws = self._draws(len(values), rng if augment else None)

        def read(place: int) -> Tensor | None:
            value = values[place]
            return None if value is None else self._heard(value, draws[place] if augment else None)

        with ThreadPoolExecutor(min(len(values), os.cpu_count() or 1)) as pool:
            clips = list(pool.map(read, range(len(values))))
        length = torch.tensor([0 if clip is None else len(clip) for clip in clips])
        bands = [self._hears["bins"]] if "bins" in self._hears else []
        sound = torch.zeros(len(values), max(1, int(length.max())), *bands)
        for place, clip in enumerate(clips):
            if clip is not None:
                sound[place, : len(clip)] = clip
        cut = torch.tensor([clip is not None and self._is_cut(clip) for clip in clips], dtype=torch.bool)
        return {"sound": sound, "length": length, "present": length > 0, "cut": cut}

    def _is_cut(self, clip: Tensor) -> bool:
        """Whether it, (T, M) or (T,), is as long as what is read: then nobody knows what came behind it. One that is filled up ends in silence."""
        longest, room = _longest(self._hears)
        return len(clip) >= longest if longest <= room else len(clip) >= room and not bool((clip[-1] == clip.min()).all())

    def _draws(self, n: int, rng: np.random.Generator | None) -> list[int]:
        """A number for each of `n` clips: the same one where they have fixed views."""
        if rng is None:
            return []
        return [int(rng.integers(2**63))] * n if self.views else [int(draw) for draw in rng.integers(2**63, size=n)]

    def _heard(self, value: Any, draw: int | None) -> Tensor:
        """What the backbone hears of a clip, (T, M) or (T,); augmented where something is drawn."""
        import numpy as np

        from omnitune.nn import mel

        augment, wave = draw is not None, self._hears["form"] == "wave"
        data = value if isinstance(value, np.ndarray) else self.decoder(augment).read(value)
        x = _floats(data)
        if draw is not None:
            rng = np.random.default_rng([draw, zlib.crc32(data.data)] if self.views else draw)
            x = self._augmented(x, rng)
        if not wave:
            return x
        x = mel.normed(x) if self._hears["normalise"] else x
        return _filled(x, max(self._hears["least"], len(x) + round(self._hears["silence"] * self._hears["rate"])))

    def _augmented(self, x: Tensor, rng: np.random.Generator) -> Tensor:
        from omnitune.nn import disturb

        hears, wave = self._hears, self._hears["form"] == "wave"
        if self.noise is not None:
            x = disturb.noise(x, self.noise, rng)
            x = x if wave else self._spectrogram(x)
        second = hears["rate"] if wave else 100
        if self.shift:
            x = disturb.shift(x, round(self.shift * second), 0.0 if wave else float(x.min()), rng)
        if self.band_masks and wave:
            x = disturb.mask_frequencies(x, self.band_masks, self.band_mask, rng)
        elif self.band_masks:
            x = disturb.mask_bands(x, self.band_masks, round(self.band_mask * hears["bins"]), float(x.mean()), rng)
        return disturb.mask_times(x, self.time_masks, round(self.time_mask * second), SHARE, 0.0 if wave else float(x.mean()), rng)

    def decoder(self, augment: bool) -> Decoder:
        """To what the backbone hears, or to the wave where training adds noise to it, as float32 in bytes: (T, 4 M) or (4 S,)."""
        import soundfile
        import soxr
        import torch

        hears = self._hears
        wave = hears["form"] == "wave" or (augment and self.noise is not None)
        versions = {"soundfile": soundfile.__libsndfile_version__, "soxr": soxr.__version__, "torch": torch.__version__}
        settings = hears | versions | {"given": self.rate, "wave": wave}
        most = hears["seconds"] * hears["rate"] if wave else 100 * (hears["seconds"] + hears["silence"]) * hears["bins"]
        return Decoder(self._wave_bytes if wave else self._spectrogram_bytes, settings, round(4 * most))

    def _wave_bytes(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        import numpy as np

        return self._wave(data).view(np.uint8)

    def _spectrogram_bytes(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        import numpy as np
        import torch

        return self._spectrogram(torch.from_numpy(self._wave(data))).numpy().view(np.uint8)

    def _wave(self, data: bytes) -> np.ndarray[Any, np.dtype[np.float32]]:
        return _sound.read(data, self._hears["rate"], self._hears["seconds"], self.rate)

    def _spectrogram(self, x_S: Tensor) -> Tensor:
        from omnitune.nn import mel

        hears = {name: value for name, value in self._hears.items() if name not in ("form", "seconds")}
        return (mel.log_mel if self._hears["form"] == "log_mel" else mel.fbank)(x_S, **hears)

    def windows(self, value: bytes, overlap: float) -> Iterator[tuple[float, float, bool, np.ndarray[Any, Any]]]:
        """A sound of any length as stretches of what is read at a time, each beginning `overlap` seconds before the one before it ends: when it
        begins and ends, in seconds, whether it is the last one, and what `encode` takes in the place of a file. One is in memory at a time."""
        import numpy as np
        import torch

        hears, start = self._hears, 0.0
        total = _sound.length(value, self.rate)
        while True:
            wave = _sound.read(value, hears["rate"], hears["seconds"], self.rate, start)
            read = wave if hears["form"] == "wave" else self._spectrogram(torch.from_numpy(wave)).numpy()
            stop, last = min(total, start + hears["seconds"]), start + hears["seconds"] >= total
            yield start, stop, last, read.view(np.uint8)
            if last:
                return
            start += hears["seconds"] - overlap

    def speech(self, facts: Facts) -> Facts:
        """What comes with the backbone that writes what is said (`Backbone.speech`); the `seconds` that are read, and whether somebody chose the
        silence behind them (`chosen`)."""
        chosen = self.full_length or self.silence is not None
        return {**self.backbone.speech(), "seconds": self._hears["seconds"], "chosen": chosen}

    def spelled(self, text: str, lead: str) -> list[int]:
        """See `Modality.spelled`."""
        ids: list[int] = _words(self.backbone, self.backbone.stamp()).plain.encode(lead + text, add_special_tokens=False).ids
        return ids

    def outline(self, values: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Mean and deviation over time of the loudness of 40 bands, up to 8 kHz, (n, 80)."""
        import numpy as np

        if self.several:
            return _several.outline(self.one.outline, values, self.most)
        return np.array([[np.nan] * 2 * BANDS if value is None else self._bands(value) for value in values]).reshape(-1, 2 * BANDS)

    def _bands(self, value: bytes) -> list[float]:
        import torch

        from omnitune.nn import mel

        x_S = torch.from_numpy(_sound.read(value, RATE, self._hears["seconds"], self.rate))
        x_TM = mel.log_mel(x_S, RATE, BANDS, 400, 160, len(x_S) + RATE)
        return [*x_TM.mean(0).tolist(), *x_TM.std(0).tolist()]

    def size(self, value: Any) -> int:
        """About how many frames of 10 ms."""
        if self.several:
            return _several.size(self.one, value, self.most)
        return 1 + int(100 * min(_sound.length(value, self.rate), self._hears["seconds"]))

    @property
    def _hears(self) -> dict[str, Any]:
        return _hears(self.backbone, self.max_seconds, self.silence, self.full_length, self.backbone.stamp())

    def encoder(self, facts: Facts) -> nn.Module:
        """A `SoundReader` with the checkpoint's weights."""
        return _reader(self.backbone.encoder())

    def skeleton(self, facts: Facts) -> nn.Module:
        """A `SoundReader` without them."""
        return _reader(self.backbone.skeleton())

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """WAV files: falling tones, of different lengths and rates, in stereo here and there."""
        import io

        import numpy as np
        import soundfile

        made = []
        for i in range(n):
            rate = (8_000, 16_000, 44_100)[i % 3]
            t = np.arange(int(rate * rng.uniform(0.2, 0.6))) / rate
            x = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 2000) * t * (1 - t / 2)) + 0.01 * rng.standard_normal(len(t))
            file = io.BytesIO()
            soundfile.write(file, np.stack([x, x / 2], 1) if i % 4 == 3 else x, rate, "PCM_16", format="WAV")
            made.append(file.getvalue())
        return made


@cache
def _hears(backbone: Backbone, max_seconds: float | None, silence: float | None, full_length: bool, stamp: tuple[Any, ...]) -> dict[str, Any]:
    """What the backbone expects, the `seconds` that are read, and those of `silence` behind them; its files are read once as long as they stay as
    they are."""
    found, pretrained = backbone.sound(), backbone.architecture().pretrained
    if silence is None:
        silence = SILENCE if found["form"] == "log_mel" and pretrained else 0.0
    limit = {"log_mel": lambda: found["most"] / found["rate"], "fbank": lambda: (160 * found["most"] + 240) / found["rate"]}.get(found["form"])
    if full_length and (limit is None or not pretrained):
        raise Mistake("full_length", "this backbone was not trained on clips of one length", "Leave full_length out")
    if limit is None:
        return found | {"seconds": max_seconds or LONGEST, "silence": silence}
    longest = limit()
    if max_seconds is not None and max_seconds > longest:
        raise Mistake("max_seconds", f"the backbone hears {longest:g} seconds at a time", f"Set max_seconds to {longest:g} at most, or leave it out")
    return found | {"seconds": max_seconds or (longest if pretrained else LONGEST), "silence": longest if full_length else silence}


def _longest(hears: dict[str, Any]) -> tuple[float, float]:
    """Frames or samples of a clip that goes on behind what is read, with its silence, and how many the backbone hears; of filter banks none are
    counted."""
    heard = (hears["seconds"] + hears["silence"]) * hears["rate"]
    if hears["form"] == "wave":
        return int(heard) - 2, math.inf  # a resampled clip may lack one or two
    if hears["form"] == "fbank":
        return math.inf, math.inf
    return 2 * math.ceil(heard / (2 * hears["hop"])), hears["most"] // hears["hop"]


@cache
def _words(backbone: Backbone, stamp: tuple[Any, ...]) -> Words:
    """The tokenizer of a decoder, set up once as long as its files stay as they are."""
    return Words(backbone.tokenizer(), 2**30)


def _reader(backbone: Encoder) -> nn.Module:
    from omnitune.nn.readers import SoundReader

    if backbone.hearing is None:
        raise Mistake("backbone", f"{type(backbone.model).__name__} hears no sound", "Choose a checkpoint of sound, or kind: spectrogram")
    return SoundReader(backbone)


def _floats(data: np.ndarray[Any, Any]) -> Tensor:
    """The numbers that lie in bytes, the last dimension four times as long."""
    import numpy as np
    import torch

    return torch.from_numpy(data.copy().view(np.float32))


def _filled(x_S: Tensor, least: int) -> Tensor:
    """With silence behind it up to the least that makes a token."""
    import torch

    return torch.nn.functional.pad(x_S, (0, max(0, least - len(x_S))))
