"""Written: what the texts of a file without types mean. A column is of one type over a whole file, and of the same in prediction.

A column becomes integers, fractions or true/false only if every one of its values is one; else it stays text. So `007`, an integer of more
than 18 digits or a date is text, and one word among numbers makes a column text, for the modality to name its row. Fractions that are few
and of which two are one number (`3.1` and `3.10`) are names, such as versions, and stay text too.
"""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from omnitune.nn import values

NUMBER, FLAG, TEXT = "number", "flag", "text"
NO_VALUE = pa.array([*values.NO_VALUE, None])
KINDS: list[tuple[pa.DataType, str]] = [
    (pa.int64(), rf"^(?:{values.WHOLE})$"), (pa.float64(), rf"^(?:{values.FRACTION})$"), (pa.bool_(), rf"^(?:{values.FLAG})$"),
]  # fmt: skip
DECIMALS = r"^[+-]?\d*\.\d*[1-9]0*$"
NAMES = 10_000
"""Different fractions from which on a column holds quantities, however they are written."""


class Survey:
    """The type of one column, found batch by batch."""

    def __init__(self) -> None:
        self.possible = list(KINDS)
        self.there = self.filled = self.twice = False
        self.spellings: dict[str, str] | None = {}

    def add(self, column: pa.Array) -> None:
        """Looks at more values, all as text."""
        self.there |= column.null_count < len(column)
        if not self.possible:
            return
        found = trimmed(column)
        found = found.filter(pc.invert(pc.is_in(found, value_set=NO_VALUE)))
        self.filled |= len(found) > 0
        self.possible = [kind for kind in self.possible if pc.all(pc.match_substring_regex(found, kind[1])).as_py() is not False]
        if self.spellings is not None and self._kind() == pa.float64():
            self._spelled(found)

    @property
    def type(self) -> pa.DataType:
        """Null where no row has a value, so that another file's type holds."""
        named = self.twice and self.spellings is not None and self._kind() == pa.float64()
        return (pa.string() if named else self._kind()) if self.there else pa.null()

    def _kind(self) -> pa.DataType:
        return self.possible[0][0] if self.possible and self.filled else pa.string()

    def _spelled(self, found: pa.Array) -> None:
        """Whether two texts are one number. A column where integers come first is looked at from its first fraction on, which misses none."""
        assert self.spellings is not None
        fractions = pc.unique(found.filter(pc.match_substring_regex(found, DECIMALS)))
        if len(fractions) > NAMES:
            self.spellings = None
            return
        for text in fractions.to_pylist():
            self.twice |= self.spellings.setdefault(text.rstrip("0"), text) != text
        if len(self.spellings) > NAMES:
            self.spellings = None


def cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """Texts as the type that `Survey` found."""
    if kind == pa.string():
        return column
    found = trimmed(column)
    return pc.if_else(pc.is_in(found, value_set=NO_VALUE), None, found).cast(kind) if kind != pa.null() else pa.nulls(len(column))


def trimmed(column: pa.Array) -> pa.Array:
    """Without white space around."""
    return pc.utf8_trim_whitespace(column)


def only_no_value(column: pa.ChunkedArray) -> bool:
    """Whether a column of texts holds nothing but words for missing values."""
    first, rest = column.slice(0, 100), column.slice(100)  # most columns hold a value there
    return all(pc.all(pc.is_in(trimmed(chunk), value_set=NO_VALUE)).as_py() is not False for chunk in (*first.chunks, *rest.chunks))


def kind_of(arrow: pa.DataType) -> str | None:
    """What a column says of texts in its place: that they write numbers or true/false, or are texts; None where it says nothing."""
    inner = arrow.value_type if pa.types.is_dictionary(arrow) else arrow
    if pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_decimal(inner):
        return NUMBER
    if pa.types.is_boolean(inner):
        return FLAG
    return TEXT if is_text(inner) else None


def is_text(kind: pa.DataType) -> bool:
    """Whether values of an Arrow type are texts, however they are laid out."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def read_as(value: Any, kind: str | None) -> Any:
    """A value in the place of a column of this kind. A text that is of another stays as it is, for the modality to judge."""
    if not isinstance(value, str) or kind not in (NUMBER, FLAG):
        return value
    if values.no_number(value):
        return None
    return values.read_number(value) if kind == NUMBER else values.read_flag(value)


def meaning(value: Any) -> Any:
    """What a text means in a column of its like: `12` the number, `NA` nothing. So a row is the same row whatever stands in other rows."""
    if not isinstance(value, str) or (value[:1].isalpha() and value[:1] not in "NntTfF"):  # most texts, told apart quickly
        return value
    if values.no_number(value):
        return None
    number = values.read_number(value)
    return values.read_flag(value) if isinstance(number, str) else number
