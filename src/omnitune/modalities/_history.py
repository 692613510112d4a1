"""Histories: a cell as steps, an item with its time and action each, or what is wrong with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple

from omnitune.nn import values as cells

PARTS = {"item", "time", "action"}
LATEST = 1e15
"""Seconds; beyond them a number is no time."""


class Step(NamedTuple):
    """One item of a history.

    Args:
        item: its id, as JSON holds it.
        name: the same one whatever file it came from.
        time: in seconds, since whenever; None where it is not told.
        action: its name; None where it is not told.
    """

    item: cells.Scalar
    name: str
    time: float | None = None
    action: str | None = None


class Wrong(Exception):
    """What cannot be read, in words for the user."""


def read(value: Any) -> list[Step]:
    """The steps of a cell, in its order; none where it is missing. Raises `Wrong`."""
    if cells.missing(value):
        return []
    members, steps = _members(value), list[Step]()
    latest = -math.inf
    try:
        for member in members:
            step = _step(member)
            if step.time is not None:
                if step.time < latest:
                    raise Wrong("it is earlier than one before it; a history goes from old to new")
                latest = step.time
            steps.append(step)
    except Wrong as wrong:
        raise Wrong(f"item {len(steps) + 1} of {len(members):,}: {wrong}") from None
    return steps


def seconds(value: Any) -> float | None:
    """A time in seconds: a number as it is, a date or a text of one since 1970 (UTC where it names no zone); None where missing. Raises `Wrong`."""
    if type(value) in (int, float) and abs(value) <= LATEST:
        return float(value)
    if cells.missing(value):
        return None
    told = _written(value) if isinstance(value, str) else value
    if isinstance(told, date):
        told = told if isinstance(told, datetime) else datetime(told.year, told.month, told.day)
        told = (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    if isinstance(told, bool) or not isinstance(told, (Real, Decimal)) or not abs(told) <= LATEST:  # type: ignore[operator]
        raise Wrong(f"{str(value)[:40]!r} is no time")
    return float(told)


def _written(text: str) -> datetime | int | float:
    number = cells.read_number(text)
    if not isinstance(number, str):
        return number
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise Wrong(f"{text[:40]!r} is no time: give a number of seconds, or a date such as 2024-05-31T12:30:00") from None


def _members(value: Any) -> list[Any]:
    """Of a list, of a text that writes one in JSON or ids with | between them, or of a number, which is what a file without types makes of one id."""
    if isinstance(value, str):
        bare = value.strip()
        if not bare.startswith("["):
            return [part.strip() for part in bare.split("|")]
        try:
            value = json.loads(bare)
        except ValueError:
            raise Wrong(f"{bare[:40]!r} begins like a list in JSON, but is none") from None
    if hasattr(value, "tolist") and getattr(value, "ndim", 0) == 1:
        value = value.tolist()
    if isinstance(value, Real):
        return [value]
    if not isinstance(value, (list, tuple)):
        raise Wrong(f"expected a list of items, got {type(value).__name__}")
    return list(value)


def _step(member: Any) -> Step:
    told = member if isinstance(member, Mapping) else {"item": member}
    item, action = told.get("item"), told.get("action")
    if not told.keys() <= PARTS:
        raise Wrong(f"it has {str(min(told.keys() - PARTS, key=str))[:40]!r}; an item is an id, or has item, time, action")
    name = _name(item)
    if name is None:
        raise Wrong("it has no id")
    return Step(item if type(item) is str else cells.scalar(item), name, seconds(told.get("time")), None if action is None else _name(action))


def _name(value: Any) -> str | None:
    if type(value) is str:  # most are, and there may be many millions
        return value if value and not value.isspace() else None
    if cells.missing(value):
        return None
    if problem := cells.problem(value):
        raise Wrong(problem)
    return cells.name(value)
