"""contrast: values of one label belong together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn import values
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Contrast(Task):
    """Rows of one label are drawn together and those of others apart (supervised contrastive learning, Khosla et al. 2020,
    https://arxiv.org/abs/2004.11362). With a few labels a class it is the first stage of few-shot classification, as SetFit's (Tunstall et al. 2022,
    https://arxiv.org/abs/2209.11055) is, with all pairs of a batch at once in the place of drawn pairs; a `classify` task beside it, or after it on
    the run's folder as a backbone, is the second.

    The vectors are the input's own pooled tokens: the head has no weights, so that what is learned is in the backbone. In training a row is compared
    with all of its `train.batch`, as in `match`.

    Args:
        of: the input.
        by: the column of labels. Rows without one are left out, and so are labels that training never saw.
        temperature: divides the cosines.
    """

    form: ClassVar[Literal["neighbours"]] = "neighbours"
    supervised: ClassVar[bool] = False
    answers: ClassVar[bool] = False

    of: str
    by: str
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1

    def compares(self) -> tuple[str, ...]:
        """The input, with itself."""
        return (self.of,)

    def columns(self) -> tuple[str, ...]:
        """The column of labels."""
        return (self.by,)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no label."""
        return values.unnamed(value)

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`labels` by name, and of each how often it stands in training (`counts`).

        Raises:
            Mistake: no label at all, one only, or none that two rows share.
        """
        counts = Counter(values.name(value) for value in columns[self.by] if not values.missing(value))
        where = f"column {self.by!r}"
        if not counts:
            raise Mistake(where, "no training row has a label", "Fill the column, or choose another one")
        if len(counts) == 1:
            raise Mistake(
                where, f"all {counts.total():,} training rows are {next(iter(counts))!r}", "There is nothing to tell apart: add other labels"
            )
        if max(counts.values()) == 1:
            raise Mistake(where, "no two training rows share a label", "It looks like a name of rows: choose another column")
        return {"labels": sorted(counts), "counts": [counts[name] for name in sorted(counts)]}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows of a label that training never saw."""
        return values.strangers(columns[self.by], values.places(facts["labels"]))

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B,) int64, the place of the label in `facts["labels"]`, -1 where there is none; `weight` (B,), 1 where label and value are there."""
        import torch

        places = values.places(facts["labels"])
        y_B = torch.tensor([values.place(value, places) for value in columns[self.by]], dtype=torch.int64)
        return batch, {"y": y_B, "weight": (batch.inputs[self.of]["present"].to(y_B.device) & (y_B >= 0)).float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `ContrastHead`."""
        from omnitune.nn.contrast import ContrastHead

        return ContrastHead(self.of, backbones[self.of].width, self.temperature)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """Nothing is said of a row."""
        raise AssertionError("has no answers")  # see `answers`

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How many of the nearest rows have the row's label."""
        from omnitune.nn.neighbours import neighbour_metrics

        return neighbour_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Three labels in turn, shuffled, and a rarer row without one."""
        return {self.by: [None if i % 16 == 15 else "abc"[i % 3] for i in rng.permutation(n).tolist()]}
