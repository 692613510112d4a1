"""Matrix factorisation by alternating least squares, in numpy: of ratings (what stars would it get?) and of what was taken (what is next?).

Shape letters: n ratings, U people, I items, K factors.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

Array = np.ndarray[Any, Any]
Predict = Callable[[Array, Array], Array]
"""From numbers of people and items (n,) to stars (n,)."""
Score = Callable[[sp.csr_matrix], Array]
"""From what people took (n, I) to scores of all items (n, I)."""
DAMPED = (5.0, 2.0)
"""Ratings of the mean that a person's and an item's own are mixed with."""
SPREAD = 0.1
"""Of factors at the start."""


def means(user_n: Array, item_n: Array, y_n: Array, users: int, items: int) -> Predict:
    """The mean of all, plus what an item and then a person differs from it, damped (Funk 2006)."""
    of_user, of_item = DAMPED
    mean = y_n.mean()
    item_I = np.bincount(item_n, y_n - mean, items) / (np.bincount(item_n, minlength=items) + of_item)
    user_U = np.bincount(user_n, y_n - mean - item_I[item_n], users) / (np.bincount(user_n, minlength=users) + of_user)
    return lambda user, item: np.clip(mean + user_U[user] + item_I[item], y_n.min(), y_n.max())


def ratings(
    user_n: Array, item_n: Array, y_n: Array, users: int, items: int, rank: int, penalty: float, rounds: int = 15, seed: int = 0
) -> Predict:  # fmt: skip
    """Mean, biases and a product of factors (Koren, Bell and Volinsky 2009); the penalty of a person or item grows with its ratings (Zhou et al.
    2008)."""
    rng, mean = np.random.default_rng(seed), y_n.mean()
    of_user, of_item = _groups(user_n, users), _groups(item_n, items)
    user_UK, item_IK = np.zeros((users, 1 + rank)), rng.normal(0, SPREAD, (items, 1 + rank))
    item_IK[:, 0] = 0  # the first column is the bias
    for _ in range(rounds):
        user_UK = _side(of_user, item_IK[item_n], y_n - mean, penalty)
        item_IK = _side(of_item, user_UK[user_n], y_n - mean, penalty)

    def predict(user: Array, item: Array) -> Array:
        said = mean + user_UK[user, 0] + item_IK[item, 0] + (user_UK[user, 1:] * item_IK[item, 1:]).sum(1)
        return np.clip(said, y_n.min(), y_n.max())

    return predict


def _groups(of_n: Array, groups: int) -> list[Array]:
    """The places of each group."""
    order = np.argsort(of_n, kind="stable")
    return np.split(order, np.cumsum(np.bincount(of_n, minlength=groups))[:-1])


def _side(groups: list[Array], other_nK: Array, y_n: Array, penalty: float) -> Array:
    """Bias and factors of every person or item, those of the others given; of one without ratings zeros."""
    x_nK = np.concatenate([np.ones((len(other_nK), 1)), other_nK[:, 1:]], 1)
    left_n, width = y_n - other_nK[:, 0], x_nK.shape[1]
    found = np.zeros((len(groups), width))
    for i, rows in enumerate(groups):
        if len(rows):
            x = x_nK[rows]
            found[i] = np.linalg.solve(x.T @ x + penalty * len(rows) * np.eye(width), x.T @ left_n[rows])
    return found


def taken(taken_UI: sp.csr_matrix, rank: int, penalty: float, weight: float, rounds: int = 10, seed: int = 0) -> Score:
    """Factors of what was taken or not, what was taken weighing `weight` more (Hu, Koren and Volinsky 2008). The factors of other people are solved
    for, those of items stay."""
    item_IK = np.random.default_rng(seed).normal(0, SPREAD, (taken_UI.shape[1], rank))
    taken_IU = taken_UI.T.tocsr()
    for _ in range(rounds):
        item_IK = _weighed(taken_IU, _weighed(taken_UI, item_IK, penalty, weight), penalty, weight)
    return lambda other: _weighed(other, item_IK, penalty, weight) @ item_IK.T


def _weighed(taken_UI: sp.csr_matrix, item_IK: Array, penalty: float, weight: float) -> Array:
    gram_KK = item_IK.T @ item_IK + penalty * np.eye(item_IK.shape[1])
    found = np.zeros((taken_UI.shape[0], item_IK.shape[1]))
    for i in range(len(found)):
        x = item_IK[taken_UI.indices[taken_UI.indptr[i] : taken_UI.indptr[i + 1]]]
        found[i] = np.linalg.solve(gram_KK + weight * x.T @ x, (1 + weight) * x.sum(0))
    return found
