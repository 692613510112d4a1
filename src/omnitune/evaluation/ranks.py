"""Ranks: what a model that recommends has to beat on the same rows and candidates: what is popular, and linear models of a history's items.

Shape letters: n rows, S items of the longest history, C candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from omnitune.data.prepared import Prepared
from omnitune.evaluation.before import sample
from omnitune.nn.ranking import figures
from omnitune.tasks.rank import Rank

Array = np.ndarray[Any, Any]
MANY = 5_000
"""Candidates from which on a matrix of all pairs of them is left out."""
ROWS = 20_000
"""Training rows that simple models see at most."""
CHUNK = 512
PENALTIES = (50.0, 200.0, 1000.0)
"""Of the squared weights between items, among which validation chooses."""
BACKED = 5.0
"""Times an item must have been taken for what followed it to count as much as what is popular."""


@dataclass(frozen=True)
class Taken:
    """Of rows that can be measured, what was taken; places of candidates, -1 for none.

    Args:
        seen: the history, the newest last, padding behind it, (n, S).
        y: what came next, (n,).
        drawn: the candidates, where not all are, see `figures`.
    """

    seen: Array
    y: Array
    drawn: torch.Tensor | None

    def matrix(self, candidates: int, ends: bool = False) -> sp.csr_matrix:
        """Which candidates stand in each history, and with `ends` what came next too, (n, C) of 1 and 0."""
        whole = np.concatenate([self.seen, self.y[:, None]], 1) if ends else self.seen
        rows, _ = np.nonzero(whole >= 0)
        made = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, whole[whole >= 0])), shape=(len(whole), candidates))
        made.data[:] = 1
        return made

    def last(self) -> Array:
        """The newest candidate of each history, -1 where there is none, (n,)."""
        back = self.seen.shape[1] - 1 - (self.seen[:, ::-1] >= 0).argmax(1)
        found: Array = self.seen[np.arange(len(self.seen)), back]
        return found


Score = Callable[[Taken], Any]
"""From rows to (n, C) scores, dense or sparse."""


def rivals(prepared: Prepared, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    """Of a task what `figures` gives of the rivals on its test rows, and what they are."""
    task, facts = prepared.recipe.tasks[name], prepared.schema.tasks[name]
    assert isinstance(task, Rank)
    counts, few = np.array(facts["counts"], dtype=np.float64), sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed)
    parts = {part: _taken(prepared, name, task, rows) for part, rows in (prepared.parts | {"train": few}).items()}
    if not len(parts["test"].y) or not len(parts["train"].y):
        return {}, {}

    def found(part: str, score: Score) -> Array:
        return _found(parts[part], score, len(counts), task.seen == "exclude")

    p = {"constant": found("test", lambda taken: np.tile(counts, (len(taken.y), 1)))}
    words = {"constant": f"what is popular in the training rows, {_among(parts['test'], len(counts), task)}"}
    simple = _simple(parts["train"], counts) if task.of is not None else []
    if simple:
        judged = "validation" if len(parts["validation"].y) else "train"
        best = max(simple, key=lambda pair: found(judged, pair[0])[:, 0].mean()) if len(simple) > 1 else simple[0]
        p["simple"], words["simple"] = found("test", best[0]), f"{best[1]}, {len(parts['train'].y):,} training rows"
    return p, words


def _among(test: Taken, candidates: int, task: Rank) -> str:
    """Which candidates figures are of, in words."""
    without = ", without those of the history" if task.of is not None and task.seen == "exclude" else ""
    drawn = "" if test.drawn is None else f" {test.drawn.shape[1]:,} drawn at random of"
    return f"among{drawn} all {candidates:,} candidates{without}"


def _taken(prepared: Prepared, name: str, task: Rank, rows: Array) -> Taken:
    seen, y, drawn = [], [], []
    for question in prepared.batches("test", CHUNK, rows=rows).epoch() if len(rows) else ():
        batch, target = question.asked[name]
        there = (target["y"] >= 0).numpy()
        places = batch.inputs[task.of]["seen"].numpy() - 1 if task.of is not None else np.full((len(there), 1), -1)
        seen.append(np.maximum(places[there], -1))
        y.append(target["y"].numpy()[there])
        drawn += [target["drawn"][there]] if "drawn" in target else []
        numbers = question.rows[there]
        y[-1] = np.stack([numbers, y[-1]], 1)
    if not y:
        return Taken(np.full((0, 1), -1), np.zeros(0, np.int64), None)
    longest, both = max(one.shape[1] for one in seen), np.concatenate(y)
    order = np.argsort(both[:, 0], kind="stable")
    whole = np.concatenate([np.pad(one, ((0, 0), (0, longest - one.shape[1])), constant_values=-1) for one in seen])
    return Taken(whole[order], both[order, 1], torch.cat(drawn)[order] if drawn else None)


def _found(taken: Taken, score: Score, candidates: int, exclude: bool) -> Array:
    pieces = []
    for start in range(0, len(taken.y), CHUNK):
        here = slice(start, start + CHUNK)
        some = Taken(taken.seen[here], taken.y[here], None if taken.drawn is None else taken.drawn[here])
        scores = score(some)
        score_nC = torch.from_numpy(np.asarray(scores.todense() if sp.issparse(scores) else scores, dtype=np.float32).copy())
        if exclude:
            score_nC[torch.from_numpy(some.matrix(candidates).toarray() > 0)] = -torch.inf
        pieces.append(figures(score_nC, torch.from_numpy(some.y), some.drawn).numpy())
    return np.concatenate(pieces)


# Simple models


def _simple(train: Taken, counts: Array) -> list[tuple[Score, str]]:
    found = [_followed(train, counts)]
    if len(counts) <= MANY:
        x = train.matrix(len(counts), ends=True)
        products = (x.T @ x).toarray().astype(np.float64)
        found += [(_linear(products, penalty), f"a linear model between items (EASE, penalty {penalty:g})") for penalty in PENALTIES]
    return found


def _followed(train: Taken, counts: Array) -> tuple[Score, str]:
    """How often each candidate came behind the newest one, backed by what is popular."""
    whole = np.concatenate([train.seen, np.full((len(train.y), 1), -1)], 1)
    lengths = (train.seen >= 0).sum(1)
    whole[np.arange(len(whole)), lengths] = train.y
    first, then = whole[:, :-1].ravel(), whole[:, 1:].ravel()
    both = (first >= 0) & (then >= 0)
    pairs = sp.csr_matrix((np.ones(both.sum(), np.float32), (first[both], then[both])), shape=(len(counts), len(counts)))
    usual = BACKED * counts / counts.sum()

    def score(taken: Taken) -> Array:
        last = taken.last()
        return np.asarray(pairs[np.maximum(last, 0)].toarray() * (last >= 0)[:, None] + usual)

    return score, "what followed the newest item (Markov chain)"


def _linear(products: Array, penalty: float) -> Score:
    """EASE (Steck 2019, https://arxiv.org/abs/1905.03375): weights of all other items of a history, in closed form."""
    inverse = np.linalg.inv(products + penalty * np.eye(len(products)))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return lambda taken: taken.matrix(len(weights)) @ weights
