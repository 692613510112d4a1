"""Looks: what a column of a table seems to hold, from a sample of its rows, with the reason in words."""

from __future__ import annotations

import datetime
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from omnitune.modalities.behaviour import Behaviour
from omnitune.modalities.date import Date
from omnitune.modalities.series import Series
from omnitune.modalities.set import Set
from omnitune.nn import values as cells

PICTURES = re.compile(r"(?i)(data:image/.*|.*\.(jpe?g|png|bmp|gif|tiff?|webp|ppm|pgm|avif|jp2))", re.DOTALL)
SOUNDS = re.compile(r"(?i)(data:audio/.*|.*\.(wav|flac|mp3|ogg|oga|opus|aiff?|au|caf))", re.DOTALL)
MAGIC = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|BM|RIFF....WEBP|II\*\0|MM\0\*", re.DOTALL)
HEARD = re.compile(rb"RIFF....WAVE|fLaC|OggS|ID3|\xff[\xf2\xf3\xfa\xfb]|FORM....AIF|\.snd|caff", re.DOTALL)
"""How files of sound begin, those of MP3 with a note or with their first frame."""
NAMES = {"image": "pictures", "audio": "sounds"}
DAYS = re.compile(r"\s*\d{4}-\d\d-\d\d([T ].*)?")
LISTS = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
IDENTIFIER = re.compile(r"(?i)(.*[_\s.-])?(id|ids|uuid|guid|index|idx|key|hash)|unnamed: ?\d+|__index_level_\d+__|\s*|.+(Id|ID)")
SEPARATORS = ("|", ";")
FEW_CLASSES = 10
"""Whole numbers of so many values at most are asked for as classes."""


