"""image: a picture, from the bytes of its file."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.backbones import Backbone
from omnitune.component import any_of, component
from omnitune.errors import Mistake
from omnitune.modalities import Decoder, Facts, Modality, _decode, _several

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
        views: so many augmented views of each picture, always the same, take turns over the epochs, so that a frozen part is computed once a
            view instead of in every epoch; 0 draws new ones in every epoch, which learns better and costs the frozen part each time.
        most: pictures that are read of one cell, the first ones of a list (in files without lists a text such as `["a", "b"]`); with 1 a
            cell holds one. Each is read by itself, and stands as one token in the fusion; their mean is the input's vector.
        prompt_tokens: that it takes in a prompt at most; neighbouring patches are averaged to a coarser grid where there are more.
        fit: how prediction fills the checkpoint's size: `crop` keeps proportions and the centre, `squash` keeps the whole picture.
    """

    media: ClassVar[bool] = True
    content: ClassVar[bool] = True

    backbone: any_of(Backbone) = Field(default="sample:efficientnet-lite0", validate_default=True)  # type: ignore[valid-type]
    augment: bool = True
    crop_scale: Range = (0.5, 1.0)
    crop_ratio: Range = (3 / 4, 4 / 3)
    flip: bool = True
    views: Annotated[int, Field(ge=0)] = 0
    most: Annotated[int, Field(ge=1, le=64)] = 1
    prompt_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
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

    @property
    def fixed_views(self) -> int:
        """See `Modality.fixed_views`."""
        return self.views if self.augment else 0

    def check(self, value: Any) -> str | None:
        """Decodes it, so that a damaged file is found before training. JPEG files at an eighth of their size: quicker, and all is read."""
        if self.several:
            return _several.check(self.one, value, self.most)
        if isinstance(value, list):
            return f"expected one file, got a list. {_several.FIX}"
        if not isinstance(value, bytes):
            return f"expected the bytes of a picture file, got {type(value).__name__}"
        try:
            _decode.decode(value, 1)
        except Mistake as mistake:
            return f"{mistake.what}. {mistake.fix}"
        return None

    @property
    def aspect(self) -> float:
        """See `Modality.aspect`."""
        height, width = self._wanted["size"]
        return float(height / width)

    @property
    def one(self) -> Image:
        """What reads each of several."""
        return self.replace(most=1)

    def each(self, values: Sequence[Any]) -> Sequence[Any]:
        """See `Modality.each`."""
        return _several.Items(values, self.most) if self.several else values

    def learn(self, values: Sequence[Any]) -> Facts:
        """Nothing: what a checkpoint expects comes with it. No file is opened."""
        return {}

    def patches(self, facts: Facts) -> Facts:
        """What a task must know that asks about its patches: their side `patch` (None where the backbone has none), and of pictures the `size`
        (height, width), `mean` and `std`."""
        wanted = self._wanted
        return {"patch": self.backbone.architecture().patch, "size": list(wanted["size"]), "mean": list(wanted["mean"]), "std": list(wanted["std"])}

    def whole(self, facts: Facts) -> Facts:
        """`longest`: 0, since pictures become equally large."""
        return {"longest": 0}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`pixels` (B, 3, H, W) uint8; zeros where missing. Every picture has a random stream of its own, and where there is much to do a thread.

        A value is the bytes of a file, or what `decoder` made of them. Of several in a cell see `_several.encode`.
        """
        import numpy as np
        import torch

        if self.several:
            return _several.encode(self.one, values, self.most, facts, rng)
        pixels = torch.zeros(len(values), *self._wanted["size"], 3, dtype=torch.uint8).permute(0, 3, 1, 2)  # as decoders give it
        augment = rng is not None and self.augment
        decode, draws = self.decoder(augment).read, self._draws(len(values), rng if augment else None)

        def read(place: int) -> None:
            value = values[place]
            if value is not None:
                x_HWC = value if isinstance(value, np.ndarray) else decode(value)
                x_CHW = torch.from_numpy(x_HWC).permute(2, 0, 1)  # its memory in the order height, width, colour, quickest to resize
                pixels[place] = self._augmented(x_CHW, self._rng(draws[place], x_HWC)) if augment else x_CHW

        slow = [place for place, value in enumerate(values) if augment or not isinstance(value, np.ndarray)]
        with ThreadPoolExecutor(min(len(values), os.cpu_count() or 1)) as pool:
            list(pool.map(read, slow))
        for place in set(range(len(values))).difference(slow):  # to copy a picture takes less than to hand it to a thread
            read(place)
        return {"pixels": pixels, "present": torch.tensor([value is not None for value in values], dtype=torch.bool)}

    @property
    def _wanted(self) -> dict[str, Any]:
        return _picture(self.backbone, self.backbone.stamp())

    def _draws(self, n: int, rng: np.random.Generator | None) -> list[int]:
        """A number for each of `n` pictures: the same one where they have fixed views."""
        if rng is None:
            return []
        return [int(rng.integers(2**63))] * n if self.views else [int(draw) for draw in rng.integers(2**63, size=n)]

    def _rng(self, draw: int, x_HWC: np.ndarray[Any, Any]) -> np.random.Generator:
        import numpy as np

        return np.random.default_rng([draw, zlib.crc32(x_HWC.data)] if self.views else draw)

    def _augmented(self, x_CHW: Tensor, rng: np.random.Generator) -> Tensor:
        """As training sees it, (3, H, W)."""
        from omnitune.nn import pictures

        wanted = self._wanted
        x_CHW = pictures.random_crop(x_CHW, wanted["size"], wanted["resample"], self.crop_scale, self.crop_ratio, rng)
        return pictures.random_flip(x_CHW, rng) if self.flip else x_CHW

    def decoder(self, augment: bool) -> Decoder:
        """To (H, W, 3): as prediction sees it, or with room for the crops of training."""
        import PIL
        import torch

        wanted = self._wanted
        height, width = wanted["size"]
        made = {"size": [height, width], "resample": wanted["resample"], "pillow": PIL.__version__, "torch": torch.__version__}
        if not augment:
            return Decoder(self._still, made | {"fit": self.fit, "crop_pct": wanted["crop_pct"]}, 3 * height * width)
        (least, _), (narrow, wide) = self.crop_scale, self.crop_ratio
        settings = made | {"crop_scale": least, "crop_ratio": [narrow, wide]}
        return Decoder(self._roomy, settings, round(3 / least * max(height**2 * wide, width**2 / narrow)))

    def _still(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """As prediction sees it, (H, W, 3)."""
        from omnitune.nn import pictures

        wanted = self._wanted
        x_CHW = _tensor(data, 2 * max(wanted["size"]) / wanted["crop_pct"])
        if self.fit == "squash":
            return _array(pictures.resize(x_CHW, wanted["size"], wanted["resample"]))
        return _array(pictures.centre_crop(x_CHW, wanted["size"], wanted["resample"], wanted["crop_pct"]))

    def _roomy(self, data: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The whole picture, (H, W, 3), no larger than random crops need."""
        from omnitune.nn import pictures

        wanted = self._wanted
        x_CHW = _tensor(data, 2 * max(wanted["size"]) / math.sqrt(self.crop_scale[0]))
        size = pictures.enough((x_CHW.shape[1], x_CHW.shape[2]), wanted["size"], self.crop_scale[0], self.crop_ratio)
        return _array(pictures.resize(x_CHW, size, wanted["resample"]))

    def size(self, value: Any) -> int:
        """One a picture: all become equally large."""
        return _several.size(self.one, value, self.most) if self.several else 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `PictureReader` with the checkpoint's weights."""
        return self._reader(self.backbone.encoder())

    def skeleton(self, facts: Facts) -> nn.Module:
        """A `PictureReader` without them."""
        return self._reader(self.backbone.skeleton())

    def _reader(self, backbone: Encoder) -> nn.Module:
        from omnitune.nn.readers import PictureReader

        wanted = self._wanted
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
def _picture(backbone: Backbone, stamp: tuple[Any, ...]) -> dict[str, Any]:
    """What the checkpoint expects; its file is read once as long as it stays as it is."""
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


def _array(x_CHW: Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3), in that order in memory."""
    return x_CHW.permute(1, 2, 0).contiguous().numpy()
