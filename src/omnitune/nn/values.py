"""Values: a class or category keeps one name whatever file it came from, so that CSV, JSON and Parquet agree.

`1`, `1.0`, `Decimal("1")` and the text `"1"` share the name `1`; true and false are `true` and `false`, apart from 1 and 0; a date is its
ISO text; a text is its own name, letter by letter.

What a text of a file without types (CSV) writes is said here too, since a column of numbers with one word in it is read as text.
"""

import ast
import datetime
import json
import math
import re
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

Scalar = bool | int | float | str
_PLACES: deque[tuple[list[Scalar], dict[str, int]]] = deque(maxlen=8)
NO_VALUE = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "nan", "NaN", "-nan", "-NaN", "NAN", "null", "NULL", "None")
"""What stands for a missing value among numbers and true/false; among words it is a word (`NA` is Namibia)."""
SEPARATORS = ("|", ",", ";")
"""What usually stands between the names in one text."""
WHOLE = r"-?(0|[1-9]\d{0,17})"
FRACTION = r"[+-]?((0|[1-9]\d{0,14})(\.\d*)?|\.\d+)([eE](-\d{1,3}|\+?\d{1,2}|\+?[12]\d\d))?"
FLAG = r"[Tt]rue|[Ff]alse|TRUE|FALSE"
_WHOLE, _FRACTION, _FLAG = (re.compile(pattern, re.ASCII) for pattern in (WHOLE, FRACTION, FLAG))


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


def text(value: Any) -> str:
    """The name of `value`, and an empty text where it is None."""
    return "" if value is None else name(value)


def places(values: list[Scalar]) -> dict[str, int]:
    """By name, where each of `values` stands, from 0. The last few lists that were asked about are remembered, since every batch asks about one
    that may have millions."""
    for known, made in list(_PLACES):
        if known is values:
            return made
    made = {name(value): place for place, value in enumerate(values)}
    _PLACES.append((values, made))
    return made


def members(value: Any, separator: str) -> dict[str, Scalar]:
    """What a list holds, or a text with separators, by name; spaces around it do not matter, and empty places hold nothing."""
    written = as_list(value)
    found = value.split(separator) if isinstance(written, str) else written
    stripped = [v.strip() if isinstance(v, str) else v for v in found]
    return {name(v): scalar(v) for v in stripped if not missing(v)}


def as_list(value: Any) -> Any:
    """The list that a text writes, as JSON or as pandas leaves one in a CSV file (`['red', 'round']`); else `value` as it is."""
    if not isinstance(value, str) or not (value.lstrip().startswith("[") and value.rstrip().endswith("]")):
        return value
    for read in (json.loads, ast.literal_eval):
        with suppress(ValueError, SyntaxError, RecursionError):
            return read(value.strip())
    return value


def foreign_separator(texts: Iterable[Any], separator: str) -> tuple[str, str] | None:
    """Where no text holds `separator`, and more than half of the values are texts that hold another usual one: what is wrong, and how to mend it."""
    rows, held = 0, Counter[str]()
    for value in texts:
        rows += 1
        if isinstance(as_list(value), str):
            held.update(sign for sign in {*SEPARATORS, separator} if sign in value)
    sign = max(SEPARATORS, key=lambda one: held[one])
    if held[separator] or 2 * held[sign] <= rows:
        return None
    return f"no text holds the separator {separator!r}, and {held[sign]:,} of {rows:,} hold {sign!r}", f'Set separator: "{sign}"'


def no_members(value: Any, word: str) -> str | None:
    """Why `value` is no list of what has a name, and no text, in words for the user; None where it is one. `word`: what a member is called."""
    value = as_list(value)
    if value is None or isinstance(value, str):
        return None
    if not isinstance(value, (list, tuple)):
        return f"expected a list of {word}s or a text, got {type(value).__name__}"
    wrong = next(filter(None, ("it is empty" if missing(v) else problem(v) for v in value)), None)
    return f"a {word} in the list cannot be read: {wrong}" if wrong else None


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
    return value is None or nan(value)


def unnamed(value: Any) -> str | None:
    """As `problem`, of a cell that may be empty."""
    return None if missing(value) else problem(value)


def place(value: Any, known: dict[str, int]) -> int:
    """Where `value` stands by `places`, -1 where it is missing or not among them."""
    return -1 if missing(value) else known.get(name(value), -1)


def strangers(column: Iterable[Any], known: dict[str, int]) -> int:
    """How many values are there and not among `known`."""
    return sum(not missing(value) and name(value) not in known for value in column)


def nan(value: Any) -> bool:
    """Whether it is a number that is none, of whatever type and precision."""
    return isinstance(value, (Real, Decimal)) and bool(value != value)


def no_number(value: Any) -> bool:
    """Missing, or what stands for it in a column of numbers: `NA`, `null` and the like."""
    return missing(value) or (isinstance(value, str) and value.strip() in NO_VALUE)


def read_number(text: str) -> int | float | str:
    """The number that a text of a file writes (`12`, `-0.50`, `1e3`); else the text. `007`, `1_000` and `inf` are texts."""
    bare = text.strip()
    return int(bare) if _WHOLE.fullmatch(bare) else float(bare) if _FRACTION.fullmatch(bare) else text


def read_flag(text: str) -> bool | str:
    """True or false where a text of a file writes it; else the text."""
    bare = text.strip()
    return bare.lower() == "true" if _FLAG.fullmatch(bare) else text


def listed(value: Any) -> list[Any] | None:
    """The values of a cell that holds several: a list, or a text that writes one in JSON; None where it holds one."""
    if isinstance(value, (list, tuple)) or getattr(getattr(value, "dtype", None), "kind", "") in ("O", "U"):
        return list(value)
    if not isinstance(value, str) or not (value.startswith("[") and value.endswith("]")):
        return None
    try:
        return list(json.loads(value))
    except ValueError:
        return None


def ordered(values: Iterable[Scalar]) -> list[Scalar]:
    """Numbers by size, then texts by alphabet."""
    return sorted(values, key=lambda v: (1, 0.0, v) if isinstance(v, str) else (0, v, str(v)))


def mostly_different(distinct: int, rows: int) -> bool:
    """Whether so many different values in so many rows look like numbers or names of rows rather than classes."""
    return distinct > 10 and 2 * distinct > rows


def sound(text: str) -> str:
    """`text` with halves of characters, which JSON may hold and no tokenizer takes, joined or replaced by the replacement character."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
