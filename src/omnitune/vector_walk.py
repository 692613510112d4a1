"""Vector walk: approximate search along the links of a graph of different vectors, and what it finds.

Shape letters: n rows, q queries, P width, k found.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omnitune.approximation import ASKED, NEAREST, Approximation, chosen
from omnitune.errors import Mistake
from omnitune.vector_copies import Copies
from omnitune.vector_graph import BUILDING, LINKS, Graph, named
from omnitune.vector_search import Array, Blocks, best, nearest

GRAPH, COPIES = "graph.voyager", "copies.safetensors"
"""Files of an index."""


@dataclass(frozen=True)
class Walk:
    """Searches a graph.

    Args:
        graph: of vectors that differ, under the first of the rows that have each.
        copies: the other rows.
    """

    graph: Graph
    copies: Copies

    @classmethod
    def made(cls, vectors: Callable[[], Blocks], rows: int, width: int, never: Collection[int]) -> tuple["Walk", Approximation]:
        """A graph of vectors, and what is found for some of them, asked before they are in it: a search for a vector that is a part of the graph ends
        at its own links, and finds more than one for any other.

        Args:
            vectors: gives them, block by block, as often as it is called.
            rows: n.
            width: P.
            never: rows that have no vector.

        Raises:
            Mistake: too few vectors differ, or the library is missing.
        """
        walk = cls(Graph.empty(width, rows), Copies.of(vectors(), never))
        rows_n = walk.copies.among(np.setdiff1d(np.arange(rows), list(never)))
        asked_q = np.sort(np.random.default_rng(0).permutation(rows_n)[: min(ASKED, len(rows_n) // 4)])
        if len(rows_n) - len(asked_q) < NEAREST or len(asked_q) < 2:
            raise Mistake("--approximate", f"{len(rows_n)} different vectors are too few for it", "Leave it out")
        walk._add(vectors(), np.setdiff1d(rows_n, asked_q))
        queries_qP = np.concatenate([block_nP[_inside(asked_q, start, block_nP) - start] for start, block_nP in vectors()])
        exact_qk, _ = nearest(queries_qP, vectors(), {*never, *walk.copies.rows(asked_q).tolist()}, NEAREST)
        looked, recall, queries = chosen(lambda looked: walk.search(queries_qP, NEAREST, looked)[0], exact_qk)
        walk._add(vectors(), asked_q)
        return walk, Approximation(named(), LINKS, BUILDING, looked, recall, NEAREST, queries)

    @classmethod
    def read(cls, folder: Path) -> "Walk":
        """From what `save` wrote. Raises `Mistake` where the library is missing."""
        return cls(Graph.read(folder / GRAPH), Copies.read(folder / COPIES))

    def save(self, folder: Path) -> None:
        """Two files."""
        self.graph.save(folder / GRAPH)
        self.copies.save(folder / COPIES)

    def search(self, queries_qP: Array, k: int, looked: int, but_q: Array | None = None) -> tuple[Array, Array]:
        """See `vector_search.nearest` and `Graph.search`."""
        wanted = k + (but_q is not None)
        return best(*self.copies.all_of(*self.graph.search(queries_qP, wanted, looked), wanted), k, but_q)

    def _add(self, blocks: Blocks, rows_n: Array) -> None:
        for start, block_nP in blocks:
            here = _inside(rows_n, start, block_nP)
            self.graph.add(block_nP[here - start], here)


def _inside(rows: Array, start: int, block_nP: Array) -> Array:
    """Those that a block holds."""
    return rows[(rows >= start) & (rows < start + len(block_nP))]
