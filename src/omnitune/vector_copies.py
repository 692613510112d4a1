"""Vector copies: rows with the same vector, which stand in a graph once, since links among equal vectors lead nowhere else (docs/log.md).

Shape letters: n rows, q queries, k found.
"""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from omnitune.vector_search import DIGITS, Array, Blocks


@dataclass(frozen=True)
class Copies:
    """Which rows have the same vector.

    Args:
        first_n: of each row the first one that has its vector, itself where it is that.
    """

    first_n: Array

    @classmethod
    def of(cls, blocks: Blocks, never: Collection[int]) -> "Copies":
        """Vectors that are the same when rounded; those of rows that have none, `never`, are no copies."""
        seen: dict[bytes, int] = {}
        first: list[int] = []
        for start, block_nP in blocks:
            for row, vector_P in enumerate(np.round(block_nP, DIGITS) + 0.0, start):  # + 0.0: of two zeros none is negative
                first.append(row if row in never else seen.setdefault(blake2b(vector_P.tobytes(), digest_size=16).digest(), row))
        return cls(np.array(first, np.int64))

    @classmethod
    def read(cls, path: Path) -> "Copies":
        """From what `save` wrote."""
        return cls(load_file(path)["first"])

    def save(self, path: Path) -> None:
        """`first` (n,) int64 as safetensors."""
        save_file({"first": self.first_n}, path)

    def among(self, rows: Array) -> Array:
        """Those that are the first with their vector."""
        found: Array = rows[self.first_n[rows] == rows]
        return found

    def rows(self, first: Array) -> Array:
        """All rows that have the vectors of some first ones."""
        found: Array = np.flatnonzero(np.isin(self.first_n, first))
        return found

    def all_of(self, scores: Array, rows: Array, most: int) -> tuple[Array, Array]:
        """What was found, (q, k), with the copies of each row, `most` of them in the order of the table; -inf and -1 behind the last one."""
        order_n, starts = self._groups
        sizes = np.minimum(starts[rows + 1] - starts[rows], most)
        if not rows.size or sizes.max() == 1:
            return scores, rows
        wide = (len(rows), int(sizes.sum(1).max()))
        all_scores, all_rows = np.full(wide, -np.inf, scores.dtype), np.full(wide, -1, np.int64)
        for query, (score_k, row_k, size_k) in enumerate(zip(scores, rows, sizes, strict=True)):
            found = np.concatenate([order_n[starts[row] : starts[row] + size] for row, size in zip(row_k, size_k, strict=True)])
            all_rows[query, : len(found)], all_scores[query, : len(found)] = found, np.repeat(score_k, size_k)
        return all_scores, all_rows

    @cached_property
    def _groups(self) -> tuple[Array, Array]:
        """Rows, first those with the vector of row 0, then of row 1 and so on, and where each of these begins."""
        return np.argsort(self.first_n, kind="stable"), np.searchsorted(np.sort(self.first_n), np.arange(len(self.first_n) + 1))
