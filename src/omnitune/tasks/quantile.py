"""quantile: how much, and between which numbers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.tasks import Facts
from omnitune.tasks._numbers import OneNumber

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric

MEDIAN = 0.5
Level = Annotated[float, Field(gt=0, lt=1)]


@component
class Quantile(OneNumber):
    """Numbers that the answer lies below with given probabilities, such as an interval that holds nine answers in ten, and the median.

    Answers are read as by `regress`. How often test rows lie below each number stands in the report.

    Args:
        target: the column with the answers.
        dropout: before the head.
        levels: the probabilities, rising; 0.5 must be one of them, and is the value.
    """

    form: ClassVar[Literal["quantiles"]] = "quantiles"

    levels: Annotated[tuple[Level, ...], Field(min_length=1)] = (0.05, MEDIAN, 0.95)

    @pydantic.field_validator("levels")
    @classmethod
    def _rise(cls, levels: tuple[float, ...]) -> tuple[float, ...]:
        if list(levels) != sorted(set(levels)) or MEDIAN not in levels:
            raise ValueError("must rise and hold 0.5")
        return levels

    def check(self, value: Any) -> str | None:
        """Words, true/false, infinite and immense numbers are no answer."""
        return self.no_answer(value)

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`mean` and `std`, `levels`, and the numbers that so many training answers lie below (`start`). Raises as `spread`."""
        import numpy as np

        facts = self.spread(columns)
        start = np.quantile(np.fromiter(self.numbers(columns), np.float64), self.levels)
        return facts | {"levels": list(self.levels), "start": start.tolist()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `QuantileHead`."""
        from omnitune.nn.number_heads import QuantileHead

        return QuantileHead(width, facts["mean"], facts["std"], facts["levels"], facts["start"], self.dropout)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the median; `quantiles` by level."""
        names, middle = [f"{level:g}" for level in facts["levels"]], facts["levels"].index(MEDIAN)
        return [{"value": numbers[middle], "quantiles": dict(zip(names, numbers, strict=True))} for numbers in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of quantiles."""
        from omnitune.nn.number_metrics import quantile_metrics

        return quantile_metrics(facts["levels"])
