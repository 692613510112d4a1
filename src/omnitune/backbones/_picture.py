"""What a picture checkpoint expects of its pictures, from preprocessor_config.json as plain JSON (no image processor is built)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from omnitune.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

FILE = "preprocessor_config.json"
BICUBIC, BILINEAR = 3, 2  # Pillow's numbers


def facts(folder: Path, config: dict[str, Any], where: str) -> dict[str, Any]:
    """`size` (height, width), `mean`, `std` (three each, of values in [0, 1]), `resample` (Pillow's number) and `crop_pct`.

    `crop_pct` is the share of the resized picture that the centre crop keeps. Without the file: the size of the model's configuration
    (224 where it has none), mean and standard deviation 0.5, bilinear: the defaults of ViT in transformers.
    """
    values = values_of(folder / FILE, where)
    own = config.get("vision_config") or config
    default = own.get("image_size") or 224
    size, crop = values.get("size"), values.get("crop_size") if values.get("do_center_crop") else None
    target = _pair(crop) or _pair(size) or _pair(default)
    if target is None:
        raise Mistake(where, f"{FILE} gives no size this can be resized to: {size!r}", "Write size: {height: ..., width: ...}")
    mean, std = _statistics(values)
    return {"size": target, "mean": mean, "std": std, "resample": int(values.get("resample", BILINEAR)), "crop_pct": _share(values, target)}


def write(folder: Path, picture: dict[str, Any]) -> None:
    """`picture` as a preprocessor_config.json of its own, for checkpoints that came without one."""
    height, width = picture["size"]
    values = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": height, "width": width}, "resample": picture["resample"],
        "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": picture["mean"], "image_std": picture["std"],
    }  # fmt: skip
    (folder / FILE).write_text(json.dumps(values, indent=2), encoding="utf-8")


def values_of(path: Path, where: str) -> dict[str, Any]:
    """A preprocessor_config.json as plain values; none where there is no file."""
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, OSError) as error:
        raise Mistake(where, f"{FILE} cannot be read: {error}", "Fetch or copy it again") from None
    if not isinstance(values, dict):
        raise Mistake(where, f"{FILE} is no mapping", "Fetch or copy it again")
    return values


def _pair(size: Any) -> tuple[int, int] | None:
    """(height, width) of the forms in use: 224, [h, w], {height, width}, {shortest_edge}."""
    if isinstance(size, dict):
        size = (size["height"], size["width"]) if "height" in size and "width" in size else size.get("shortest_edge")
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    return (int(size), int(size)) if isinstance(size, (int, float)) else None


def _share(values: dict[str, Any], target: tuple[int, int]) -> float:
    if values.get("crop_pct"):  # ConvNeXt: size is what remains after the crop
        return float(values["crop_pct"]) if target[0] < 384 else 1.0  # ConvNeXt resizes without a crop from 384 pixels on
    resized = _pair(values.get("size"))
    return min(1.0, target[0] / resized[0]) if resized else 1.0


def _statistics(values: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Mean and deviation of pixels in [0, 1] such that (x - mean) / std is what the checkpoint's own steps give.

    Those are x * rescale_factor on pixels up to 255, minus 1 with `rescale_offset`, normalise, and for EfficientNet with `include_top`
    once more divided by the deviation.
    """
    factor = 255 * float(values.get("rescale_factor", 1 / 255)) if values.get("do_rescale", True) else 255.0
    offset = 1.0 if values.get("rescale_offset") else 0.0
    normal = values.get("do_normalize", True)
    mean = list(values.get("image_mean") or [0.5] * 3) if normal else [0.0] * 3
    std = list(values.get("image_std") or [0.5] * 3) if normal else [1.0] * 3
    again = std if values.get("include_top") else [1.0] * 3
    return [(m + offset) / factor for m in mean], [s * a / factor for s, a in zip(std, again, strict=True)]
