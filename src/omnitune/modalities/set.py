"""set: any number of names, in no order, such as tags or ingredients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.modalities import Facts, Modality
from omnitune.nn import values as cells

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

OTHER, NOTHING = 0, 1
"""The places of every member without a vector of its own, and of an empty set."""


@component
class Set(Modality):
    """Names that a row has any number of, read as the sum of a learned vector each; their order says nothing. A cell is a list (`["red", "round"]`)
    or a text: in JSON (`["red", "round"]`), or with a separator (`red|round`).

    Members that are rare in training share one vector, and so do new ones in prediction. None and an empty text are missing; an empty list is a
    set of nothing, which has a vector too. A member keeps one name whatever file it came from, and counts once.

    Args:
        width: of its token.
        separator: between the members of a text; spaces around a member do not matter.
        max_categories: the most frequent members get vectors of their own.
        min_count: training rows a member needs for that.
        max_members: read of a set, the most frequent first; the share of sets with more is reported.
        hide: share of members that training reads as unknown, so that their vector is learned even where none is rare.
    """

    lists: ClassVar[bool] = True
    of_texts: ClassVar[bool] = True
    plain: ClassVar[Literal["text"]] = "text"

    width: Annotated[int, Field(ge=1)] = 64
    separator: Annotated[str, Field(min_length=1)] = "|"
    max_categories: Annotated[int, Field(ge=1)] = 10_000
    min_count: Annotated[int, Field(ge=1)] = 2
    max_members: Annotated[int, Field(ge=1)] = 64
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.01

    @property
    def augments(self) -> bool:
        """Where members are hidden."""
        return self.hide > 0

    def check(self, value: Any) -> str | None:
        """Numbers, bytes, and lists of what is no name are refused."""
        return None if cells.nan(value) else cells.no_members(value, "member")

    def learn(self, values: Sequence[Any]) -> Facts:
        """`categories`: the names of members, the most frequent first, like ones by alphabet; `cut`: the share of sets that are read in part.

        Raises:
            Mistake: texts hold another usual separator than the one that is set.
        """
        if wrong := cells.foreign_separator((value for value in values if not _missing(value)), self.separator):
            raise Mistake("separator", *wrong)
        counts, rows, cut = Counter[str](), 0, 0
        for value in values:
            if not _missing(value):
                names = cells.members(value, self.separator)
                counts.update(list(names))
                rows, cut = rows + 1, cut + (len(names) > self.max_members)
        ordered = sorted(counts, key=lambda name: (-counts[name], name))
        kept = [name for name in ordered if counts[name] >= self.min_count][: self.max_categories]
        return {"categories": kept, "cut": cut / rows if rows else 0.0}

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`places` (B, L) int64: 2 + the place in `facts["categories"]`, 0 for unknown and rare members, 1 alone where there is none; `real` (B, L),
        which are members."""
        import torch

        known = cells.places(facts["categories"])
        rows = [[] if _missing(value) else self._places(value, known) for value in values]
        places = torch.full((len(rows), max([1, *map(len, rows)])), NOTHING, dtype=torch.int64)
        real = torch.zeros(places.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            places[i, : len(row)] = torch.tensor(row, dtype=torch.int64)
            real[i, : len(row)] = True
        if rng is not None:
            hidden = torch.from_numpy(rng.random(places.shape) < self.hide)
            places[hidden & (places != NOTHING)] = OTHER
        return {"places": places, "real": real, "present": real.any(1)}

    def _places(self, value: Any, known: dict[str, int]) -> list[int]:
        """Of a set that is there, the most frequent members first."""
        found = [known[name] + NOTHING + 1 if name in known else OTHER for name in cells.members(value, self.separator)]
        return sorted(found, key=lambda place: (place == OTHER, place))[: self.max_members] or [NOTHING]

    def size(self, value: Any) -> int:
        """One token."""
        return 1

    def encoder(self, facts: Facts) -> nn.Module:
        """A `SetEncoder`."""
        from omnitune.nn.tabular import SetEncoder

        return SetEncoder(NOTHING + 1 + len(facts["categories"]), self.width)

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Lists of names with a number, one of which is there twice."""
        return [[f"tag {i}", f"tag {i % 7}", "common"] for i in rng.permutation(n).tolist()]


def _missing(value: Any) -> bool:
    """None, NaN and an empty text; an empty list is a set of nothing."""
    return not isinstance(value, (list, tuple)) and cells.missing(value)
