"""Pictures: every kind of file, damaged and hostile ones, and the pixels a checkpoint expects."""

import io
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as pictures
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.efficientnet.image_processing_pil_efficientnet import EfficientNetImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

import checkpoints
from omnitune.data.media import open_media
from omnitune.errors import Mistake
from omnitune.modalities._decode import decode
from omnitune.modalities.image import Image

Pixels = np.ndarray[Any, Any]


def image(name: str = "vit", **more: Any) -> Image:
    return Image(str(checkpoints.PICTURE[name]()), **more)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def photo(height: int, width: int, seed: int = 0) -> Pixels:
    """(H, W, 3): clouds of colour, smooth as a photograph."""
    x_HWC = rng(seed).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return np.array(pictures.fromarray(x_HWC).resize((width, height), pictures.Resampling.BICUBIC))


def test_what_is_expected_of_pictures_may_change_under_the_same_name(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints.tiny_vit(), tmp_path / "backbone")
    reads = Image(str(folder))
    before = reads.patches({})
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps(settings | {"image_mean": [0.25, 0.5, 0.75]}))
    assert reads.patches({}) == before | {"mean": [0.25, 0.5, 0.75]} != before


def file(picture: Pixels | pictures.Image, form: str = "PNG", **options: Any) -> bytes:
    made = io.BytesIO()
    (pictures.fromarray(picture) if isinstance(picture, np.ndarray) else picture).save(made, form, **options)
    return made.getvalue()


def apart(a: Any, b: Any) -> float:
    return float(np.abs(np.asarray(a, dtype=float) - np.asarray(b, dtype=float)).max())


PHOTO = photo(60, 80)
RGB = pictures.fromarray(PHOTO)
GREY = np.array(RGB.convert("L"))
GREY3 = np.repeat(GREY[..., None], 3, 2)
WIDE = GREY.astype(np.uint16) * 257
CLEAR = RGB.convert("RGBA")
CLEAR.putalpha(pictures.fromarray(np.tile(np.repeat([0, 255], 40).astype(np.uint8), (60, 1))))
ON_WHITE = PHOTO.copy()
ON_WHITE[:, :40] = 255
PALETTE = RGB.quantize(200)


@pytest.mark.parametrize(
    ("data", "wanted", "near"),
    [
        pytest.param(file(RGB), PHOTO, 0, id="rgb"),
        pytest.param(file(GREY), GREY3, 0, id="grey"),
        pytest.param(file(RGB.convert("1")), np.repeat(np.array(RGB.convert("1"))[..., None] * 255, 3, 2), 0, id="black and white"),
        pytest.param(file(CLEAR), ON_WHITE, 0, id="transparent"),
        pytest.param(file(CLEAR.convert("LA")), np.where(np.arange(80)[:, None] < 40, 255, GREY3), 0, id="grey, transparent"),
        pytest.param(file(PALETTE), np.array(PALETTE.convert("RGB")), 0, id="palette"),
        pytest.param(file(PALETTE, "GIF"), np.array(PALETTE.convert("RGB")), 0, id="gif"),
        pytest.param(file(WIDE), GREY3, 0, id="16 bits, png"),
        pytest.param(file(WIDE, "TIFF"), GREY3, 0, id="16 bits, tiff"),
        pytest.param(file(WIDE.astype(np.int32), "TIFF"), GREY3, 0, id="16 bits in 32"),
        pytest.param(file(RGB.convert("CMYK"), "TIFF"), PHOTO, 1, id="cmyk, tiff"),
        pytest.param(file(RGB.convert("CMYK"), "JPEG", quality=100), PHOTO, 12, id="cmyk, jpeg"),
        pytest.param(file(RGB.convert("YCbCr"), "TIFF"), PHOTO, 3, id="ycbcr"),
        pytest.param(file(RGB, "JPEG", quality=100, subsampling=0), PHOTO, 6, id="jpeg"),
        pytest.param(file(RGB, "JPEG", quality=95, progressive=True), PHOTO, 40, id="jpeg, progressive"),
        pytest.param(file(RGB, "BMP"), PHOTO, 0, id="bmp"),
        pytest.param(file(RGB, "PPM"), PHOTO, 0, id="ppm"),
        pytest.param(file(RGB, "WEBP", lossless=True), PHOTO, 0, id="webp"),
    ],
)
def test_every_kind_of_file_is_read(data: bytes, wanted: Pixels, near: float) -> None:
    made = decode(data, 1000)
    assert made.dtype == np.uint8 and made.shape == wanted.shape
    assert apart(made, wanted) <= near
    assert image().check(data) is None


def test_sixteen_bits_are_scaled_not_cut() -> None:
    ramp = np.linspace(0, 65_535, 256 * 4).astype(np.uint16).reshape(4, 256)
    made = decode(file(ramp), 1)[..., 0].ravel()
    assert (made[0], made[-1]) == (0, 255) and (np.diff(made.astype(int)) >= 0).all() and len(set(made)) == 256


