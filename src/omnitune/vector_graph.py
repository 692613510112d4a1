"""Vector graph: each vector is linked with some near ones, and a search walks along the links towards a query instead of looking at all (HNSW, Malkov
and Yashunin 2018, https://arxiv.org/abs/1603.09320), by the library voyager, which is an extra.

Shape letters: n rows, q queries, P width, k found.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]
LINKS = 16
"""Of a vector; twice as many on the ground floor (M of the paper, which advises 5 to 48)."""
BUILDING = 100
"""Vectors that are weighed as neighbours of one that is added (efConstruction); 200 take twice the time and found no more (docs/log.md)."""


class Graph:
    """Vectors of rows with their links, in memory.

    Args:
        index: of voyager.
    """

    def __init__(self, index: Any) -> None:
        self.index = index

    @classmethod
    def empty(cls, width: int, rows: int) -> "Graph":
        """For so many rows."""
        voyager = library()
        return cls(voyager.Index(voyager.Space.Cosine, num_dimensions=width, M=LINKS, ef_construction=BUILDING, max_elements=max(1, rows)))

    @classmethod
    def read(cls, path: Path) -> "Graph":
        """From what `save` wrote. Raises `Mistake` where the library is missing."""
        return cls(library().Index.load(str(path)))

    def save(self, path: Path) -> None:
        """One file, in the format of the library: vectors and links, no code."""
        self.index.save(str(path))

    def add(self, vectors_nP: Array, rows_n: Array) -> None:
        """Vectors of length 1, under the numbers of their rows. With several threads two graphs of the same vectors differ a little."""
        if len(rows_n):
            self.index.add_items(vectors_nP, rows_n.tolist(), num_threads=_threads())

    def search(self, queries_qP: Array, k: int, looked: int) -> tuple[Array, Array]:
        """Cosines and row numbers, (q, k) each, best first; fewer columns where there are fewer rows.

        Args:
            queries_qP: vectors of length 1.
            k: how many.
            looked: vectors that a walk keeps in view (ef), at least k.

        Raises:
            Mistake: the walk ends before k rows are found.
        """
        k = min(k, len(self.index))
        if not k or not len(queries_qP):
            return np.zeros((len(queries_qP), k), np.float32), np.zeros((len(queries_qP), k), np.int64)
        try:
            rows, distances = self.index.query(queries_qP, k=k, num_threads=_threads(), query_ef=max(looked, k))
        except library().RecallError as error:
            raise Mistake("retrieve", f"approximate search does not reach {k:,} rows here", "Ask for fewer, or with --exact") from error
        return 1 - distances, rows.astype(np.int64)


def library() -> Any:
    """voyager. Raises `Mistake` where it is not installed."""
    try:
        import voyager
    except ImportError:
        fix = "pip install 'omnitune[approximate]', or search exactly"
        raise Mistake("voyager", "is not installed, and approximate search needs it", fix) from None
    return voyager


def named() -> str:
    """The library with its version."""
    return f"voyager {version('voyager')}"


def _threads() -> int:
    import torch

    return torch.get_num_threads()
