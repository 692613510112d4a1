"""regress: how much?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omnitune.component import component
from omnitune.nn import values
from omnitune.tasks import Facts
from omnitune.tasks._numbers import OneNumber

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric


@component
class Regress(OneNumber):
    """A number, in the table's own units; a text is read as the number it writes. An empty cell, `NA`, `null` and the like are a row without
    an answer. Several numbers of a row are several tasks, which share what is read; how sure a number is, `quantile` says.

    Args:
        target: the column with the answers.
        dropout: before the head.
        loss: `huber` (squared near the answer, linear beyond one standard deviation: outliers pull less; Huber 1964), `mse`, or `poisson` of
            counts and other numbers that are never below 0, whose spread grows with them.
    """

    form: ClassVar[Literal["value"]] = "value"

    loss: Literal["huber", "mse", "poisson"] = "huber"

    def check(self, value: Any) -> str | None:
        """Words, true/false, infinite and immense numbers are no answer; below 0 nothing is counted."""
        wrong = self.no_answer(value)
        if wrong or self.loss != "poisson" or values.no_number(value):
            return wrong
        return f"{value} is below 0, which loss: poisson cannot be; choose huber or mse" if float(value) < 0 else None

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`mean` and `std` of the training answers. Raises as `spread`."""
        return self.spread(columns)

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `CountHead` for `poisson`, else a `RegressHead`."""
        from omnitune.nn.number_heads import CountHead, RegressHead

        if self.loss == "poisson":
            return CountHead(width, facts["mean"], self.dropout)
        return RegressHead(width, facts["mean"], facts["std"], self.loss, self.dropout)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the number."""
        return [{"value": value} for value in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of numbers."""
        from omnitune.nn.number_metrics import value_metrics

        return value_metrics()