def test_a_transparent_palette_is_white() -> None:
    made = pictures.new("P", (4, 4))
    made.putdata([0] * 8 + [1] * 8)
    made.putpalette([10, 20, 30, 40, 50, 60])
    read = decode(file(made, transparency=0), 1)
    assert (read[:2] == 255).all() and (read[2:] == [40, 50, 60]).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_exif_says(orientation: int) -> None:
    stored = {1: 0, 2: 0, 3: 2, 4: 2, 5: 1, 6: 1, 7: 3, 8: 3}[orientation]  # quarter turns to the left
    mirrored = orientation in (2, 4, 5, 7)
    turned = np.rot90(PHOTO[:, ::-1] if mirrored else PHOTO, stored)
    exif = pictures.Exif()
    exif[0x0112] = orientation
    assert apart(decode(file(np.ascontiguousarray(turned), "PNG", exif=exif), 1), PHOTO) == 0


def bomb(width: int, height: int) -> bytes:
    """A PNG header that promises so many pixels, and nothing behind it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + body + struct.pack(">I", 4) + b"IDAT" + b"\0" * 8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (b"not a picture at all", "not a picture"),
        (b"\xff\xd8\xff", "not a picture"),
        (rng().bytes(5000), "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (file(RGB, "JPEG")[:700], "damaged"),
        (file(RGB)[: len(file(RGB)) // 2], "damaged"),
        (file(RGB, "WEBP", lossless=True)[:-400], "damaged"),
        (file(RGB, "TIFF")[:5000], "damaged"),
        (file(GREY.astype(np.float32), "TIFF"), "floating-point"),
        (file(WIDE.astype(np.int32) * 1000, "TIFF"), "more than 16 bits"),
        (bomb(30_000, 30_000), "too large"),
        (bomb(11_000, 10_000), "too large"),
    ],
    ids=["empty", "text", "start", "noise", "eps", "jpeg", "png", "webp", "tiff", "float", "32 bits", "900 megapixels", "110 megapixels"],
)
def test_what_cannot_be_read_is_named(data: bytes, words: str) -> None:
    problem = image().check(data)
    assert problem is not None and words in problem and "0x" not in problem
    with pytest.raises(Mistake, match=words):
        decode(data, 1)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_hundred_megapixels_are_refused_from_the_header() -> None:
    problem = image().check(bomb(10_000, 10_000))
    assert problem is not None and "10,000 x 10,000" in problem
    problem = image().check(bomb(10_000, 9_999))
    assert problem is not None and "damaged" in problem  # small enough: it is looked into


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_files_cut_anywhere_never_pass_unseen(form: str) -> None:
    data = file(photo(120, 160), form)
    for end in range(0, len(data) - 40, max(1, len(data) // 40)):
        assert image().check(data[:end]) is not None, end


def test_values_that_are_no_bytes_are_named() -> None:
    assert "a list of numbers is no picture" in (image().check(open_media([1, 2], None)) or "")
    assert image().check("photo.jpg") == "expected the bytes of a picture file, got str"


def normalised(modality: Image, data: bytes) -> Pixels:
    """What prediction shows the backbone, (3, H, W)."""
    reader = modality.encoder({})
    made: Pixels = reader.normalise(modality.encode([data], {})["pixels"])[0].numpy()
    return made


SHAPES = [(60, 80), (80, 60), (64, 64), (32, 32), (300, 500), (33, 200), (20, 25)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("name", "processor", "options", "fit"),
    [
        ("vit", ViTImageProcessorPil, {"size": {"height": 32, "width": 32}}, "squash"),
        ("clip", CLIPImageProcessorPil, {"size": {"shortest_edge": 32}, "crop_size": 32}, "crop"),
        ("dinov2", CLIPImageProcessorPil, {"size": {"shortest_edge": 36}, "crop_size": 32}, "crop"),
        ("efficientnet", EfficientNetImageProcessorPil, {"size": {"height": 32, "width": 32}, "include_top": False}, "squash"),
    ],
    ids=["vit", "clip", "dinov2", "efficientnet"],
)
def test_prediction_sees_what_the_checkpoint_saw(name: str, processor: Callable[..., Any], options: Any, fit: Any, shape: Any) -> None:
    picture = photo(*shape)
    statistics = {"image_mean": checkpoints.MEAN, "image_std": checkpoints.STD, "resample": 3}
    wanted = processor(**options, **statistics)(pictures.fromarray(picture), return_tensors="np")["pixel_values"][0]
    levels = 255 * np.reshape(checkpoints.STD, (3, 1, 1))
    assert apart(normalised(image(name, fit=fit), file(picture)) * levels, wanted * levels) <= 2


@pytest.mark.parametrize("resample", range(4))
def test_every_filter_is_near_that_of_pillow(resample: int) -> None:
    from omnitune.nn.pictures import resize

    x_HWC = photo(100, 140)
    made = resize(torch.from_numpy(x_HWC).permute(2, 0, 1), (32, 48), resample)
    wanted = pictures.fromarray(x_HWC).resize((48, 32), pictures.Resampling(resample))
    assert apart(made.permute(1, 2, 0), wanted) <= 2


@pytest.mark.parametrize(("shape", "most", "mean"), [((600, 800), 2, 0.4), ((2048, 1600), 2, 0.4), ((2000, 1500), 8, 1)], ids=str)
def test_large_jpegs_read_small_are_the_same_picture(shape: tuple[int, int], most: float, mean: float) -> None:
    """A side that an eighth does not divide (1500) is stretched by up to half a pixel of the small picture."""
    data = file(photo(*shape), "JPEG", quality=95)
    assert decode(data, 64).shape[0] < shape[0] / 4
    whole = file(decode(data, 10_000))
    made, wanted = (image().encode([d], {})["pixels"].float() for d in (data, whole))
    assert apart(made, wanted) <= most and (made - wanted).abs().mean() < mean


def test_proportions_are_kept_or_the_whole_is() -> None:
    picture = np.zeros((40, 120, 3), dtype=np.uint8)
    picture[:, :40, 0] = picture[:, 80:, 2] = 255
    cropped, squashed = (image(fit=fit).encode([file(picture)], {})["pixels"][0] for fit in ("crop", "squash"))
    assert cropped[:, :, 4:-4].max() == 0
    assert squashed[0, 0, 0] == 255 and squashed[2, 0, -1] == 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (5000, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("fit", ["crop", "squash"])
def test_extreme_shapes_are_read(shape: tuple[int, int], fit: Any) -> None:
    data = file(photo(*shape))
    for generator in (None, rng()):
        assert image(fit=fit).encode([data], {}, generator)["pixels"].shape == (1, 3, 32, 32)


def test_training_sees_other_crops_and_mirrors() -> None:
    left_red = np.zeros((64, 64, 3), dtype=np.uint8)
    left_red[:, :32, 0] = 255
    made = image().encode([file(left_red)] * 200, {}, rng())["pixels"][:, 0].float()
    mirrored = made[..., -4:].mean((1, 2)) > made[..., :4].mean((1, 2))
    assert 0.4 < mirrored.float().mean() < 0.6
    assert len(torch.unique(made.mean((1, 2)))) > 50
    kept = image(flip=False).encode([file(left_red)] * 200, {}, rng())["pixels"][:, 0].float()
    assert (kept[..., :4].mean((1, 2)) >= kept[..., -4:].mean((1, 2))).all()


def test_without_augmentation_training_sees_what_prediction_sees() -> None:
    values = image().example(3, rng())
    assert torch.equal(image(augment=False).encode(values, {}, rng())["pixels"], image().encode(values, {})["pixels"])


def test_one_picture_is_augmented_alike_whatever_stands_beside_it() -> None:
    values = image().example(3, rng())
    first = image().encode(values, {}, rng(5))["pixels"]
    assert torch.equal(image().encode([values[0], None, values[2]], {}, rng(5))["pixels"][[0, 2]], first[[0, 2]])


def test_fixed_views_follow_from_the_picture_and_the_first_draw_alone() -> None:
    values = image().example(3, rng())
    views = [image(views=4).encode(values, {}, rng(view))["pixels"] for view in range(4)]
    assert len({tuple(view[0].flatten().tolist()) for view in views}) == 4
    other = image(views=4).encode([values[2], None, values[0]], {}, rng(3))["pixels"]
    assert torch.equal(other[[2, 0]], views[3][[0, 2]])
    twice = image(views=4, crop_scale=(0.5, 0.5)).encode([values[0], values[1]], {}, rng())["pixels"]
    assert not torch.equal(twice[0], twice[1])
    assert image(views=4).fixed_views == 4 and image(views=4, augment=False).fixed_views == 0
    assert torch.equal(image(views=4).encode(values, {})["pixels"], image().encode(values, {})["pixels"])


def test_what_the_decoder_made_stands_for_the_file() -> None:
    values = image().example(3, rng())
    for one, generator in [(image(), rng), (image(views=2), rng), (image(), lambda: None), (image(augment=False), rng)]:
        made = [one.decoder(generator() is not None and one.augments).read(value) for value in values]
        assert torch.equal(one.encode(made, {}, generator())["pixels"], one.encode(values, {}, generator())["pixels"])


@pytest.mark.parametrize(
    "setting", [{"crop_scale": (0.9, 0.5)}, {"crop_scale": (0.5, 1.5)}, {"crop_scale": (0, 1)}, {"crop_ratio": (2, 1)}, {"fit": "pad"}]
)
def test_settings_that_make_no_sense_are_refused(setting: Any) -> None:
    with pytest.raises(Mistake, match=next(iter(setting))):
        image(**setting)


@pytest.mark.parametrize("resample", [4, 5])
def test_filters_that_tensors_do_not_have_are_named(resample: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "preprocessor_config.json").write_text(f'{{"resample": {resample}, "size": 32}}')
    with pytest.raises(Mistake, match=f"filter {resample}"):
        Image(str(tmp_path)).encode([file(RGB)], {})


def test_a_checkpoint_keeps_its_settings_through_a_recipe() -> None:
    assert image(crop_scale=(0.08, 1)).to_dict()["backbone"]["kind"] == "pretrained"
    assert Image("sample:efficientnet-lite0").to_dict() == Image().to_dict()
