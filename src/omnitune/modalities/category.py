"""category: one of a few names, such as a department or a country."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.modalities import Facts, Modality
from omnitune.nn import values as cells

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

OTHER = 0
"""The place of every category without a vector of its own."""


@component
class Category(Modality):
    """A category as a learned vector. Categories that are rare in training share one vector, and so does any new one in prediction.

    A category keeps one name whatever file it came from: 1, 1.0 and "1" are `1`, true is `true`. An empty text is missing.

    Args:
        width: of its token.
        max_categories: the most frequent ones get vectors of their own.
        min_count: training rows a category needs for that.
        hide: share of values that training reads as an unknown category, so that its vector is learned even where none is rare.
    """

    plain: ClassVar[Literal["category"]] = "category"

    width: Annotated[int, Field(ge=1)] = 64
    max_categories: Annotated[int, Field(ge=1)] = 1000
    min_count: Annotated[int, Field(ge=1)] = 2
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.01

    @property
    def augments(self) -> bool:
        """Where categories are hidden."""
        return self.hide > 0

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no category."""
        return cells.unnamed(value)

    def learn(self, values: Sequence[Any]) -> Facts:
        """`categories`: their names, the most frequent first, like ones by alphabet."""
        counts = Counter(cells.name(value) for value in values if not cells.missing(value))
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        return {"categories": [name for name in ordered if counts[name] >= self.min_count][: self.max_categories]}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`place` (B,) int64: 0 for unknown and rare categories, else 1 + the place in `facts["categories"]`."""
        import torch

        places = {name: i for i, name in enumerate(facts["categories"], OTHER + 1)}
        present = torch.tensor([not cells.missing(value) for value in values], dtype=torch.bool)
        place = torch.tensor([OTHER if cells.missing(value) else places.get(cells.name(value), OTHER) for value in values], dtype=torch.int64)
        if rng is not None:
            place[torch.from_numpy(rng.random(len(values)) < self.hide)] = OTHER
        return {"place": place, "present": present}

    def size(self, value: Any) -> int:
        """One token."""
        return 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `CategoryEncoder`."""
        from omnitune.nn.tabular import CategoryEncoder

        return CategoryEncoder(OTHER + 1 + len(facts["categories"]), self.width)

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Names with a number."""
        return [f"shop {i}" for i in rng.permutation(n)]
