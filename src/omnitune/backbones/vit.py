"""vit: a Vision Transformer that starts from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from omnitune.backbones import Architecture, Backbone, Facts, _picture
from omnitune.component import component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

HEAD = 64
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@component
class ViT(Backbone):
    """A Vision Transformer from scratch, for pre-training with the task `masked_image`, or for very many labelled pictures; one dial, `depth`, and
    the rest derived.

    With a class token it is saved as transformers' own ViT, so that any recipe takes the run as a `backbone`.

    Args:
        depth: blocks.
        width: D; 64 a block where left out.
        heads: of attention; one for each 64 of the width where left out.
        size: side of the pictures, in pixels.
        patch: side of the patches that a picture is cut into, in pixels; a divisor of `size`.
        pool: what stands for a picture: `first`, a class token, or `mean`, the mean of its patches, without one.
        positions: `sincos`, fixed sines and cosines of both coordinates, as masked autoencoders have them, or `learned`.
        dropout: of layers and attention weights.
        mean: of red, green and blue, for values in [0, 1]; it is taken from each pixel.
        std: of the same, by which what is left is divided.
    """

    depth: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=4, multiple_of=4)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    size: Annotated[int, Field(ge=2)] = 32
    patch: Annotated[int, Field(ge=1)] = 4
    pool: Literal["first", "mean"] = "first"
    positions: Literal["sincos", "learned"] = "sincos"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mean: tuple[Share, Share, Share] = (0.5, 0.5, 0.5)
    std: tuple[Positive, Positive, Positive] = (0.5, 0.5, 0.5)

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """A model with new weights."""
        from omnitune.nn.encoder import Encoder
        from omnitune.nn.vit import ViT as Model
        from omnitune.nn.vit_config import VisionTransformerConfig

        config = VisionTransformerConfig.of(
            self.depth, width=self._width, heads=self.heads, size=self.size, patch=self.patch, class_token=self.pool == "first",
            positions=self.positions, dropout=self.dropout,
        )  # fmt: skip
        return Encoder(Model(config), self.pool)

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The same: there is nothing to read."""
        return self.encoder(facts)

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """It reads no texts."""
        raise AssertionError("a ViT reads pictures")

    def picture(self) -> dict[str, Any]:
        """See `Backbone.picture`."""
        return {"size": (self.size, self.size), "mean": list(self.mean), "std": list(self.std), "resample": _picture.BICUBIC, "crop_pct": 1.0}

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        return Architecture(self._width, attention=True, pretrained=False, patch=self.patch)

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        folder.mkdir(parents=True, exist_ok=True)
        _picture.write(folder, self.picture())

    def check(self) -> str | None:
        """Patches must divide the size, heads the width."""
        if self.size % self.patch:
            return f"patches of {self.patch} do not divide pictures of {self.size}. Choose numbers that divide"
        heads = self.heads or max(1, self._width // HEAD)
        return f"{heads} heads do not divide the width {self._width}. Choose numbers that divide" if self._width % heads else None

    @property
    def _width(self) -> int:
        return self.width or HEAD * self.depth
