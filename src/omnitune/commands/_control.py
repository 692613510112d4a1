"""What the flags of a command say texts must be."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omnitune.errors import Mistake
from omnitune.nn.control import TRIES, Control


def control(
    choices: Sequence[str] | None,
    regex: str | None,
    json_schema: Path | None,
    forbid: Sequence[str] | None,
    require: Sequence[str] | None,
    min_tokens: int,
    parses: str | None,
    tries: int,
) -> Control | None:
    """See `Control`; None where no flag says anything. Raises `Mistake` where a text cannot be like that, or the file of a schema cannot be read."""
    schema = None if json_schema is None else _schema(json_schema)
    said: dict[str, Any] = {"choices": tuple(choices or ()), "regex": regex, "json_schema": schema, "forbid": tuple(forbid or ())}
    said |= {"require": tuple(require or ()), "min_tokens": min_tokens, "parses": parses}
    return Control(**said, tries=tries) if tries != TRIES or any(value not in ((), None, 0) for value in said.values()) else None


def _schema(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Mistake(str(path), f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:
        raise Mistake(str(path), f"is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Mistake(str(path), "a JSON schema is a mapping", "Write {} for any JSON")
    return found
