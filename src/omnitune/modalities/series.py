"""series: a list of numbers, one after the other: a signal, a day by the hour, a year by the month."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.modalities import Facts, Modality
from omnitune.nn import values as cells
from omnitune.settings import divides_width

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

LARGEST = 1e30
"""Beyond it float32, in which models compute, has no room for a spread."""
REACH = 1e4
"""Units of the training scale beyond which one number is as far away as another, so that squares and sums stay finite."""
ROWS, NUMBERS = 20_000, 64
"""Training rows, and numbers of each, that the scale is counted on: as many as there are, or so many spread evenly (always the same)."""
MIDDLE_HALF = 1.349
"""Standard deviations between the quartiles of a normal distribution."""


@component
class Series(Modality):
    """Numbers in their order, in lists of any length, as patches of a few that a small Transformer reads (PatchTST, Nie et al. 2023,
    https://arxiv.org/abs/2211.14730).

    A cell is a list, or a text that writes one: `[1, 2.5, null]`, `1 2.5 3` or `1, 2.5, 3`. None and NaN inside are gaps; an empty list, one of gaps
    alone and an empty text are missing. Numbers are read in units of the spread of the training rows (median and quartiles, so that a few wild
    values do not decide it), or of their own series.

    Args:
        width: of its tokens.
        patch: numbers a token.
        length: numbers that are read of a series, the last ones. What is before is cut, and the share of series this happened to is reported.
        layers: blocks.
        heads: of each block; must divide `width`.
        dropout: in the blocks.
        causal: a patch sees itself and those before it, as forecast needs it; else all of them.
        scale: `train` keeps the level of a series; `row` reads each in units of its own mean and deviation (Kim et al. 2022, RevIN), for series
            of many levels, or where shape alone counts.
    """

    lists: ClassVar[bool] = True
    deep: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1)] = 64
    patch: Annotated[int, Field(ge=1, le=1024)] = 8
    length: Annotated[int, Field(ge=2, le=65_536)] = 512
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 4
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    causal: bool = False
    scale: Literal["train", "row"] = "train"

    _divide = pydantic.field_validator("heads")(divides_width)

    def check(self, value: Any) -> str | None:
        """What is no list of numbers, a list of one, infinite and immense numbers are refused, with their place."""
        if cells.no_number(value):
            return None
        numbers = _listed(value)
        if isinstance(numbers, str):
            return numbers
        if len(numbers) == 1:
            return "one number is no series; for one number a row use kind: number"
        wrong = next((i for i, x in enumerate(numbers) if not _fine(x)), None)
        return (
            None
            if wrong is None
            else f"value {wrong + 1} of {len(numbers):,} is {str(numbers[wrong])[:40]!r}, no finite number of at most {LARGEST:g}"
        )

    def learn(self, values: Sequence[Any]) -> Facts:
        """`centre` and `spread`, the median of the numbers and what lies between their quartiles in standard deviations (1 where all are equal);
        `longest`, numbers in the longest series as far as it is read; `cut`, the share of series that are longer."""
        import numpy as np

        every = max(1, -(-len(values) // ROWS))
        seen, kept, longest, cut = 0, [], 0, 0
        for i, value in enumerate(values):
            x = _numbers(value)
            if x is None:
                continue
            seen, longest, cut = seen + 1, max(longest, min(len(x), self.length)), cut + (len(x) > self.length)
            if i % every == 0:
                x = x[~np.isnan(x)]
                kept.append(x[np.unique(np.linspace(0, len(x) - 1, NUMBERS).astype(int))])
        centre, spread = _scale(np.concatenate(kept) if kept else np.zeros(0))
        return {"centre": centre, "spread": spread, "longest": longest or self.patch, "cut": cut / seen if seen else 0.0}

    def series(self, facts: Facts) -> Facts:
        """What a task must know that asks about its numbers: whether the encoder is `causal`, and the `patch`."""
        return {"causal": self.causal, "patch": self.patch}

    def whole(self, facts: Facts) -> Facts:
        """`longest`: numbers of the longest series."""
        return {"longest": facts["longest"]}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`values` (B, L) float32, the last number of each row in the last column, L that of the longest; `known` (B, L): no gap, no padding;
        `centre` and `spread` (B,): a value is `centre + spread * values`. They are those of the training rows, or with `scale: row` those of the
        first half of the row, so that a task may hide its end.
        """
        import numpy as np
        import torch

        rows = [_numbers(value) for value in values]
        read = [np.zeros(0) if row is None else row[-self.length :] for row in rows]
        read = [row[int((~np.isnan(row)).argmax()) :] if len(row) else row for row in read]  # a gap before the first number says nothing
        wide = max([1, *map(len, read)])
        x_BL = np.full((len(values), wide), np.nan)
        for i, row in enumerate(read):
            x_BL[i, wide - len(row) :] = row
        centre_B, spread_B = np.array([self._units(row, facts) for row in read]).T
        x_BL = np.clip((x_BL - centre_B[:, None]) / spread_B[:, None], -REACH, REACH)
        known_BL = ~np.isnan(x_BL)
        made = {"values": np.where(known_BL, x_BL, 0.0), "centre": centre_B, "spread": spread_B}
        return {name: torch.from_numpy(x.astype(np.float32)) for name, x in made.items()} | {
            "known": torch.from_numpy(known_BL), "present": torch.from_numpy(known_BL.any(1)),
        }  # fmt: skip

    def _units(self, row: np.ndarray[Any, Any], facts: Facts) -> tuple[float, float]:
        import numpy as np

        if self.scale == "train" or not len(row):
            return facts["centre"], facts["spread"]
        spread = float(np.nanmax(np.abs(row[: -(-len(row) // 2)] - row[0])))
        return float(row[0]), spread if spread > 1e-12 * max(abs(float(row[0])), 1e-30) else facts["spread"]

    def size(self, value: Any) -> int:
        """About how many patches."""
        numbers = value.count(",") + value.count(" ") if isinstance(value, str) else len(value)
        return 1 + min(self.length, numbers) // self.patch

    def encoder(self, facts: Facts) -> nn.Module:
        """A `SeriesEncoder`."""
        from omnitune.nn.series import SeriesEncoder

        places = -(-facts["longest"] // self.patch)
        return SeriesEncoder(self.patch, places, self.width, self.layers, self.heads, self.dropout, self.causal, self.scale == "row")

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Waves with a drift, of different lengths, here and there a gap."""
        import numpy as np

        made = []
        for i in range(n):
            t = np.arange(int(rng.integers(20, 40)))
            x = 5 * np.sin(t / (2 + i % 5) + i) + 0.1 * i * t + rng.normal(0, 0.3, len(t))
            made.append([None if place == 7 else round(float(one), 3) for place, one in enumerate(x)])
        return made


def _listed(value: Any) -> list[Any] | str:
    """The members of a list or of a text that writes one; else what is wrong, in words."""
    import numpy as np

    if isinstance(value, str):
        bare = value.strip()
        if not bare.startswith("["):
            return [None if cells.no_number(part) else cells.read_number(part) for part in re.split(r"[\s,;]+", bare)]
        try:
            value = json.loads(bare)
        except ValueError:
            return f"{bare[:40]!r} begins like a list in JSON, but is none"
    if isinstance(value, np.ndarray) and value.ndim == 1:
        value = value.tolist()
    return list(value) if isinstance(value, (list, tuple)) else f"expected a list of numbers, got {type(value).__name__}"


def _fine(x: Any) -> bool:
    return x is None or cells.nan(x) or (type(x) is not bool and isinstance(x, (Real, Decimal)) and abs(x) <= LARGEST)  # type: ignore[operator]


def _numbers(value: Any) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """A checked value, gaps as NaN; None where there is no number."""
    import numpy as np

    if cells.no_number(value):
        return None
    x = np.array([math.nan if one is None else float(one) for one in _listed(value)], dtype=np.float64)
    return x if len(x) and not np.isnan(x).all() else None


def _scale(x: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float]:
    """Median and robust deviation; the plain deviation where half of the numbers are equal, 1 where all are."""
    import numpy as np

    if not len(x):
        return 0.0, 1.0
    low, centre, high = np.quantile(x, [0.25, 0.5, 0.75])
    least = 1e-12 * max(abs(centre), 1e-30)
    robust, plain = float(high - low) / MIDDLE_HALF, float(x.std())
    return float(centre), next((spread for spread in (robust, plain) if spread > least), 1.0)
