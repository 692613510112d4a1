"""classify: which one of several classes?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.nn import values
from omnitune.tasks import Facts
from omnitune.tasks._classes import OneOf

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric


@component
class Classify(OneOf):
    """One of the classes that the training rows show. Any text, number, date or true/false is a class; 1, 1.0 and "1" are the same one.

    An empty cell is a row without an answer. A class that training never saw weighs nothing, is left out of figures, and is counted
    (`unseen`). Of classes that rise, such as grades, `ordinal` knows more.

    Args:
        target: the column with the answers.
        class_weights: how much a row counts by its class. `balanced`: inversely to the class's share of the training rows (King and Zeng
            2001), so that all classes count the same in all; or a factor by class, 1 where not named.
        dropout: before the head.
        label_smoothing: share of the truth spread over all classes, against overconfidence.
    """

    form: ClassVar[Literal["classes"]] = "classes"

    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def ordered(self, classes: Iterable[values.Scalar]) -> list[values.Scalar]:
        """Numbers by value, then names by alphabet."""
        return values.ordered(classes)

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `ClassifyHead`."""
        from omnitune.nn.heads import ClassifyHead

        return ClassifyHead(width, len(facts["classes"]), self.label_smoothing, self.dropout)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of one class out of several."""
        from omnitune.nn.metrics import class_metrics

        return class_metrics(len(facts["classes"]))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Three classes in turn, shuffled, and a rarer row without an answer."""
        classes = ["low", "middling", "größer"]
        return {self.target: [None if i % 16 == 15 else classes[i % 3] for i in rng.permutation(n).tolist()]}
