"""What a checkpoint of sound expects to hear, from preprocessor_config.json and config.json as plain JSON (no feature extractor is built)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from omnitune.backbones._picture import FILE, values_of
from omnitune.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

WHISPER, AST, OURS = "whisper", "audio-spectrogram-transformer", "spectrogram"
WAVES = ("wav2vec2", "hubert", "wavlm", "unispeech", "unispeech-sat", "data2vec-audio")
"""Model types that read the wave itself."""
RATE = 16_000
EXTRACTORS = {WHISPER: "WhisperFeatureExtractor", AST: "ASTFeatureExtractor", OURS: "WhisperFeatureExtractor"} | dict.fromkeys(
    WAVES, "Wav2Vec2FeatureExtractor"
)


def known(model_type: Any) -> bool:
    """Whether models of this type hear."""
    return model_type in EXTRACTORS


def facts(folder: Path, config: dict[str, Any], where: str) -> dict[str, Any]:
    """What it hears, by `form`, always with `rate` (samples a second):

    - `log_mel`, as Whisper: `bins`, `n_fft` and `hop` (samples), `most` (samples that it hears at a time).
    - `fbank`, as AST: `bins`, `most` (frames), `mean` and `std` (that of half, as AST has it), `patch` and `stride` (frames).
    - `wave`: `normalise`, whether a clip gets mean 0 and deviation 1; `least` (samples).

    Raises:
        Mistake: the checkpoint is none of sound, its settings cannot be read, or they ask for something else.
    """
    kind = str(config.get("model_type"))
    if not known(kind):
        raise Mistake(where, f"{kind!r} hears no sound", f"Choose a checkpoint of {', '.join(EXTRACTORS)}, or kind: spectrogram")
    values = values_of(folder / FILE, where)
    if values.get("feature_extractor_type", EXTRACTORS[kind]) != EXTRACTORS[kind]:
        raise Mistake(
            where, f"its sounds are prepared by {values['feature_extractor_type']}, which is not supported", f"Choose one with {EXTRACTORS[kind]}"
        )
    rate = int(values.get("sampling_rate", RATE))
    if kind == WHISPER:
        hop, bins = int(values.get("hop_length", 160)), int(values.get("feature_size", config.get("num_mel_bins", 80)))
        frames = 2 * int(config.get("max_source_positions", 1500))
        return {"form": "log_mel", "rate": rate, "bins": bins, "n_fft": int(values.get("n_fft", 400)), "hop": hop, "most": frames * hop}
    if kind == AST:
        return {"form": "fbank", "rate": rate} | _fbank(values, config)
    return {"form": "wave", "rate": rate, "normalise": bool(values.get("do_normalize", True)), "least": _least(config)}


def steps(config: dict[str, Any]) -> list[tuple[int, int, int]] | None:
    """Kernel, stride and padding on both sides of what makes tokens, one behind the other, of frames or samples; None where tokens are no
    stretches of time."""
    kind = config.get("model_type")
    if kind == WHISPER:
        return [(3, 1, 1), (3, 2, 1)]
    if kind == OURS:
        return [(1, int(config["patch_size"]), 0)]
    return None if kind == AST else [(kernel, stride, 0) for kernel, stride in _convolutions(config)]


def _fbank(values: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    bins, most = (int(config.get(name, other)) for name, other in (("num_mel_bins", 128), ("max_length", 1024)))
    patch, stride = int(config.get("patch_size", 16)), int(config.get("time_stride", 10))
    normal = values.get("do_normalize", True)
    mean, std = (float(values.get("mean", -4.2677393)), float(values.get("std", 4.5689974))) if normal else (0.0, 0.5)
    return {"bins": bins, "most": most, "mean": mean, "std": std, "patch": patch, "stride": stride}


def _least(config: dict[str, Any]) -> int:
    """Samples of which the convolutions of a model of waves make one token."""
    needed = 1
    for kernel, stride in reversed(_convolutions(config)):
        needed = (needed - 1) * stride + kernel
    return int(needed)


def _convolutions(config: dict[str, Any]) -> list[tuple[int, int]]:
    return list(zip(config.get("conv_kernel") or KERNELS, config.get("conv_stride") or STRIDES, strict=True))


KERNELS, STRIDES = (10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2)


def write(folder: Path, sound: dict[str, Any]) -> None:
    """`sound` as a preprocessor_config.json of its own, for checkpoints that came without one."""
    made: dict[str, Any] = {"sampling_rate": sound["rate"], "padding_value": 0.0}
    if sound["form"] == "log_mel":
        chunk = sound["most"] // sound["rate"]
        made |= {
            "feature_extractor_type": EXTRACTORS[WHISPER],
            "feature_size": sound["bins"],
            "hop_length": sound["hop"],
            "n_fft": sound["n_fft"],
            "chunk_length": chunk,
        }
    elif sound["form"] == "fbank":
        made |= {
            "feature_extractor_type": EXTRACTORS[AST],
            "num_mel_bins": sound["bins"],
            "max_length": sound["most"],
            "mean": sound["mean"],
            "std": sound["std"],
        }
    else:
        made |= {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "feature_size": 1, "do_normalize": sound["normalise"]}
    (folder / FILE).write_text(json.dumps(made, indent=2), encoding="utf-8")
