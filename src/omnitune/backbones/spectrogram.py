"""spectrogram: a Transformer over the spectrogram of sounds that starts from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.backbones import Architecture, Backbone, Facts, _sound
from omnitune.component import component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

HEAD = 64


@component
class Spectrogram(Backbone):
    """A small Transformer over the log-mel spectrogram of sounds, from scratch; one dial, `depth`, and the rest derived. A Whisper or wav2vec 2.0
    checkpoint learns more from few sounds.

    Args:
        depth: blocks.
        width: D; 32 a block where left out, even.
        heads: of attention; one for each 64 of the width where left out.
        patch: frames (of 10 ms) a token.
        bins: bands of the mel scale.
        dropout: of layers and attention weights.
        rate: samples a second that sounds are brought to.
    """

    depth: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=2, multiple_of=2)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    patch: Annotated[int, Field(ge=1, le=1000)] = 4
    bins: Annotated[int, Field(ge=2, le=128)] = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    rate: Annotated[int, Field(ge=8_000, le=96_000, multiple_of=100)] = 16_000

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """A model with new weights."""
        from omnitune.nn.encoder import Encoder
        from omnitune.nn.spectrogram import SpectrogramConfig, SpectrogramTransformer

        config = SpectrogramConfig(
            hidden_size=self._width, num_hidden_layers=self.depth, num_attention_heads=self._heads, num_mel_bins=self.bins, patch_size=self.patch,
            dropout=self.dropout, attention_dropout=self.dropout,
        )  # fmt: skip
        return Encoder(SpectrogramTransformer(config), "mean")

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The same: there is nothing to read."""
        return self.encoder(facts)

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """It reads no texts."""
        raise AssertionError("a spectrogram is of sounds")

    def picture(self) -> dict[str, Any]:
        """It reads no pictures."""
        raise AssertionError("a spectrogram is of sounds")

    def sound(self) -> dict[str, Any]:
        """See `Backbone.sound`: Whisper's spectrogram, of 10 ms a frame, and up to an hour."""
        hop = self.rate // 100
        return {"form": "log_mel", "rate": self.rate, "bins": self.bins, "n_fft": 5 * hop // 2, "hop": hop, "most": 3600 * self.rate}

    def speech(self) -> dict[str, Any]:
        """See `Backbone.speech`."""
        return super().speech() | {"steps": _sound.steps({"model_type": _sound.OURS, "patch_size": self.patch})}

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        return Architecture(self._width, attention=True, pretrained=False)

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        folder.mkdir(parents=True, exist_ok=True)
        _sound.write(folder, self.sound())

    def check(self) -> str | None:
        """Heads must divide the width."""
        return f"{self._heads} heads do not divide the width {self._width}. Choose numbers that divide" if self._width % self._heads else None

    @property
    def _width(self) -> int:
        return self.width or 32 * self.depth

    @property
    def _heads(self) -> int:
        return self.heads or max(1, self._width // HEAD)
