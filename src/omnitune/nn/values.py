"""Values: a class or category keeps one name whatever file it came from, so that CSV, JSON and Parquet agree.

`1`, `1.0`, `Decimal("1")` and the text `"1"` share the name `1`; true and false are `true` and `false`, apart from 1 and 0; a date is its
ISO text; a text is its own name, letter by letter.
"""

import datetime
import math
from collections.abc import Iterable
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

Scalar = bool | int | float | str


def scalar(value: Any) -> Scalar:
    """`value` as JSON can hold it: whole numbers as integers, dates and times as ISO text. Raises TypeError for what is no single value."""
    if isinstance(value, (str, bool)):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, (Real, Decimal)):
        if not math.isfinite(value):
            raise TypeError(f"{value} is no finite number")
        whole = int(math.floor(value))  # noqa: RUF046  (numbers.Real promises no int)
        return whole if value == whole else float(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    raise TypeError(f"expected a text, a number, a date or true/false, got {type(value).__name__}")


def name(value: Any) -> str:
    """The name of `value`. Raises TypeError as `scalar`."""
    plain = scalar(value)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)


def problem(value: Any) -> str | None:
    """Why `value` can have no name, in words for the user; None where it has one."""
    try:
        scalar(value)
    except TypeError as error:
        return str(error)
    return None


def missing(value: Any) -> bool:
    """None, NaN, and text of nothing but white space: what an empty cell reads as."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, (Real, Decimal)) and bool(value != value))


def ordered(values: Iterable[Scalar]) -> list[Scalar]:
    """Numbers by size, then texts by alphabet."""
    return sorted(values, key=lambda v: (1, 0.0, v) if isinstance(v, str) else (0, v, str(v)))


def mostly_different(distinct: int, rows: int) -> bool:
    """Whether so many different values in so many rows look like numbers or names of rows rather than classes."""
    return distinct > 10 and 2 * distinct > rows
