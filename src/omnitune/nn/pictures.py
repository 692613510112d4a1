"""Pictures as uint8 tensors: resize, crop, flip, normalise. C channels, H height, W width, B pictures.

Resizing bytes with antialiasing gives what Pillow gives, within a grey level, several times faster than through numbers.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

Box = tuple[int, int, int, int]
"""top, left, height, width, in pixels."""
Size = tuple[int, int]
"""height, width, in pixels."""
LONGEST = 8
"""Longer sides than so many shorter ones are cut before resizing: the crop leaves them out, and a strip would grow to gigabytes."""
TRIES = 10

MODES = {0: "nearest-exact", 1: "bicubic", 2: "bilinear", 3: "bicubic"}
"""By Pillow's number of the filter. Tensors have no Lanczos (1); bicubic stands for it, two grey levels away on photographs."""


class Normalise(nn.Module):
    """Bytes to numbers: (x / 255 - mean) / std by channel.

    Args:
        mean, std: by channel, of values in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) float32."""
        return (x_BCHW.float() - self.mean) / self.std


def resize(x_CHW: Tensor, size: Size, resample: int) -> Tensor:
    """To (C, *size), antialiased. `resample` is Pillow's number of the filter, see `MODES`."""
    if x_CHW.shape[1:] == size:
        return x_CHW
    mode = MODES[resample]
    return interpolate(x_CHW[None], size, mode=mode, antialias="nearest" not in mode)[0]


def crop(x_CHW: Tensor, box: Box) -> Tensor:
    """The pixels inside `box`."""
    top, left, height, width = box
    return x_CHW[:, top : top + height, left : left + width]


def centre(inside: Size, size: Size) -> Box:
    """The box of `size` in the middle of a picture of size `inside`; what does not fit is left out."""
    height, width = (min(a, b) for a, b in zip(inside, size, strict=True))
    return (inside[0] - height) // 2, (inside[1] - width) // 2, height, width


def centre_crop(x_CHW: Tensor, size: Size, resample: int, share: float) -> Tensor:
    """Resized, its proportions kept, until it covers `size` / `share`; then the centre of `size`."""
    short = min(x_CHW.shape[1:])
    x_CHW = crop(x_CHW, centre(_size(x_CHW), (LONGEST * short, LONGEST * short)))
    grown = tuple(math.floor(side / share + 1e-6) for side in size)
    factor = max(grown[0] / x_CHW.shape[1], grown[1] / x_CHW.shape[2])
    height, width = (max(least, int(side * factor + 1e-6)) for side, least in zip(x_CHW.shape[1:], grown, strict=True))
    return crop(resize(x_CHW, (height, width), resample), centre((height, width), size))


def random_crop_box(inside: Size, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator) -> Box:
    """A box of random area and proportions at a random place (Szegedy et al. 2014, arXiv 1409.4842, section 6: "Inception crop").

    Args:
        inside: size of the picture.
        scale: least and largest share of its area.
        ratio: least and largest width over height, drawn evenly by its logarithm.
        rng: of the draw. Where ten draws do not fit, the largest box in the middle with allowed proportions is taken.
    """
    height, width = inside
    for _ in range(TRIES):
        area = height * width * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1)), h, w
    fitting = (math.ceil(width / ratio[0]), math.ceil(height * ratio[1]))
    return centre(inside, fitting)


def random_crop(x_CHW: Tensor, size: Size, resample: int, scale: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """A random box of the picture, resized to (C, *size)."""
    return resize(crop(x_CHW, random_crop_box(_size(x_CHW), scale, ratio, rng)), size, resample)


def enough(inside: Size, size: Size, share: float, ratio: tuple[float, float]) -> Size:
    """The least size of a picture's own proportions at which no random crop has to be enlarged; `inside` where that is smaller.

    Args:
        inside: size of the picture.
        size: that crops are resized to.
        share, ratio: the least share of the area, and the limits of width over height, of a crop.
    """
    side = math.sqrt(inside[0] * inside[1] * share)
    factor = max(size[0] * math.sqrt(ratio[1]) / side, size[1] / math.sqrt(ratio[0]) / side, max(size) / min(inside))
    return (math.ceil(inside[0] * factor), math.ceil(inside[1] * factor)) if factor < 1 else inside


def random_flip(x_CHW: Tensor, rng: np.random.Generator) -> Tensor:
    """Every second picture left to right."""
    return x_CHW.flip(2) if rng.random() < 0.5 else x_CHW


def _size(x_CHW: Tensor) -> Size:
    return x_CHW.shape[1], x_CHW.shape[2]
