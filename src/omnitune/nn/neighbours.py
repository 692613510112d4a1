"""Neighbours: how many of the rows nearest to a row have its label.

Shape letters: n rows, m of them that are compared with each other, R other rows with the row's label.
"""

from typing import Any

import numpy as np

from omnitune.nn.metrics import Metric

Array = np.ndarray[Any, Any]
MOST = 2000
"""Rows that are compared with each other: more are dealt out to equal groups."""
DIGITS = 5
"""Of a cosine, so that vectors that are the same tie, whatever order a product was summed in."""


def neighbour_metrics() -> dict[str, Metric]:
    """For y (n, 1), R of each row, and p (n, 3), see `found`; rows without another of their label are left out.

    `map@r`: the mean precision at the places of right ones among the R nearest, the share of these that are right being `r_precision` (Musgrave et
    al. 2020, https://arxiv.org/abs/2003.08505). `nearest`: how often the nearest row has the label.
    """
    return {"map@r": Metric(_mean(2)), "r_precision": Metric(_mean(1)), "nearest": Metric(_mean(0))}


def _mean(column: int) -> Any:
    def compute(y_n1: Array, p_n3: Array) -> float:
        there_n = y_n1[:, 0] > 0
        return float(p_n3[there_n, column].mean()) if there_n.any() else float("nan")

    return compute


def found(y_n: Array, x_nP: Array, known_n: Array) -> tuple[Array, Array]:
    """How the nearest rows are labelled.

    Args:
        y_n: labels.
        x_nP: vectors of length 1.
        known_n: which rows have a label and a value.

    Returns:
        (n, 1), R; and (n, 3): whether the nearest row has the label, the share of the R nearest that have it, and the average precision over these.
        Zeros where it is not known. Of rows as near as each other those further up come first.
    """
    right, places = np.zeros((len(y_n), 1)), np.zeros((len(y_n), 3))
    rows = np.flatnonzero(known_n)
    groups = max(1, -(-len(rows) // MOST))
    for group in (rows[start::groups] for start in range(groups)):
        score_mm = np.round(x_nP[group] @ x_nP[group].T, DIGITS)
        np.fill_diagonal(score_mm, -np.inf)
        hits_mm = y_n[group][np.argsort(-score_mm, axis=1, kind="stable")[:, :-1]] == y_n[group, None]
        r_m = hits_mm.sum(1)
        among_mm = hits_mm & (np.arange(hits_mm.shape[1]) < r_m[:, None])
        precision_mm = np.cumsum(hits_mm, 1) / np.arange(1, hits_mm.shape[1] + 1)
        right[group, 0] = r_m
        nearest_m = hits_mm[:, 0] if hits_mm.shape[1] else np.zeros(len(group))
        places[group] = np.stack([nearest_m, *(x.sum(1) / np.maximum(r_m, 1) for x in (among_mm, among_mm * precision_mm))], 1)
    return right, places


def chance(right_n1: Array, others: int) -> Array:
    """What `found` gives of a model that says nothing, (n, 3), where each row has so many others: the mean over all orders."""
    made = np.zeros((len(right_n1), 3))
    for i, r in enumerate(right_n1[:, 0].astype(int).tolist()):
        at = np.arange(1, r + 1)
        share = r / max(others, 1)
        made[i] = share, share, (share * (1 + (at - 1) * (r - 1) / max(others - 1, 1)) / at).mean() if r else 0.0
    return made
