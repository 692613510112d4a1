"""Texts: what a language model has to beat on the same test rows: how often each word is used, and the model before training."""

from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import answer
from omnitune.evaluation.before import sample
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 5000
"""Training texts whose words are counted."""


def rivals(model: Model, prepared: Prepared, tasks: list[str]) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the answers on the test rows, (n, 2) as `token_metrics` wants them, and what they are of, by name of the rival."""
    test, train = prepared.parts["test"], prepared.recipe.train
    if not tasks or not len(test):
        return {name: ({}, {}) for name in tasks}
    as_it_is = answer(model, prepared.batches("test", int(train.micro_batch)), train.precision)
    seen = sample(prepared.parts["train"], ROWS, train.seed)
    counted, asked = _labels(prepared, seen, tasks), _labels(prepared, test, tasks)
    found = {}
    for name in tasks:
        p = {"constant": unigram(counted[name], asked[name]), "before": as_it_is[name].p}
        words = {"constant": f"the share of each word in {len(seen):,} training rows", "before": "the model before training"}
        found[name] = ({rival: answers[as_it_is[name].known] for rival, answers in p.items()}, words)
    return found


def unigram(counted: list[Array], asked: list[Array]) -> Array:
    """(n, 2): nats that the words of each of n rows cost by their shares in `counted`, one more counted of each, and how many are the most common."""
    size = 1 + max(int(row.max(initial=0)) for row in (*counted, *asked))
    counts = 1.0 + np.bincount(np.concatenate(counted), minlength=size)
    nats = -np.log(counts / counts.sum())
    return np.array([[nats[row].sum(), (row == counts.argmax()).sum()] for row in asked])


def _labels(prepared: Prepared, rows: Array, tasks: list[str]) -> dict[str, list[Array]]:
    """The words that are asked for in each row, in the order of `rows`."""
    found: dict[str, dict[int, Array]] = {name: {} for name in tasks}
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch():
        for name in tasks:
            for row, labels in zip(question.rows.tolist(), question.asked[name][1]["labels"].numpy(), strict=True):
                found[name][row] = labels[labels >= 0].astype(np.int32)
    return {name: [by_row[row] for row in rows.tolist()] for name, by_row in found.items()}
