"""Ranking: where the item that was taken stands among all others, in numbers that are counted once and then only averaged.

Shape letters: B or n rows, C candidates, S some of them, K of the first ones that are kept.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.nn.rank_metrics import FIRST, WIDER
from omnitune.nn.retrieval import expected

Array = np.ndarray[Any, Any]


def figures(score_BC: Tensor, y_B: Tensor, drawn_BS: Tensor | None = None) -> Tensor:
    """Of each row nDCG@10, hit rate@10, hit rate@50 and one over the rank of the right item, then the items of the first ten places, -1 where there
    are fewer; (B, FIGURES + FIRST) float32.

    With one right item nDCG@10 is one over the base-2 logarithm of 1 + its rank (Järvelin and Kekäläinen 2002). Candidates that tie with it
    stand before it or behind it with equal chance, so that a model that says nothing is told to.

    Args:
        score_BC: minus infinity for what is no candidate of a row; a right item that is none is not found.
        y_B: the right items; negative where there is none, which gives zeros.
        drawn_BS: the candidates beside the right one, where not all are; their places, negative for none.
    """
    own_B1 = score_BC.gather(1, y_B.clamp(min=0)[:, None])
    others_BS = score_BC if drawn_BS is None else score_BC.gather(1, drawn_BS.clamp(min=0))
    real_BS = torch.isfinite(others_BS) if drawn_BS is None else torch.isfinite(others_BS) & (drawn_BS >= 0) & (drawn_BS != y_B[:, None])
    above_B = ((others_BS > own_B1) & real_BS).sum(1)
    beside_B = ((others_BS == own_B1) & real_BS).sum(1) - (1 if drawn_BS is None else 0)
    found_B = (y_B >= 0) & torch.isfinite(own_B1[:, 0])
    standing = _standing(above_B.cpu().numpy(), beside_B.clamp(min=0).cpu().numpy()) * found_B.cpu().numpy()[:, None]
    top_BK, _ = first(score_BC, FIRST)
    return torch.cat([torch.from_numpy(standing).to(top_BK.device, torch.float32), top_BK.float()], 1)


def first(score_BC: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The best items and their scores, (B, most) each; -1 and minus infinity where a row has fewer."""
    k = min(most, score_BC.shape[1])
    best_BK, places_BK = score_BC.topk(k, 1)
    places_BK = torch.where(torch.isfinite(best_BK), places_BK, -1)
    lacks = (0, most - k)
    return torch.nn.functional.pad(places_BK, lacks, value=-1), torch.nn.functional.pad(best_BK, lacks, value=-torch.inf)


def _standing(above_n: Array, beside_n: Array) -> Array:
    """nDCG@10, hit rates and one over the rank, means over the places of ties, (n, FIGURES)."""
    ties = beside_n + 1
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, FIRST + 2)))])
    low, high = np.minimum(above_n, FIRST), np.minimum(above_n + ties, FIRST)
    hits = [np.clip((k - above_n) / ties, 0, 1) for k in (FIRST, WIDER)]
    return np.stack([(gains[high] - gains[low]) / ties, *hits, expected(above_n, beside_n)[:, 2]], 1)
