"""Cached: a source is converted once, in a stream, to an Arrow file in the cache folder, and read memory-mapped from then on."""

import contextlib
import errno
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from omnitune import places
from omnitune.errors import Mistake

Stream = tuple[pa.Schema, Iterator[pa.RecordBatch]]
VERSION = 2
"""Of what conversion does to values; a change of it leaves older files unused."""
NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
ABANDONED_SECONDS = 86_400


def folder() -> Path:
    """Where converted tables are."""
    return places.cache("tables")


def stored(path: Path, convert: Callable[[Path], Stream], how: str = "", state: str = "") -> pa.Table:
    """The table that `convert` makes of the file at `path`, memory-mapped; converted only if the file changed since the last time.

    `how` names the way of converting, where a file has several; `state` tells what state it is in, where size and time of change do not (a folder).

    The copy appears under its name in one step, once it is whole, so any number of processes may do this at once, and be killed.

    Raises:
        Mistake: the cache folder is full or cannot be written, or `convert` says so.
    """
    place = _place(path, how, state)
    for _ in range(2):
        # Not converted yet, converted by somebody who alone may read it, or damaged by a failing disk: convert.
        with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError, pa.ArrowInvalid):
            return _mapped(place)
        _write(place, *convert(path))
    return _mapped(place)


def _place(path: Path, how: str, state: str) -> Path:
    """One folder a source and way of converting it, one name a state of it."""
    source = hashlib.sha256(f"{path.resolve()}{how and chr(0)}{how}".encode()).hexdigest()[:24]
    return folder() / source / f"{state or state_of(path)}-v{VERSION}.arrow"


def state_of(path: Path) -> str:
    """Size and time of change of a file."""
    facts = path.stat()
    return f"{facts.st_size}-{facts.st_mtime_ns}"


def _mapped(place: Path) -> pa.Table:
    with pa.memory_map(str(place)) as file:
        return pa.ipc.open_file(file).read_all()


def _write(place: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    half = place.with_name(f"{uuid.uuid4().hex}.half")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with half.open("xb") as file:  # with the rights that the user's new files have, so that a shared cache is one
            with pa.ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, place)
    except OSError as error:
        if mistake := _no_room(error):
            raise mistake from None
        raise
    finally:
        with contextlib.suppress(OSError):  # renamed, or never made
            half.unlink()
    _clean(place)


def _no_room(error: OSError) -> Mistake | None:
    if error.errno in NO_ROOM:
        return Mistake(str(folder()), "the disk is full", "Make room, or set OMNITUNE_CACHE to a folder on a larger disk")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}:
        return Mistake(str(folder()), f"cannot be written: {error.strerror}", "Set OMNITUNE_CACHE to a folder of your own")
    return None


def _clean(place: Path) -> None:
    """Removes copies of earlier states of the source, and what killed processes left behind."""
    old = time.time() - ABANDONED_SECONDS
    for other in place.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if other != place and (other.suffix == ".arrow" or other.stat().st_mtime < old):
                other.unlink()
