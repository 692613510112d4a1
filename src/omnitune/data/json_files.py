"""JSON: one object a line (read in a stream), or one list of objects (read whole)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from omnitune.data import rows
from omnitune.data.cached import Stream
from omnitune.data.text_files import not_utf8, open_binary
from omnitune.errors import Mistake

SHOWN = 20


def stream(path: Path) -> Stream:
    """The rows of a JSON file, compressed or not; raises `Mistake` naming the lines that are no JSON (at most 20), every column of mixed types."""
    return rows.stream(path.name, lambda: rows.chunked(path.name, objects(path)))


def objects(path: Path) -> Iterator[Any]:
    """What stands on the lines, or in the list, as it is; raises `Mistake` after the last line where some are no JSON."""
    try:
        with open_binary(path) as file:
            start = file.read(1024).decode("utf-8-sig", "ignore").lstrip()
        with open_binary(path) as file:  # again, since not every compressed file can be wound back
            if start.startswith("["):
                yield from _parsed(path, file.read())
            else:
                yield from _lines(path, file)
    except UnicodeDecodeError as error:
        raise not_utf8(path) or error from None


def _parsed(path: Path, text: bytes) -> list[Any]:
    try:
        return list(json.loads(text.decode("utf-8-sig"), object_pairs_hook=_object))
    except ValueError as error:
        raise error if isinstance(error, UnicodeDecodeError) else Mistake(path.name, f"is no JSON: {error}", "Mend it there") from None


def _lines(path: Path, file: IO[bytes]) -> Iterator[Any]:
    """One object a line, however far the file is right; then one `Mistake` with every line that is wrong."""
    wrong: list[Mistake] = []
    for number, line in enumerate(file, 1):
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        if text.isspace() or not text:
            continue
        try:
            yield json.loads(text, object_pairs_hook=_object)
        except ValueError as error:
            wrong.append(Mistake(f"{path.name} line {number}", f"is no JSON: {error}", "Write one object a line, or one list of objects"))
        if len(wrong) == SHOWN:
            break
    if wrong:
        raise Mistake.together(wrong)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return found
