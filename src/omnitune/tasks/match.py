"""match: which of these belong together?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Match(Task):
    """Two inputs of a row belong together, those of different rows do not: contrastive pre-training, such as CLIP's of pictures and texts (Radford
    et al. 2021, https://arxiv.org/abs/2103.00020). Of a row that lacks one of them nothing is asked.

    In training the candidates of a row are those of its `train.batch`, also where it is read in parts of `train.micro_batch` rows: then every part is
    read twice (gradient caching, Gao et al. 2021, https://arxiv.org/abs/2101.06983), for about a third more time. Candidates with the same value as
    the row in one of the two inputs are right as well, and are left out. Predictions are how well the two values of a row match, from -1 to 1.

    Args:
        a: an input.
        b: the other one.
        width: of the vectors that are compared.
        negatives: a column, or several, of values that look right and are wrong (hard negatives). They are read as `b` is and are further
            candidates for every row of the batch, from `a` to `b`; missing ones are left out. Prediction does not ask for them, and metrics
            compare with the rows' own values alone.
        loss: `softmax` over the candidates, both ways (van den Oord et al. 2018, https://arxiv.org/abs/1807.03748; CLIP), or `sigmoid` of every
            pair by itself (SigLIP, Zhai et al. 2023, https://arxiv.org/abs/2303.15343). Both learn their temperature.
        dropout: share of the values of both vectors that training drops before they are projected. Where backbones are frozen, 0.3 was worth much to
            the unseen (docs/log.md, 2026-11-28).
    """

    form: ClassVar[Literal["pairs"]] = "pairs"
    supervised: ClassVar[bool] = False
    answers: ClassVar[bool] = True

    a: str
    b: str
    width: Annotated[int, Field(ge=1)] = 128
    negatives: str | tuple[str, ...] = ()
    loss: Literal["softmax", "sigmoid"] = "softmax"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def compares(self) -> tuple[str, ...]:
        """Both inputs."""
        return (self.a, self.b)

    def wrong(self) -> tuple[str, ...]:
        """The columns of hard negatives."""
        return (self.negatives,) if isinstance(self.negatives, str) else self.negatives

    def beside(self) -> dict[str, str]:
        """Hard negatives, read as `b` is."""
        return dict.fromkeys(self.wrong(), self.b)

    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def check(self, value: Any) -> str | None:
        """There are no answers to check."""
        return None

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """Nothing."""
        return {}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """None."""
        return 0

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B, 2) int64: a number for each of the two values, equal where they are; `weight` (B,): 1 where both are there.

        `wrong` (B, K) int64: such a number for each of K hard negatives, -1 where it is missing.
        """
        import torch

        from omnitune.nn.tokens import beside

        both = [batch.inputs[name]["present"] for name in self.compares()]
        y_B2 = torch.stack([torch.from_numpy(batch.same[name]) for name in self.compares()], 1)
        target = {"y": y_B2, "weight": (both[0] & both[1]).float()}
        if not self.wrong():
            return batch, target
        wrong = [torch.from_numpy(batch.same[key]).where(batch.inputs[key]["present"], -1) for key in map(beside, self.wrong())]
        return batch, target | {"wrong": torch.stack(wrong, 1)}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `PairHead`."""
        from omnitune.nn.pairs import PairHead

        widths = [backbones[name].width for name in self.compares()]
        return PairHead(self.compares(), widths, self.width, self.loss, self.wrong(), self.dropout)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the cosine of the two vectors; None where an input is missing."""
        return [{"value": None if math.isnan(cosine) else cosine} for cosine in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How far up the right one stands among the candidates."""
        from omnitune.nn.retrieval import pair_metrics

        return pair_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """No column."""
        return {}
