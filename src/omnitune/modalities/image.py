"""image: a picture, from the bytes of its file."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.backbones import Backbone
from omnitune.component import any_of, component
from omnitune.errors import Mistake
from omnitune.modalities import Facts, Modality, _decode

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from omnitune.nn.encoder import Encoder

Range = tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


@component
class Image(Modality):
    """A picture: JPEG, PNG, WebP, GIF (its first frame), BMP, TIFF, PPM, JPEG 2000 or AVIF; grey, palette, CMYK, transparent (on white), of 8
    or 16 bits, turned as its EXIF note says. Size, mean and deviation are those of the checkpoint.

    Training sees random crops, flipped half of the time; prediction sees the centre.

    Args:
        backbone: a vision checkpoint: a hub name, a directory or `sample:NAME`.
        augment: crop and flip at random in training.
        crop_scale: least and largest share of the picture's area that a random crop keeps. Half at least by default: the customary 0.08 is
            for long training from scratch, and would hide small things (a crack, a face) from most of the few looks that fine-tuning has.
        crop_ratio: least and largest width over height of a random crop, before it is resized to the checkpoint's size.
        flip: mirror left and right; turn it off where sides matter (text, arrows).
        fit: how prediction fills the checkpoint's size: `crop` keeps proportions and the centre, `squash` keeps the whole picture.
    """

    media: ClassVar[bool] = True
    content: ClassVar[bool] = True

    backbone: any_of(Backbone) = Field(default="sample:efficientnet-lite0", validate_default=True)  # type: ignore[valid-type]
    augment: bool = True
    crop_scale: Range = (0.5, 1.0)
    crop_ratio: Range = (3 / 4, 4 / 3)
    flip: bool = True
    fit: Literal["crop", "squash"] = "crop"

    @pydantic.field_validator("crop_scale", "crop_ratio")
    @classmethod
    def _rising(cls, limits: tuple[float, float], info: pydantic.ValidationInfo) -> tuple[float, float]:
        if limits[0] > limits[1] or (info.field_name == "crop_scale" and limits[1] > 1):
            raise ValueError("must rise" if limits[0] > limits[1] else "must end at 1 or below")
        return limits

    @property
    def augments(self) -> bool:
        """See `Modality.augments`."""
        return self.augment

    def check(self, value: Any) -> str | None:
        """Decodes it, so that a damaged file is found before training. JPEG files at an eighth of their size: quicker, and all is read."""
        if not isinstance(value, bytes):
            return f"expected the bytes of a picture file, got {type(value).__name__}"
        try:
            _decode.decode(value, 1)
        except Mistake as mistake:
            return f"{mistake.what}. {mistake.fix}"
        return None

    def learn(self, values: Sequence[Any]) -> Facts:
        """Nothing: what a checkpoint expects comes with it. No file is opened."""
        return {}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`pixels` (B, 3, H, W) uint8; zeros where missing. Every picture has a random stream of its own, and a thread."""
        import numpy as np
        import torch

        seeds = [None] * len(values) if rng is None or not self.augment else [int(seed) for seed in rng.integers(2**63, size=len(values))]

        def read(value: bytes | None, seed: int | None) -> Tensor:
            if value is None:
                return torch.zeros(3, *_picture(self.backbone)["size"], dtype=torch.uint8)
            return self._still(value) if seed is None else self._augmented(value, np.random.default_rng(seed))

        with ThreadPoolExecutor(min(len(values), os.cpu_count() or 1)) as pool:
            pixels = list(pool.map(read, values, seeds))
        return {"pixels": torch.stack(pixels), "present": torch.tensor([value is not None for value in values], dtype=torch.bool)}

    def _still(self, data: bytes) -> Tensor:
        """As prediction sees it, (3, H, W)."""
        from omnitune.nn import pictures

        wanted = _picture(self.backbone)
        x_CHW = _tensor(data, 2 * max(wanted["size"]) / wanted["crop_pct"])
        if self.fit == "squash":
            return pictures.resize(x_CHW, wanted["size"], wanted["resample"])
        return pictures.centre_crop(x_CHW, wanted["size"], wanted["resample"], wanted["crop_pct"])

    def _augmented(self, data: bytes, rng: np.random.Generator) -> Tensor:
        """As training sees it, (3, H, W)."""
        from omnitune.nn import pictures

        wanted = _picture(self.backbone)
        x_CHW = _tensor(data, 2 * max(wanted["size"]) / math.sqrt(self.crop_scale[0]))
        x_CHW = pictures.random_crop(x_CHW, wanted["size"], wanted["resample"], self.crop_scale, self.crop_ratio, rng)
        return pictures.random_flip(x_CHW, rng) if self.flip else x_CHW

    def size(self, value: Any) -> int:
        """One: all pictures become equally large."""
        return 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `PictureReader` with the checkpoint's weights."""
        return self._reader(self.backbone.encoder())

    def skeleton(self, facts: Facts) -> nn.Module:
        """A `PictureReader` without them."""
        return self._reader(self.backbone.skeleton())

    def _reader(self, backbone: Encoder) -> nn.Module:
        from omnitune.nn.readers import PictureReader

        wanted = _picture(self.backbone)
        return PictureReader(backbone, wanted["mean"], wanted["std"])

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """PNG files: gradients between two colours, of different sizes."""
        import io

        import numpy as np
        from PIL import Image as pictures

        made = []
        for _ in range(n):
            height, width = rng.integers(40, 80, 2)
            place_HW1 = np.linspace(0, 1, height)[:, None, None] * np.linspace(0.5, 1, width)[None, :, None]
            first, last = rng.uniform(0, 255, (2, 3))
            file = io.BytesIO()
            pictures.fromarray((first + (last - first) * place_HW1).astype(np.uint8)).save(file, "PNG")
            made.append(file.getvalue())
        return made


@cache
def _picture(backbone: Backbone) -> dict[str, Any]:
    """What the checkpoint expects; its file is read once."""
    from omnitune.nn.pictures import MODES

    found = backbone.picture()
    if found["resample"] not in MODES:
        fix = "Write resample: 2 (bilinear) or 3 (bicubic) into its preprocessor_config.json"
        raise Mistake("backbone", f"its pictures are resized by filter {found['resample']}, which is not supported", fix)
    return found


def _tensor(data: bytes, detail: float) -> Tensor:
    """(3, H, W) uint8, its memory in the order height, width, colour, which resizing is quickest on."""
    import torch

    return torch.from_numpy(_decode.decode(data, math.ceil(detail))).permute(2, 0, 1)
