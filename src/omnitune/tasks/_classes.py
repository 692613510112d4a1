"""What tasks share whose answer is one of several classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pydantic
from pydantic import Field

from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import values
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.tokens import Batch


@dataclass(frozen=True)
class OneOf(Task, ABC):
    """One of the classes that the training rows show. Any text, number, date or true/false is a class; 1, 1.0 and "1" are the same one.

    An empty cell is a row without an answer. A class that training never saw weighs nothing, is left out of figures, and is counted
    (`unseen`).
    """

    target: str
    class_weights: Literal["none", "balanced"] | dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = "none"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @abstractmethod
    def ordered(self, classes: Iterable[values.Scalar]) -> list[values.Scalar]:
        """The classes of the training rows in the order in which a prediction holds them. Raises `Mistake` where they have none."""

    @pydantic.field_validator("class_weights", mode="before")
    @classmethod
    def _named(cls, weights: Any) -> Any:
        return {values.name(key): weight for key, weight in weights.items()} if isinstance(weights, dict) else weights

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no class."""
        return values.unnamed(value)

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`classes` in order, and of each its `counts` and `weights`.

        Raises:
            Mistake: no answer at all, one class only, so many that they look like numbers or names, or a weight for none of them.
        """
        counts: Counter[str] = Counter()
        classes: dict[str, values.Scalar] = {}
        for value in columns[self.target]:
            if not values.missing(value):
                name = values.name(value)
                counts[name] += 1
                classes.setdefault(name, values.scalar(value))
        self._learnable(classes, counts.total())
        ordered = self.ordered(classes.values())
        numbers = [counts[values.name(c)] for c in ordered]
        return {"classes": ordered, "counts": numbers, "weights": self._weights([values.name(c) for c in ordered], numbers)}

    def _learnable(self, classes: dict[str, values.Scalar], rows: int) -> None:
        where = f"target {self.target!r}"
        if not classes:
            raise Mistake(where, "no training row has an answer", "Fill the column, or choose another target")
        if len(classes) == 1:
            raise Mistake(
                where, f"all {rows:,} training rows are {next(iter(classes))!r}", "There is nothing to tell apart: add rows of other classes"
            )
        if values.mostly_different(len(classes), rows):
            numbers = all(isinstance(c, (int, float)) for c in classes.values())
            fix = "To predict a number, use kind: regress" if numbers else "It looks like a name of rows: choose another target"
            raise Mistake(where, f"{len(classes):,} different values in {rows:,} training rows are too many for classes", fix)

    def _weights(self, names: list[str], counts: list[int]) -> list[float]:
        if self.class_weights == "none":
            return [1.0] * len(names)
        if self.class_weights == "balanced":
            return [sum(counts) / (len(counts) * count) for count in counts]
        unknown = sorted(set(self.class_weights) - set(names))
        if unknown:
            wrong = f"no training row is {', '.join(map(repr, unknown))}"
            raise Mistake(f"target {self.target!r}, class_weights", wrong, did_you_mean(unknown[0], names))
        return [self.class_weights.get(name, 1.0) for name in names]

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows of a class that training never saw."""
        return values.strangers(columns[self.target], values.places(facts["classes"]))

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B,) int64, the place of the class in `facts["classes"]`, -1 where there is none; `weight` (B,)."""
        import torch

        places = values.places(facts["classes"])
        y = [values.place(value, places) for value in columns[self.target]]
        weight = [0.0 if place < 0 else facts["weights"][place] for place in y]
        return batch, {"y": torch.tensor(y, dtype=torch.int64), "weight": torch.tensor(weight, dtype=torch.float32)}

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: a class as it stands in the table, the likeliest or, where they rise, the median; `probabilities` by the name of the class."""
        from omnitune.nn.metrics import said

        classes = facts["classes"]
        names = [values.name(c) for c in classes]
        return [
            {"value": classes[best], "probabilities": dict(zip(names, p, strict=True))}
            for best, p in zip(said(self.form, output).tolist(), output.tolist(), strict=True)
        ]
