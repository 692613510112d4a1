"""Where a checkpoint's files are: a directory, a sample, or the hub's cache on this machine. Loads no torch."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from omnitune.errors import Mistake, did_you_mean

SAMPLE = "sample:"
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"]
FORMS = "Give a directory in the Hugging Face layout, a name on the hub or sample:NAME"
UNWANTED = ["*/*.safetensors", "consolidated*", "onnx/*", "openvino/*"]


def is_directory(name: str) -> bool:
    """Whether `name` means a directory: there is one, or it is written as a path."""
    return not name.startswith(SAMPLE) and (Path(name).expanduser().is_dir() or name.startswith((".", "/", "~")))


def problem(name: str) -> str | None:
    """What is wrong with a reference and how to mend it, as far as can be seen without network and torch."""
    if name.startswith(SAMPLE):
        return _no_sample(name.removeprefix(SAMPLE))
    folder = inside(Path(name).expanduser())
    if not is_directory(name):
        return None if HUB_NAME.fullmatch(name) else f"{name!r} is neither a directory nor a name on the hub. {FORMS}"
    if not folder.is_dir():
        return f"no directory {name!r}. {FORMS}"
    if not (folder / "config.json").is_file():
        return f"no config.json in {name!r}. {FORMS}"
    if any(folder.glob("*.safetensors")):
        return None
    if any(folder.glob("*.bin")):
        return f"only a pickle in {name!r}, which is never read. Save it as safetensors where you trust it, or choose another checkpoint"
    return f"no model.safetensors in {name!r}. Fetch or copy the checkpoint again"


def _no_sample(name: str) -> str | None:
    from omnitune.samples import SAMPLES

    known = [other for other, sample in SAMPLES.items() if sample.kind == "model"]
    return None if name in known else f"no sample backbone called {name!r}. {did_you_mean(name, known)}"


def locate(name: str, revision: str | None) -> Path:
    """The folder with the files of a checkpoint; downloads it where it is a hub name that the cache does not hold.

    Raises:
        Mistake: there is no such checkpoint, or it is not here and the hub cannot be reached.
    """
    if name.startswith(SAMPLE):
        from omnitune import samples

        return Path(samples.path(name.removeprefix(SAMPLE)))
    folder = Path(name).expanduser()
    if not is_directory(name):
        return _from_hub(name, revision)
    if not folder.is_dir():
        raise Mistake(f"backbone {name}", "no such directory", FORMS)
    return inside(folder).absolute()


def inside(folder: Path) -> Path:
    """The backbone's own folder where `folder` is that of a run with one backbone; else `folder` itself."""
    found = sorted((folder / "inputs").glob("*/config.json")) if (folder / "lineage.json").is_file() else []
    return found[0].parent if len(found) == 1 else folder


def stamps(folder: Path, endings: tuple[str, ...]) -> list[tuple[str, int, int]]:
    """Name, size and time (ns) of the files of `folder` that end so, in order; what they hold is not looked at."""
    with os.scandir(folder) as found:
        files = [(entry.name, entry.stat()) for entry in found if entry.name.endswith(endings)]
    return sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)


@cache
def _from_hub(name: str, revision: str | None) -> Path:
    from huggingface_hub import errors, snapshot_download

    where = f"backbone {name}"
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except errors.HFValidationError:
        raise Mistake(where, "neither a directory nor a name on the hub", FORMS) from None
    except errors.GatedRepoError:
        raise Mistake(where, "its owner asks for a login", "Accept its terms on the hub and log in with `hf auth login`") from None
    except errors.RepositoryNotFoundError:
        raise Mistake(where, "no such checkpoint on the hub", "Check the name; private ones need `hf auth login`") from None
    except errors.RevisionNotFoundError:
        raise Mistake(where, f"no revision {revision!r} on the hub") from None
    except (errors.LocalEntryNotFoundError, errors.HfHubHTTPError, ConnectionError) as error:
        fix = "Fetch it once with a connection and HF_HUB_OFFLINE unset, or give a directory"
        raise Mistake(where, f"not in the cache of this machine, and the hub cannot be reached ({type(error).__name__})", fix) from None
    except OSError as error:
        raise Mistake(where, f"cannot be stored: {error}", "Make room, or let HF_HOME name another disk") from None
