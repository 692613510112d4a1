"""What tasks share whose answer is a number."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.errors import Mistake
from omnitune.nn import values
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.tokens import Batch

LARGEST = 1e30
"""Beyond it float32, in which models compute, has no room for a spread."""


@dataclass(frozen=True)
class OneNumber(Task, ABC):
    """A number, in the table's own units."""

    target: str
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def no_answer(self, value: Any) -> str | None:
        """Why a value cannot be learned: words, true/false, infinite and immense numbers."""
        if values.no_number(value):
            return None
        number = values.read_number(value) if isinstance(value, str) else value
        if isinstance(number, bool) or not isinstance(number, (Real, Decimal)):
            return f"expected a number, got {type(value).__name__} {str(value)[:40]!r}; for classes use kind: classify"
        return None if abs(number) <= LARGEST else f"{value} is too large; at most {LARGEST:g} can be learned"  # type: ignore[operator]

    def spread(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`mean` and `std`, in one pass (Welford 1962).

        Raises:
            Mistake: no answer at all, or one number only.
        """
        rows, mean, squares = 0, 0.0, 0.0
        for value in self.numbers(columns):
            rows += 1
            step = value - mean
            mean += step / rows
            squares += step * (value - mean)
        std = math.sqrt(squares / rows) if rows else 0.0
        where = f"target {self.target!r}"
        if not rows:
            raise Mistake(where, "no training row has an answer", "Fill the column, or choose another target")
        if std <= 1e-12 * abs(mean):
            raise Mistake(where, f"all {rows:,} training rows are {mean:g}", "There is nothing to learn: choose another target")
        return {"mean": mean, "std": std}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """None: every number is an answer."""
        return 0

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B,) in the table's units, NaN where there is none; `z` (B,) less the mean in units of std, 0 there; `weight` (B,), 0 there."""
        import torch

        y = torch.tensor([math.nan if values.no_number(v) else float(v) for v in columns[self.target]], dtype=torch.float64)
        z = ((y - facts["mean"]) / facts["std"]).nan_to_num(0.0)
        return batch, {"y": y.float(), "z": z.float(), "weight": (~y.isnan()).float()}

    def numbers(self, columns: Mapping[str, Sequence[Any]]) -> Iterable[float]:
        """The numbers of the rows that have one."""
        return (float(value) for value in columns[self.target] if not values.no_number(value))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Numbers around 100, and a rarer row without an answer."""
        return {self.target: [None if i % 16 == 15 else float(rng.normal(100, 20)) for i in range(n)]}
