"""Files that a command writes at the user's word: whole or not at all, and what the system refuses is told."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omnitune.errors import Mistake


@contextmanager
def told(path: Path) -> Iterator[None]:
    """For what writes `path`. Raises `Mistake` where the system refuses: no such folder, no right to it, no room."""
    try:
        yield
    except OSError as error:
        raise Mistake(str(path), f"cannot be written: {error.strerror or error}", "Make room, or give another --out") from None


def part_of(path: Path) -> Path:
    """The file beside `path` that holds what is written so far; one that a killed process left is written over."""
    return path.with_name(f"{path.name}.part")


def write(path: Path, text: str) -> None:
    """Writes a text file in one step; raises as `told`."""
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part_of(path).write_text(text, encoding="utf-8")
        part_of(path).replace(path)
