"""ordinal: which of several classes that rise, such as grades?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values
from omnitune.tasks import Facts
from omnitune.tasks._classes import OneOf

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric


@component
class Ordinal(OneOf):
    """One of classes that rise, such as stars or `poor`, `fair`, `good`. The answer is the median: no class has more than half of the probability
    below it or above it, so that few large errors are made (docs/log.md 2026-11-27).

    Classes, empty cells and new classes are those of `classify`.

    Args:
        target: the column with the answers.
        class_weights: see `Classify`.
        dropout: before the head.
        order: the classes from the lowest to the highest. Without it they are numbers, which rise by themselves.
    """

    form: ClassVar[Literal["ordinal"]] = "ordinal"

    order: Annotated[tuple[str, ...], Field(min_length=2)] | None = None

    @pydantic.field_validator("order", mode="before")
    @classmethod
    def _names(cls, order: Any) -> Any:
        names = [values.name(one) for one in order] if isinstance(order, (list, tuple)) else order
        if isinstance(names, list) and (twice := sorted({name for name in names if names.count(name) > 1})):
            raise ValueError(f"names {', '.join(twice)} twice")
        return names

    def ordered(self, classes: Iterable[values.Scalar]) -> list[values.Scalar]:
        """By value, or as `order` says; a class that it names and no training row has is left out.

        Raises:
            Mistake: classes that are no numbers and have no `order`, or that `order` does not name.
        """
        found = {values.name(one): one for one in classes}
        where = f"target {self.target!r}"
        if self.order is None:
            if words := [name for name, one in found.items() if not isinstance(one, (int, float)) or isinstance(one, bool)]:
                raise Mistake(where, f"{words[0]!r} is no number, so it is not known which class is higher", "Write order: [lowest, ..., highest]")
            return sorted(found.values(), key=float)
        if unknown := sorted(set(found) - set(self.order)):
            wrong = f"the order lacks {', '.join(map(repr, unknown[:5]))}, which training rows have"
            raise Mistake(f"{where}, order", wrong, did_you_mean(unknown[0], list(self.order)))
        return [found[name] for name in self.order if name in found]

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """An `OrdinalHead`."""
        from omnitune.nn.heads import OrdinalHead

        return OrdinalHead(width, [count / sum(facts["counts"]) for count in facts["counts"]], self.dropout)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How far the median class is from the right one, and those of classes."""
        from omnitune.nn.metrics import ordinal_metrics

        return ordinal_metrics(len(facts["classes"]))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Three grades in turn, shuffled, and a rarer row without an answer."""
        return {self.target: [None if i % 16 == 15 else 1 + i % 3 for i in rng.permutation(n).tolist()]}
