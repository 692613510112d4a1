"""date: a day or a moment, such as when something was bought."""

from __future__ import annotations

import calendar
import datetime
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.component import component
from omnitune.modalities import Facts, Modality, _bins
from omnitune.nn import values as cells

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

DAY = 86_400.0
"""Seconds."""
CIRCLES = 4
"""Year, month, week, day."""
START = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@component
class Date(Modality):
    """A day or a moment: how long it is since the training rows began, in bins of equal count as a `number` is, and where it lies in its year,
    month, week and day, as points on circles, so that December is beside January and Sunday beside Monday.

    Dates and times of Python, Arrow and pandas are read, and texts as ISO 8601 writes them (`2026-03-01`, `2026-03-01T12:30`,
    `2026-03-01 12:30+02:00`). An empty text, `NA`, `null` and the like are missing. A moment with a zone counts from where it is the same
    everywhere; the hour and the day are those that it was written with, which people live by.

    Args:
        width: of its token.
        bins: at most, of the time that has passed.
    """

    width: Annotated[int, Field(ge=1)] = 64
    bins: Annotated[int, Field(ge=1, le=1000)] = 48

    def check(self, value: Any) -> str | None:
        """Texts that write no date, numbers, lists and bytes are refused."""
        if cells.no_number(value) or _no_moment(value) or _moment(value) is not None:
            return None
        if not isinstance(value, str):
            return f"expected a date, got {type(value).__name__}; a text such as 2026-03-01 is one"
        return f"{value if len(value) <= 60 else value[:60] + '...'!r} is no date as ISO 8601 writes them, such as 2026-03-01 or 2026-03-01T12:30"

    def learn(self, values: Sequence[Any]) -> Facts:
        """Of days since 1970: `mean`, `std` (1 where all are equal) and `edges`, the borders of the bins."""
        return _bins.count(values, _days, self.bins)

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`features` (B, 1 + bins + 8) float32: the distance from the mean, the bins, and sines and cosines of year, month, week and day."""
        import torch

        moments = [_moment(value) for value in values]
        passed = _bins.features([None if moment is None else _since(moment) for moment in moments], facts)
        turns_B4 = torch.tensor([(0.0,) * CIRCLES if moment is None else _turns(moment) for moment in moments], dtype=torch.float64)
        angles_B4 = 2 * math.pi * turns_B4.view(-1, CIRCLES)
        features = torch.cat([passed, angles_B4.sin().float(), angles_B4.cos().float()], 1)
        return {"features": features, "present": torch.tensor([moment is not None for moment in moments], dtype=torch.bool)}

    def outline(self, values: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Days since 1970, month, day of the month, weekday and hour, (n, 5)."""
        import numpy as np

        moments = (_moment(value) for value in values)
        rows = [[math.nan] * 5 if m is None else [_since(m), m.month, m.day, m.weekday(), m.hour + m.minute / 60] for m in moments]
        return np.array(rows, dtype=np.float64).reshape(-1, 5)

    def size(self, value: Any) -> int:
        """One token."""
        return 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `NumberEncoder`."""
        from omnitune.nn.tabular import NumberEncoder

        return NumberEncoder(_bins.width(facts) + 2 * CIRCLES, self.width)

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Days of a few years, as texts."""
        first = datetime.date(2020, 1, 1)
        return [(first + datetime.timedelta(int(days))).isoformat() for days in rng.permutation(max(n, 1500))[:n]]


def _no_moment(value: Any) -> bool:
    """Whether it is what pandas writes where a moment is missing, which is not equal to itself."""
    return isinstance(value, datetime.datetime) and bool(value != value)


def _moment(value: Any) -> datetime.datetime | None:
    """`value` as a moment, a day as its midnight; None where it is none."""
    if isinstance(value, str) and not cells.no_number(value):
        try:
            return datetime.datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if isinstance(value, datetime.datetime):
        return None if _no_moment(value) else value
    return datetime.datetime.combine(value, datetime.time()) if isinstance(value, datetime.date) else None


def _since(moment: datetime.datetime) -> float:
    """Days since 1970, in UTC; a moment without a zone counts as written."""
    there = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return (there - START).total_seconds() / DAY


def _days(value: Any) -> float | None:
    moment = _moment(value)
    return None if moment is None else _since(moment)


def _turns(moment: datetime.datetime) -> tuple[float, float, float, float]:
    """How far through its year, month, week and day it is, from 0 to below 1."""
    day = (moment.hour * 3600 + moment.minute * 60 + moment.second) / DAY
    length = calendar.monthrange(moment.year, moment.month)[1]
    return (moment.timetuple().tm_yday - 1 + day) / 366, (moment.day - 1 + day) / length, (moment.weekday() + day) / 7, day
