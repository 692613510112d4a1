"""number: a quantity, such as a price or an age."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.modalities import Facts, Modality, _bins
from omnitune.nn import values as cells

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

LARGEST = 1e15
"""Numbers beyond, infinite ones among them, count as this one, so that squares and sums stay finite."""


@component
class Number(Modality):
    """A number, read as how far it has come through bins of equal count (piecewise linear encoding, Gorishniy et al. 2022,
    https://arxiv.org/abs/2203.05556) and as its distance from the mean in standard deviations.

    The bins make a network read skewed columns and thresholds as well as trees do; the distance goes on beyond the outer bins. True and
    false are 1 and 0; a text is read as the number it writes ("3.5", " 7 "); an empty text, `NA`, `null` and the like are missing.

    Args:
        width: of its token.
        bins: at most; values that occur often share their border, so a column of few values has fewer.
    """

    plain: ClassVar[Literal["number"]] = "number"

    width: Annotated[int, Field(ge=1)] = 64
    bins: Annotated[int, Field(ge=1, le=1000)] = 48

    def check(self, value: Any) -> str | None:
        """Texts that write no number, dates, lists and bytes are refused."""
        if cells.no_number(value) or _number(value) is not None:
            return None
        if not isinstance(value, str):
            return f"expected a number, got {type(value).__name__}"
        return f"{value if len(value) <= 60 else value[:60] + '...'!r} is not a number"

    def learn(self, values: Sequence[Any]) -> Facts:
        """`mean`, `std` (1 where all values are equal) and `edges`, the borders of the bins (fewer than two where there is nothing to part)."""
        return _bins.count(values, _number, self.bins)

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`features` (B, 1 + bins) float32: the distance from the mean, then the bins."""
        import torch

        numbers = [_number(value) for value in values]
        return {"features": _bins.features(numbers, facts), "present": torch.tensor([x is not None for x in numbers], dtype=torch.bool)}

    def size(self, value: Any) -> int:
        """One token."""
        return 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `NumberEncoder`."""
        from omnitune.nn.tabular import NumberEncoder

        return NumberEncoder(_bins.width(facts), self.width)

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Skewed quantities."""
        return [float(x) for x in rng.lognormal(3, 1, n)]


def _number(value: Any) -> float | None:
    """`value` as a finite float; None where it is missing or no number."""
    if cells.no_number(value) or not isinstance(value, (str, Real, Decimal)):
        return None
    try:
        x = float(value)
    except OverflowError:  # an integer of more than 308 digits
        return LARGEST if value > 0 else -LARGEST  # type: ignore[operator]
    except ValueError:
        return None
    return None if math.isnan(x) else min(max(x, -LARGEST), LARGEST)
