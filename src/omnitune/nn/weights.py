"""Weight files: the safetensors files of a checkpoint, found, checked and read.

What a damaged file shows: a wrong header or length always (safetensors); a changed bit where the folder or the hub's cache carries a
SHA-256 (`SHA256SUMS`, `NAME.sha256`, the name of the cached blob). Without one, `checkpoints.read` sees only numbers beyond any training.
"""

import json
import re
from collections.abc import Set
from pathlib import Path
from typing import Any

from torch import Tensor

from omnitune import checksums
from omnitune.checksums import AGAIN, SUMS
from omnitune.errors import Mistake

PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def files(folder: Path, where: str) -> list[Path]:
    """The safetensors files that hold the weights.

    Raises:
        Mistake: there is none, or a part is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            paths = [folder / Path(name).name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise Mistake(where, f"{index.name} cannot be read: {first_line(error)}", AGAIN) from None
    else:
        paths = [folder / "model.safetensors"]
    missing = [path.name for path in paths if not path.is_file()]
    if not missing:
        return paths
    pickles = [path.name for pattern in PICKLES for path in folder.glob(pattern)]
    if pickles and not index.is_file():
        fix = "Where you trust its source, convert it once: AutoModel.from_pretrained(folder).save_pretrained(folder)"
        raise Mistake(where, f"its weights are a pickle ({pickles[0]}), which can run any code and is never read", fix)
    raise Mistake(where, f"no {missing[0]} there", AGAIN)


def there(folder: Path) -> bool:
    """Whether the folder is meant to hold a model's weights, whole or not."""
    return any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json"))


def read(paths: list[Path], where: str) -> dict[str, Tensor]:
    """Every tensor of the files, in memory.

    Raises:
        Mistake: a file is damaged or cut short.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: dict[str, Tensor] = {}
    for path in paths:
        try:
            state |= {name: t.clone() for name, t in load_file(path).items()}  # mapped memory dies (SIGBUS) with a file that is rewritten
        except (SafetensorError, OSError) as error:
            raise Mistake(where, f"{path.name} is damaged or cut short: {first_line(error)}", AGAIN) from None
        wanted = _known_sum(path)
        if wanted and checksums.sha256(path) != wanted:
            raise Mistake(where, f"{path.name} is damaged: its SHA-256 is not the one noted when it was written", AGAIN)
    return state


def names(paths: list[Path], where: str) -> set[str]:
    """The names of the tensors of the files. Raises `Mistake` where a file is damaged."""
    return {name for path in paths for name in _open(path, where).keys()}  # noqa: SIM118 (it is no mapping)


def some(paths: list[Path], names: Set[str], where: str) -> dict[str, Tensor]:
    """Those of the tensors `names` that the files hold, in memory; no other is read. Raises `Mistake` where a file is damaged."""
    opened = [_open(path, where) for path in paths]
    return {name: file.get_tensor(name).clone() for file in opened for name in file.keys() if name in names}  # noqa: SIM118


def _open(path: Path, where: str) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, "pt")
    except (SafetensorError, OSError) as error:
        raise Mistake(where, f"{path.name} is damaged or cut short: {first_line(error)}", AGAIN) from None


def note_sums(folder: Path) -> None:
    """Writes the checksums of the weight files beside them, in the form of `sha256sum`."""
    checksums.note(folder, files(folder, str(folder)))


def _known_sum(path: Path) -> str | None:
    """The SHA-256 that the folder, or the hub's cache, notes for `path`."""
    for note in (path.parent / SUMS, path.with_name(path.name + ".sha256")):
        if note.is_file() and (digest := checksums.noted(note).get(path.name)):
            return digest
    blob = path.resolve().name  # the hub's cache names large files by their SHA-256
    return blob if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) else None


def first_line(error: BaseException) -> str:
    """What an exception says, on one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
