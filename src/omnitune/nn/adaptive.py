"""Adaptive input and softmax: frequent words get long vectors, rare ones short vectors, the same on both sides.

Words are numbered by frequency, the most frequent first, and cut into clusters. Input: Baevski and Auli 2019,
https://arxiv.org/abs/1809.10853. Softmax: Grave et al. 2017, https://arxiv.org/abs/1609.04309: the first softmax is over the words of the
first cluster and one stand-in for each other cluster; a second one, over a cluster's words, is made only for tokens that ask for one of them.

Shape letters: N tokens, D width, V words, E width of a cluster's vectors, C clusters behind the first.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, log_softmax

from omnitune.nn.clusters import check_clusters


class AdaptiveEmbedding(nn.Module):
    """Words as vectors of width D, a table for each cluster; without cutoffs one table of all.

    Args:
        words: V.
        width: D.
        cutoffs: the first word of each cluster behind the first, rising; none for one cluster.
        divisor: each cluster's vectors are so many times narrower than those of the cluster before; 1 keeps D.
    """

    def __init__(self, words: int, width: int, cutoffs: Sequence[int] = (), divisor: int = 1) -> None:
        super().__init__()
        check_clusters(words, width, cutoffs, divisor)
        self.edges = [0, *cutoffs, words]
        widths = [width // divisor**i for i in range(len(cutoffs) + 1)]
        # no ModuleList, among which `find_blocks` looks for the blocks of a model
        self.tables = nn.Sequential(*(nn.Embedding(high - low, E) for (low, high), E in zip(pairwise(self.edges), widths, strict=True)))
        self.projections = nn.Sequential(*(nn.Identity() if width == E else nn.Linear(E, width, bias=False) for E in widths))

    def forward(self, ids: Tensor) -> Tensor:
        """(..., D), from ids of any shape."""
        if len(self.tables) == 1:
            whole: Tensor = self.tables[0](ids)
            return whole
        flat_N, made, places = ids.flatten(), [], []
        cluster_N = self.cluster(flat_N)
        for i, low in enumerate(self.edges[:-1]):
            here = (cluster_N == i).nonzero()[:, 0]
            places.append(here)
            made.append(self.projections[i](self.tables[i](flat_N[here] - low)))
        x_ND = torch.cat(made)[torch.cat(places).argsort()]
        return x_ND.view(*ids.shape, x_ND.shape[-1])

    def cluster(self, ids: Tensor) -> Tensor:
        """The number of the cluster that each word lies in."""
        return torch.bucketize(ids.contiguous(), torch.tensor(self.edges[1:-1], device=ids.device), right=True)

    def scores(self, x_ND: Tensor, cluster: int) -> Tensor:
        """How well each word of a cluster goes with each token, (N, words), by the vectors that the words go in with."""
        table: Any = self.tables[cluster]
        return linear(self.narrowed(x_ND, cluster), table.weight)

    def narrowed(self, x_ND: Tensor, cluster: int) -> Tensor:
        """Tokens as wide as a cluster's vectors, (N, E)."""
        projection: Any = self.projections[cluster]
        return x_ND if isinstance(projection, nn.Identity) else x_ND @ projection.weight


class AdaptiveSoftmax(nn.Module):
    """The probability of each word, tied to the `AdaptiveEmbedding` that is handed in; of one cluster it is the plain softmax.

    Args:
        width: D.
        clusters: C.
    """

    def __init__(self, width: int, clusters: int) -> None:
        super().__init__()
        self.clusters = nn.Linear(width, clusters, bias=False) if clusters else None

    def losses(self, x_ND: Tensor, y_N: Tensor, words: AdaptiveEmbedding) -> Tensor:
        """-log of the probability of each token's word, (N,).

        Args:
            x_ND: the tokens.
            y_N: int64, the word asked of each.
            words: the vectors of all words.
        """
        edges = words.edges
        cluster_N = words.cluster(y_N)
        found_N = cross_entropy(self._first(x_ND, words), torch.where(cluster_N > 0, edges[1] + cluster_N - 1, y_N), reduction="none")
        for i in range(1, len(edges) - 1):
            here = (cluster_N == i).nonzero()[:, 0]
            if len(here):
                inside = cross_entropy(_whole(words.scores(x_ND[here], i)), y_N[here] - edges[i], reduction="none")
                found_N = found_N.index_add(0, here, inside)
        return found_N

    def log_probabilities(self, x_ND: Tensor, words: AdaptiveEmbedding) -> Tensor:
        """Of every word, (N, V): the largest tensor of a language model, for decoding a few tokens."""
        first, size = log_softmax(self._first(x_ND, words), -1), words.edges[1]
        rare = [first[:, size + i - 1, None] + log_softmax(_whole(words.scores(x_ND, i)), -1) for i in range(1, len(words.tables))]
        return torch.cat([first[:, :size], *rare], -1)

    @torch.no_grad()
    def likeliest(self, x_ND: Tensor, words: AdaptiveEmbedding) -> Tensor:
        """The likeliest word of all for each token, (N,). A cluster's words are scored only where the cluster is likelier than the best word so far,
        without which none of them can be."""
        first, size = log_softmax(self._first(x_ND, words), -1), words.edges[1]
        best_N, found_N = first[:, :size].max(1)
        for i in range(1, len(words.tables)):
            cluster_N = first[:, size + i - 1]
            here = (cluster_N > best_N).nonzero()[:, 0]
            if len(here):
                inside, word = log_softmax(_whole(words.scores(x_ND[here], i)), -1).max(1)
                inside = inside + cluster_N[here]
                better = inside > best_N[here]
                best_N[here[better]], found_N[here[better]] = inside[better], word[better] + words.edges[i]
        return found_N

    def _first(self, x_ND: Tensor, words: AdaptiveEmbedding) -> Tensor:
        """Scores of the words of the first cluster and of the other clusters, (N, words + C)."""
        scores = words.scores(x_ND, 0)
        return _whole(scores if self.clusters is None else torch.cat([scores, self.clusters(x_ND)], -1))


def _whole(scores: Tensor) -> Tensor:
    """In float32 at least: half precision loses what softmaxes over many words add up."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
