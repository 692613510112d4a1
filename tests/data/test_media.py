"""open_media: every form a table holds a file in, and nothing outside the table's folder."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from omnitune.data.media import open_media
from omnitune.errors import Mistake
from omnitune.modalities._decode import decode

DATA = b"\x89PNG some bytes"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "secret.png").write_bytes(b"secret")
    root = tmp_path / "table"
    (root / "photos").mkdir(parents=True)
    (root / "photos" / "äpfel 1.png").write_bytes(DATA)
    return root


def test_every_form_gives_the_bytes(root: Path) -> None:
    path = "photos/äpfel 1.png"
    encoded = base64.b64encode(DATA).decode()
    forms = [
        path, Path(path), str(root / path), "photos/../" + path, DATA, bytearray(DATA), memoryview(DATA), io.BytesIO(DATA),
        {"bytes": DATA, "path": "gone.png"}, {"bytes": None, "path": path}, {"path": path},
        f"data:image/png;base64,{encoded}", f"DATA:;base64,{encoded[:8]}\n{encoded[8:]}", "data:,%89PNG%20some%20bytes",
    ]  # fmt: skip
    for form in forms:
        assert open_media(form, root) == DATA, form


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "YCbCr", "La", "RGBa", "PA", "HSV"])
def test_pil_pictures_become_png(mode: str) -> None:
    picture = Image.new(mode, (3, 2))
    opened = Image.open(io.BytesIO(open_media(picture, None)))
    assert (opened.format, opened.size) == ("PNG", (3, 2))


def test_a_pil_picture_is_turned_as_its_file_is() -> None:
    picture, exif = Image.effect_noise((9, 7), 80).convert("RGB"), Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    opened = Image.open(io.BytesIO(file.getvalue()))
    assert np.array_equal(decode(open_media(opened, None), 1), decode(file.getvalue(), 1)) and decode(file.getvalue(), 1).shape == (9, 7, 3)


@pytest.mark.parametrize("mode", ["I", "I;16", "I;16B"])
def test_pil_pictures_of_sixteen_bits_keep_their_greys(mode: str) -> None:
    x_HW = np.arange(0, 60_000, 5_000).reshape(3, 4)
    picture = Image.fromarray(x_HW.astype(np.int32)) if mode == "I" else Image.fromarray(x_HW.astype(">u2" if mode == "I;16B" else "<u2"))
    assert picture.mode == mode
    assert np.abs(decode(open_media(picture, None), 1)[..., 0].astype(float) - x_HW / 257).max() <= 0.51


def test_pil_pictures_of_unknown_white_are_refused_as_their_files_are() -> None:
    for pixels, says in ((np.full((3, 4), 0.5, np.float32), "floating-point"), (np.full((3, 4), 70_000, np.int32), "more than 16 bits")):
        with pytest.raises(Mistake, match=says):
            decode(open_media(Image.fromarray(pixels), None), 1)


def test_a_pil_picture_that_is_damaged_is_told() -> None:
    file = io.BytesIO()
    Image.effect_noise((90, 70), 80).save(file, "PNG")
    with pytest.raises(Mistake, match="a damaged picture"):
        open_media(Image.open(io.BytesIO(file.getvalue()[:800])), None)


def test_a_picture_keeps_its_pixels() -> None:
    picture = Image.effect_noise((9, 7), 80)
    assert Image.open(io.BytesIO(open_media(picture, None))).tobytes() == picture.tobytes()


def test_without_a_root_paths_are_relative_to_the_current_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert open_media("photos/äpfel 1.png", None) == DATA
    with pytest.raises(Mistake, match="outside"):
        open_media("../secret.png", None)


@pytest.mark.parametrize("path", ["../secret.png", "photos/../../secret.png", "/etc/hostname", "link.png", "folder/secret.png"])
def test_nothing_outside_the_root_is_read(root: Path, path: str) -> None:
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "folder").symlink_to(root.parent, target_is_directory=True)
    with pytest.raises(Mistake, match=r"outside.*Move the file below the table's folder, or give its bytes"):
        open_media(path, root)


def test_a_link_inside_the_root_is_followed(root: Path) -> None:
    (root / "link.png").symlink_to(root / "photos" / "äpfel 1.png")
    assert open_media("link.png", root) == DATA


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("photos/äpfle 1.png", "no file 'photos/äpfle 1.png'.*Did you mean 'photos/äpfel 1.png'"),
        ("nowhere/a.png", "There is no folder"),
        ("photos", "is a folder"),
        ("empty.png", "empty \\(0 bytes\\)"),
        ("", "is a folder"),
        ("a\0b", "cannot open"),
        ("x" * 5000, "cannot open 'xxx.*name too long"),
        ("https://example.org/a.png", "not fetched.*Download"),
        ("s3://bucket/a.png", "not fetched"),
        ("file:///etc/hostname", "not fetched"),
        (b"", "empty"),
        ("data:image/png;base64,", "empty"),
        ("data:image/png;base64,@@@@", "damaged"),
        ("data:image/png;base64,abc", "damaged"),
        ("data:nothing", "no data: URI"),
        ({"bytes": None, "path": None}, "neither"),
        (3.5, "3.5 is no file.*Give a path"),
        (1.5, "is no file"),
        (["a"], "something else than numbers"),
    ],
)
def test_mistakes_say_what_and_how(root: Path, value: object, words: str) -> None:
    (root / "empty.png").touch()
    with pytest.raises(Mistake, match=words) as caught:
        open_media(value, root)
    assert len(str(caught.value)) < 600


def test_a_loop_of_links_is_a_mistake(root: Path) -> None:
    (root / "loop").symlink_to(root / "loop")
    with pytest.raises(Mistake):
        open_media("loop", root)
