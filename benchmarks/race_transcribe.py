"""Race: telephone prompts are written down by Whisper tiny.en as it is; the pipeline of transformers beside omnitune.

Both fill sounds up to thirty seconds, read files from disk, and hear sixteen at once. The limit is the work of the encoder by the matmul peak: what
the decoder writes of a few words comes on top.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flops
import soundfile
import soxr
import torch
from race_generate import Size as Writing
from races import Done, Race, Side, timed
from transformers import AutoConfig, pipeline

from omnitune.data.prepared import prepare
from omnitune.data.table import read as read_table
from omnitune.recipe import read
from omnitune.training.listening import Listening
from omnitune.training.model import Model

AT_ONCE, RATE, FRAMES, BANDS = 16, 16_000, 3000, 80


@dataclass(frozen=True)
class Size:
    """How much is heard.

    Args:
        backbone: a sample or a folder.
        clips: of a table with the columns audio and text.
    """

    backbone: str = "sample:whisper-tiny-en"
    clips: int = 32


def race(size: Size) -> Race:
    """From files to texts."""
    table = read_table(f"sample:phone-prompts-en#{size.clips}")
    assert table.root is not None
    paths = [str(table.root / value) for value in table.take("audio", range(len(table)))]
    seconds = sum(soundfile.info(path).duration for path in paths)
    folder = Writing(size.backbone).folder
    sides = {"omnitune": ours(size, paths, seconds), "pipeline in batches": theirs(folder, paths, seconds)}
    return Race(
        f"transcribe: {len(paths)} clips, {seconds:.0f} seconds", "seconds of sound", seconds * flops.peak() / work(folder, len(paths)), sides
    )


def work(folder: str, clips: int) -> float:
    """FLOPs of the encoder: two convolutions, and blocks over half as many tokens as frames."""
    config: Any = AutoConfig.from_pretrained(folder)
    width, tokens = config.d_model, FRAMES // 2
    blocks = flops.Shape(config.encoder_layers, width, config.encoder_ffn_dim).forward(tokens)
    return clips * (blocks + 2.0 * 3 * width * (FRAMES * BANDS + tokens * width))


def ours(size: Size, paths: Sequence[str], seconds: float) -> Side:
    """As `omnitune predict` writes them."""
    recipe = read({
        "data": {"from": "sample:phone-prompts-en#40"},
        "inputs": {"audio": {"kind": "audio", "backbone": size.backbone, "full_length": True}},
        "tasks": {"words": {"kind": "transcribe", "of": "audio", "target": "text"}},
    })  # fmt: skip
    prepared = prepare(recipe)
    model = Model(prepared.recipe, prepared.schema).eval()
    listening = Listening(model, prepared.recipe, prepared.schema, "words")

    def run() -> Done:
        rows = [{"audio": Path(path).read_bytes()} for path in paths]
        return Done(seconds, 0, tuple(plain(one.text) for one in listening(rows)))

    return lambda: timed(run)


def theirs(folder: str, paths: Sequence[str], seconds: float) -> Side:
    """As one writes it after reading the documentation of transformers."""
    hear = pipeline("automatic-speech-recognition", model=folder, batch_size=AT_ONCE, dtype=torch.float32)

    def run() -> Done:
        return Done(seconds, 0, tuple(plain(one["text"]) for one in hear([samples(path) for path in paths])))

    return lambda: timed(run)


def samples(path: str) -> dict[str, Any]:
    """Of one sound, at the rate of the model."""
    x, rate = soundfile.read(path, dtype="float32")
    return {"raw": soxr.resample(x, rate, RATE), "sampling_rate": RATE}


def plain(text: str) -> str:
    """Without space around."""
    return text.strip()
