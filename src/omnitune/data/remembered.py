"""Remembered: what was read of a value (the tokens of a text) stays in memory, so that later epochs do not read it again."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from omnitune.modalities import Modality

Rows = np.ndarray[Any, np.dtype[np.int64]]
MOST = 2**25
"""Tokens that are remembered of an input: some 16 bytes each with the text that they stand for, half a gigabyte in all."""


class Remembered:
    """The values of one input as `encode` takes them quickest.

    Args:
        modality: reads values, see `Modality.read`.
        facts: what it learned.
        take: gives the values of rows of the source.
        most: what is remembered, in the units of `Modality.size`; rows beyond it are read anew each time.
    """

    def __init__(self, modality: Modality, facts: dict[str, Any], take: Callable[[Rows], Sequence[Any]], most: int = MOST) -> None:
        self.modality, self.facts, self.take = modality, facts, take
        self.left, self.kept = most, dict[int, Any]()

    def __call__(self, rows: Rows) -> list[Any]:
        """What `encode` takes of these rows of the source."""
        found = {row: self.kept[row] for row in rows.tolist() if row in self.kept}
        if lacks := [row for row in dict.fromkeys(rows.tolist()) if row not in found]:
            read = self.modality.read(self.take(np.array(lacks))[:], self.facts)
            for row, value in zip(lacks, read, strict=True):
                found[row] = value
                size = 0 if value is None else self.modality.size(value)
                if size <= self.left:
                    self.left, self.kept[row] = self.left - size, value
        return [found[row] for row in rows.tolist()]
