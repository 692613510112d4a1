"""Texts: what a model of language has to beat on the same test rows: how often each answer is given, and the model before training."""

from typing import Any

import numpy as np

from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered
from omnitune.evaluation.baselines import constant
from omnitune.evaluation.before import sample
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 5000
"""Training texts whose words are counted."""


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks, which ask texts about themselves: answers on the test rows in the form of the task, and what they are of, by name of
    the rival."""
    test, seen = prepared.parts["test"], sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed)
    counted, asked = _answers(prepared, seen, tasks), _answers(prepared, test, tasks)
    found = {}
    for name in tasks:
        words = prepared.recipe.tasks[name].form == "tokens"
        usual = unigram(counted[name], asked[name]) if words else _shares(counted[name], len(test), prepared.schema.tasks[name])
        told = f"the share of each {'word' if words else 'answer'} in {len(seen):,} training rows"
        p = {"constant": usual, "before": as_it_is[name].p}
        found[name] = (
            {rival: answers[as_it_is[name].known] for rival, answers in p.items()}, {"constant": told, "before": "the model before training"}
        )  # fmt: skip
    return found


def unigram(counted: list[Array], asked: list[Array]) -> Array:
    """(n, 2): nats that the words of each of n rows cost by their shares in `counted`, one more counted of each, and how many are the most common."""
    size = 1 + max(int(row.max(initial=0)) for row in (*counted, *asked))
    counts = 1.0 + np.bincount(np.concatenate(counted), minlength=size)
    nats = -np.log(counts / counts.sum())
    return np.array([[nats[row].sum(), (row == counts.argmax()).sum()] for row in asked])


def _shares(counted: list[Array], n: int, facts: dict[str, Any]) -> Array:
    """(n, C): the share of each class."""
    return constant("classes", np.concatenate(counted), n, len(facts["classes"])) if any(map(len, counted)) else np.zeros((n, len(facts["classes"])))


def _answers(prepared: Prepared, rows: Array, tasks: list[str]) -> dict[str, list[Array]]:
    """What is right in each row (the words that are asked for, or the number of its class), in the order of `rows`."""
    found: dict[str, dict[int, Array]] = {name: {} for name in tasks}
    for question in prepared.batches("test", int(prepared.recipe.train.micro_batch), rows=rows).epoch():
        for name in tasks:
            target = question.asked[name][1]
            for row, right in zip(question.rows.tolist(), (target["labels"] if "labels" in target else target["y"][:, None]).numpy(), strict=True):
                found[name][row] = right[right >= 0].astype(np.int32)
    return {name: [by_row[row] for row in rows.tolist()] for name, by_row in found.items()}