@dataclass(frozen=True)
class Look:
    """A column as seen in some rows.

    Args:
        name: of the column.
        values: of the rows looked at; None where missing.
        rows: their numbers in the table.
    """

    name: str
    values: Sequence[Any]
    rows: Sequence[int]

    @cached_property
    def present(self) -> list[Any]:
        """The values that are there."""
        return [value for value in self.values if not cells.missing(value)]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, by its name."""
        return Counter(cells.name(value) for value in self.present)

    @cached_property
    def distinct(self) -> float:
        """Different values, as a share of the values."""
        return len(self.counts) / max(1, len(self.present))

    @cached_property
    def words(self) -> float:
        """Words a value, on average; letters count where a script sets no spaces."""
        return sum(max(len(str(value).split()), _unspaced(str(value))) for value in self.present) / max(1, len(self.present))

    @cached_property
    def twice(self) -> tuple[str, str] | None:
        """Two texts that write one number, in a column of numbers; None in any other."""
        seen: dict[Any, str] = {}
        pair = None
        for value in self.present:
            number = cells.read_number(value) if isinstance(value, str) else value
            if not cells.no_number(value):
                if not isinstance(value, str) or isinstance(number, str):
                    return None
                first = seen.setdefault(number, value)
                pair = pair or ((first, value) if first != value else None)
        return pair

    @property
    def written(self) -> Look | None:
        """The lists that its texts write; None where they write none."""
        if not self.mostly(LISTS):
            return None
        lists = [None if cells.missing(value) else cells.as_list(value) for value in self.values]
        return None if any(isinstance(one, str) for one in lists) else Look(self.name, lists, self.rows)

    def all_are(self, *types: type) -> bool:
        """Whether every value is of one of these types (true and false are no numbers)."""
        return all(isinstance(value, types) and (bool in types or not isinstance(value, bool)) for value in self.present)

    def mostly(self, pattern: re.Pattern[str]) -> bool:
        """Whether nearly all values are texts that match."""
        return sum(isinstance(value, str) and bool(pattern.fullmatch(value)) for value in self.present) > 0.9 * len(self.present)


def as_input(look: Look) -> tuple[str | None, str]:
    """The kind of input a column suits, or None where it is to be left out; and why."""
    if not look.present:
        return None, "empty"
    if media := _media(look):
        return media
    if look.all_are(int, float, Decimal) and any(math.isinf(value) for value in look.present):
        return "number", "numbers, some of them infinite, which count as immense ones"
    if lists := _lists(look):
        return lists
    if not all(cells.problem(value) is None for value in look.present):
        return None, f"no kind of input reads {type(look.present[0]).__name__} values"
    if len(look.counts) == 1:
        return None, f"always {next(iter(look.counts))!r}: nothing to learn from"
    if look.all_are(bool):
        return "category", "true or false"
    if look.all_are(int, float, Decimal):
        return _numbers(look)
    if look.all_are(datetime.date, datetime.time):
        return ("date", "dates") if look.all_are(datetime.date) else (None, "times of the day; write them as numbers to use them")
    if look.twice:
        return "number", f"numbers; if {' and '.join(look.twice)} are two names, such as versions, write category"
    return _texts(look)


def as_target(look: Look) -> tuple[str, str]:
    """The kind of task that asks for a column, and why."""
    if look.present and look.all_are(list, tuple):
        return "label", "lists of labels"
    if look.written:
        return "label", "lists of labels, written as texts"
    if look.all_are(bool):
        return "classify", "true or false"
    if look.all_are(int, float, Decimal):
        whole, seen = all(float(value).is_integer() for value in look.present), len(look.counts)
        if not whole:
            return "regress", "numbers with decimals"
        if seen > FEW_CLASSES:
            return "regress", f"{seen:,} whole numbers"
        return "classify", f"{seen} whole numbers" + ("; if they are an amount, write kind: regress" if seen > 2 else "")
    if look.twice:
        return "regress", f"numbers; if {' and '.join(look.twice)} are two classes, write kind: classify"
    if sign := separator(look):
        return "label", f"texts of labels with {sign!r} between them"
    return "classify", f"{len(look.counts)} classes"


def _media(look: Look) -> tuple[str | None, str] | None:
    first = look.present[:20]
    for kind, names in (("image", PICTURES), ("audio", SOUNDS)):
        if look.mostly(names):
            uri = str(first[0])[:5].lower() == "data:"
            return kind, f"{NAMES[kind]} as data: URIs" if uri else f"paths of {NAMES[kind]}, such as {first[0]}"
    contents = [value.get("bytes") if isinstance(value, dict) else value for value in first]
    for kind, begins in (("image", MAGIC), ("audio", HEARD)):
        if all(isinstance(content, bytes) and begins.match(content) for content in contents):
            return kind, f"bytes of {NAMES[kind]}"
    for kind, ends in (("image", PICTURES), ("audio", SOUNDS)):
        if all(isinstance(value, dict) and ends.fullmatch(str(value.get("path"))) for value in first):
            return kind, f"paths of {NAMES[kind]}"
    if all(isinstance(value, dict) and {"array", "sampling_rate"} <= value.keys() for value in first):
        return "audio", "samples with their rate"
    return None


def _lists(look: Look, texts: Sequence[Any] = ()) -> tuple[str | None, str] | None:
    """Of a column of lists, or of the texts that write them; None of any other, and of lists that nothing reads."""
    if not look.all_are(list, tuple):
        return None
    histories = [("behaviour", Behaviour(), f"lists of items, {ordered}")] if (ordered := _ordered(look)) else []
    for kind, modality, holds in [("series", Series(), "lists of numbers"), *histories, ("set", Set(), "lists of names")]:
        if all(modality.check(value) is None for value in texts or look.present):
            first = look.present[0]
            same = all(value == first for value in look.present)
            return (None, f"always {first!r}: nothing to learn from") if same else (kind, holds)
    return None


def _ordered(look: Look) -> str:
    """Why lists are no sets, in words; empty where they may be."""
    members = [member for value in look.present for member in value]
    if members and all(isinstance(member, Mapping) and "item" in member for member in members):
        return "each with its item: what was taken, from old to new"
    named = [[cells.name(member) for member in value if cells.problem(member) is None] for value in look.present]
    return "some of them twice: what was taken, from old to new" if any(len(set(names)) < len(names) for names in named) else ""


def _numbers(look: Look) -> tuple[str | None, str]:
    numbers = [float(value) for value in look.present]
    whole = all(math.isfinite(number) and number.is_integer() for number in numbers)
    if whole and IDENTIFIER.fullmatch(look.name):
        return ("category", f"an identifier that comes again ({len(look.counts):,} values)") if look.distinct < 0.5 else (None, "identifies its row")
    if whole and len(numbers) > 2 and len({number - row for number, row in zip(look.values, look.rows, strict=True) if number is not None}) == 1:
        return None, "counts the rows"
    return "number", f"numbers from {min(numbers):g} to {max(numbers):g}"


def _texts(look: Look) -> tuple[str | None, str]:
    if look.mostly(DAYS) and all(Date().check(value) is None for value in look.present):
        return "date", f"dates as texts, such as {look.present[0]}"
    if (written := look.written) and (lists := _lists(written, look.present)):
        return lists
    if sign := separator(look):
        return "set", f"texts of names with {sign!r} between them"
    seen = f"{len(look.counts):,} different values in {len(look.present):,}"
    if look.words >= 3 and look.distinct > 0.2:
        return "text", f"{look.words:.0f} words on average, {look.distinct:.0%} of them different"
    if look.distinct <= 0.2 or (len(look.counts) <= 20 and look.distinct <= 0.5):
        return "category", seen
    if look.words < 1.5 and (look.distinct > 0.9 or IDENTIFIER.fullmatch(look.name)):
        return None, f"names its row: {seen}"
    return ("text", f"short texts: {seen}") if look.words >= 1.5 else ("category", seen)


def separator(look: Look) -> str | None:
    """What stands between the labels of a text: a sign in most of them whose parts come again in others."""
    if not look.all_are(str):
        return None
    texts = look.present
    for sign in SEPARATORS:
        parts = Counter(label.strip() for text in look.counts for label in text.split(sign))
        if 2 * sum(sign in text for text in texts) > len(texts) and not cells.mostly_different(len(parts), len(texts)) and len(parts) < parts.total():
            return sign
    return None


def _unspaced(text: str) -> int:
    """Letters of scripts that set no spaces between words."""
    return sum("\u3040" <= letter <= "\u9fff" or "\u0e00" <= letter <= "\u0eff" for letter in text)
