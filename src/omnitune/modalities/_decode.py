"""From the bytes of a picture file to RGB pixels; damaged, hostile and odd files included."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from omnitune.errors import Mistake

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

MOST_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Others are refused: some of Pillow's readers run programs (EPS), some take any bytes for a picture (TGA)."""
SIXTEEN_BITS = 65_535


def decode(data: bytes, detail: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(H, W, 3) red, green and blue of the first frame, turned as EXIF says; what is transparent is white.

    Args:
        data: the file.
        detail: a JPEG file may be decoded to a half, a quarter or an eighth while no side falls below so many pixels. A side that does not
            divide is rounded up, which stretches the picture by less than a pixel of the small one.

    Raises:
        Mistake: it is empty, no picture, damaged, of 100 megapixels or more, or its pixels are no whole numbers of 16 bits.
    """
    import numpy as np
    from PIL import ImageOps

    image = _open(data)
    try:
        image.draft(None, (detail, detail))
        return np.array(_rgb(ImageOps.exif_transpose(image)))
    except Mistake:
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them meet
        raise Mistake("", f"a damaged picture: {error}", "Replace the file, or leave the value missing") from None


def _open(data: bytes) -> Image:
    """The picture behind `data`; only its header is read."""
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Mistake("", "an empty file (0 bytes)", "Replace the file, or leave the value missing")
    if data.startswith(b"\x93NUMPY"):  # what `data.media` makes of a list, which may be a sound
        raise Mistake("", "a list of numbers is no picture", "Give a path below the table's folder, bytes, or a data: URI")
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise Mistake("", "not a picture, or its header is damaged", f"Formats: {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Mistake("", f"too large a picture: {error}", "Make it smaller than 100 megapixels") from None
    except Exception as error:
        raise Mistake("", f"a damaged picture: {error}", "Replace the file, or leave the value missing") from None
    if image.width * image.height >= MOST_PIXELS:
        raise Mistake("", f"too large a picture: {image.width:,} x {image.height:,} pixels", "Make it smaller than 100 megapixels")
    return image


def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow reads."""
    from PIL import Image

    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _rgb(image: Image) -> Image:
    from PIL import Image as pictures

    if image.mode == "F":
        raise Mistake("", "a picture of floating-point numbers, whose black and white are not known", "Save it with 8 or 16 bits a channel")
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = pictures.alpha_composite(pictures.new("RGBA", above.size, "white"), above)
    return image.convert("RGB")


def _eight_bits(image: Image) -> Image:
    """Grey of 16 bits, scaled: Pillow's own conversion would make everything above 255 white."""
    import numpy as np
    from PIL import Image as pictures

    x_HW = np.asarray(image).astype(np.int64)
    if x_HW.min() < 0 or x_HW.max() > SIXTEEN_BITS:
        raise Mistake("", "a picture with more than 16 bits a channel", "Save it with 8 or 16 bits a channel")
    return pictures.fromarray(((x_HW * 255 + SIXTEEN_BITS // 2) // SIXTEEN_BITS).astype(np.uint8))
