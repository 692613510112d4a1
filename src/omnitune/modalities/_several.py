"""Several: a cell that holds a list of values of one kind, each read by itself; what is said of one value is said of all.

Shape letters: B rows, N values of all rows, M values of the row that has most.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from omnitune.modalities import Facts
from omnitune.nn import values as cells

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


FIX = "Where a cell may hold several, set `most` to how many are read"


class One(Protocol):
    """A kind of input that reads one value a cell."""

    def check(self, value: Any) -> str | None: ...

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]: ...

    def size(self, value: Any) -> int: ...


class Items(Sequence[Any]):
    """The values in the cells of a column, one after the other; as long as the column, for whoever takes a share of it.

    Args:
        cells: of the column.
        most: values that are read of a cell.
    """

    def __init__(self, cells: Sequence[Any], most: int) -> None:
        self.cells, self.most = cells, most

    def __len__(self) -> int:
        return len(self.cells)

    def __getitem__(self, index: Any) -> Any:
        return list(self)[index]

    def __iter__(self) -> Iterator[Any]:
        return (item for cell in self.cells for item in items(cell, self.most))


def items(cell: Any, most: int) -> list[Any]:
    """The first `most` values of a cell (a list, a text that writes one in JSON, or a single value), missing ones left out."""
    listed = cells.listed(cell)
    return [value for value in ([cell] if listed is None else listed) if value is not None][:most]


def check(one: One, cell: Any, most: int) -> str | None:
    """What is wrong with the first wrong value that is read."""
    problems = ((place, one.check(value)) for place, value in enumerate(items(cell, most), 1))
    return next((f"value {place}: {problem}" for place, problem in problems if problem), None)


def size(one: One, cell: Any, most: int) -> int:
    """The sum over what is read."""
    return sum(map(one.size, items(cell, most)))


def encode(one: One, values: Sequence[Any], most: int, facts: Facts, rng: np.random.Generator | None) -> dict[str, Tensor]:
    """As `one` encodes all values at once, each tensor (B, M, ...) with zeros where there is no value, and `several` (B, M): where there is one.

    A cell without any has one that is missing, and is not `present` (B,).
    """
    from omnitune.nn.several import laid

    rows = [items(cell, most) or [None] for cell in values]
    return laid(one.encode([value for row in rows for value in row], facts, rng), [len(row) for row in rows])


def outline(made: Callable[[Iterable[Any]], np.ndarray[Any, Any]], values: Iterable[Any], most: int) -> np.ndarray[Any, Any]:
    """Plain numbers of each cell, (n, k): the mean over its values."""
    import numpy as np

    rows = [items(cell, most) or [None] for cell in values]
    found = made([value for row in rows for value in row])
    ends = np.cumsum([0, *map(len, rows)])
    return np.array([found[start:stop].mean(0) for start, stop in pairwise(ends)]).reshape(-1, found.shape[1])
