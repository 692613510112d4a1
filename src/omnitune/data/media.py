"""Media: a value of a column of files, in any of the forms tables hold it, becomes the file's bytes."""

import base64
import binascii
import difflib
import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote_to_bytes

from omnitune.data import sounds
from omnitune.errors import Mistake
from omnitune.nn import values as cells

T = TypeVar("T")
FORMS = "Give a path below the table's folder, bytes, or a data: URI"
FILES = (str, os.PathLike, bytes, bytearray, memoryview, Mapping)
PNG_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}
TRANSPARENT = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
LISTED = 1000
"""Names of a folder that are compared with a missing one: enough to find a slip, few enough to stay quick in a folder of millions."""

SETTLED = 3 * 10**9
"""Nanoseconds after which a file's times tell a further change: file systems count in steps of up to two seconds."""


def open_media(value: Any, root: Path | None) -> bytes:
    """The encoded bytes that `value` stands for.

    Args:
        value: a path, bytes, a `data:` URI, a mapping with `bytes` or `path` (as `datasets` keeps pictures and sound) or with `array` and
            `sampling_rate`, samples in a list or array, a PIL picture, or a file opened for reading.
        root: folder that paths are relative to and must not leave, also not through links; the current folder where it is None.

    Raises:
        Mistake: there is no such file, it lies outside `root`, it is empty, or the value is of another form (an URL is never fetched).
    """
    data = _read(value, Path.cwd() if root is None else root)
    if not data:
        raise Mistake("", f"{_shown(value)} is empty (0 bytes)", "Replace the file, or leave the value missing")
    return data


def files_of(value: Any) -> list[Any] | None:
    """The files of a cell that holds several, missing ones left out: a list of them, or a text that writes one in JSON; None where it holds one (a
    list of numbers is samples of sound)."""
    listed = cells.listed(value)
    if listed is None or not all(one is None or isinstance(one, FILES) or type(one).__module__.startswith("PIL.") for one in listed):
        return None
    return [one for one in listed if one is not None]


def open_each(value: Any, root: Path | None) -> bytes | list[bytes]:
    """As `open_media`; of a cell that holds several files the bytes of each."""
    files = files_of(value)
    return open_media(value, root) if files is None else [open_media(file, root) for file in files]


def identity(value: Any, root: Path | None) -> bytes:
    """16 bytes that change with the content: of a file its place, size and times, which costs no reading; else a digest of the bytes.

    Args:
        value, root: see `open_media`, which also tells what is raised.
    """
    if isinstance(value, Mapping) and value.get("bytes") is None and value.get("array") is None and value.get("path") is not None:
        return identity(value["path"], root)
    if isinstance(value, (str, os.PathLike)) and not _says_itself(os.fspath(value)):
        path, facts = _at(os.fspath(value), Path.cwd() if root is None else root, lambda path: (path, path.stat()))
        if time.time_ns() - max(facts.st_mtime_ns, facts.st_ctime_ns) > SETTLED:
            return _digest(repr((str(path), facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)).encode())
    return _digest(open_media(value, root))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def _read(value: Any, root: Path) -> bytes:
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, Mapping):
        return _read_mapping(value, root)
    if type(value).__module__.startswith("PIL."):
        return _file_of(value)
    if isinstance(value, (list, tuple)) or type(value).__module__ == "numpy":
        return sounds.unrated(value)
    if hasattr(value, "read"):
        return _read(value.read(), root)
    if not isinstance(value, (str, os.PathLike)):
        raise Mistake("", f"{_shown(value)} is no file", FORMS)
    text = os.fspath(value)
    if text[:5].lower() == "data:":
        return _data_uri(text)
    if _says_itself(text):
        raise Mistake("", f"{_shown(text)} is an URL, and URLs are not fetched", "Download the file below the table's folder and give its path")
    return _at(text, root, Path.read_bytes)


def names_file(value: Any) -> bool:
    """Whether it is a path; bytes, data URIs and URLs are none."""
    return isinstance(value, (str, os.PathLike)) and not _says_itself(os.fspath(value))


def _says_itself(text: str) -> bool:
    """Whether `text` is a data URI or an URL, no path."""
    return text[:5].lower() == "data:" or re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _read_mapping(value: Mapping[Any, Any], root: Path) -> bytes:
    if value.get("array") is not None:
        return sounds.rated(value["array"], value.get("sampling_rate"))
    for key in ("bytes", "path"):
        if value.get(key) is not None:
            return _read(value[key], root)
    raise Mistake("", f"{_shown(dict(value))} holds neither `bytes` nor `path`, nor an `array`", FORMS)


def _at(text: str, root: Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of the file at `text`, its path resolved."""
    try:
        path = (root / text).resolve()
        if not path.is_relative_to(root.resolve()):
            raise Mistake("", f"{_shown(text)} lies outside {_folder(root)}", "Move the file below the table's folder, or give its bytes")
        return read(path)
    except IsADirectoryError:
        raise Mistake("", f"{_shown(text)} is a folder", "Give the path of a file") from None
    except FileNotFoundError:
        raise Mistake("", f"there is no file {_shown(text)} in {_folder(root)}", _nearest(root, text)) from None
    except (OSError, ValueError, RuntimeError) as error:  # no permission, a name too long, a null character, a loop of links
        why = getattr(error, "strerror", None) or str(error)
        raise Mistake("", f"cannot open {_shown(text)}: {why.lower()}", FORMS) from None


def _folder(root: Path) -> str:
    return "this folder" if root == Path() else str(root)


def _nearest(root: Path, text: str) -> str:
    """'Did you mean photos/b.jpg?' by the names in the folder where the file should be."""
    folder = (root / text).parent
    if not folder.is_dir():
        return f"There is no folder {_shown(str(folder))}"
    with os.scandir(folder) as entries:
        names = [entry.name for entry in islice(entries, LISTED)]
    near = difflib.get_close_matches(Path(text).name, names, 1)
    return f"Did you mean {str(Path(text).with_name(near[0]))!r}?" if near else "Put the file there, or leave the value missing"


def _data_uri(text: str) -> bytes:
    head, comma, body = text[5:].partition(",")
    if not comma:
        raise Mistake("", f"{_shown(text)} is no data: URI", "Write data:image/png;base64,...")
    data = unquote_to_bytes(body)
    if not head.lower().endswith(";base64"):
        return data
    try:
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        raise Mistake("", f"the base64 text of {_shown(text)} is damaged", "Write data:image/png;base64,... with the whole file") from None


def _file_of(picture: Any) -> bytes:
    """A PIL picture as the file that it would be read from: turned as its EXIF note says, of PNG's kinds or, where it holds other numbers
    than bytes, TIFF, so that it is read, or refused, as a file of its pixels is."""
    from PIL import ImageOps

    file = io.BytesIO()
    try:
        picture = ImageOps.exif_transpose(picture)
        if picture.mode == "F" or (picture.mode.startswith("I") and picture.mode != "I;16"):
            (picture if picture.mode in ("F", "I") else picture.convert("I")).save(file, format="TIFF")
        else:
            picture.convert(picture.mode if picture.mode in PNG_MODES else TRANSPARENT.get(picture.mode, "RGB")).save(file, format="PNG")
    except (OSError, ValueError, SyntaxError) as error:  # a picture that was opened and not yet read, and is damaged
        raise Mistake("", f"a damaged picture: {error}", "Replace it, or leave the value missing") from None
    return file.getvalue()


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}...{text[-10:]}"
