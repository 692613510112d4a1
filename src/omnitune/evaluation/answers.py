"""Answers: what a model says about rows, beside what is true, in the order of the rows."""

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from omnitune.data.batches import Batches
from omnitune.data.held import Held
from omnitune.nn.heads import Head
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Answers:
    """Of one task on some rows.

    Args:
        rows: row numbers, (n,).
        y: true answers, first dimension n.
        known: which rows have an answer, (n,) bool.
        p: predictions, first dimension n.
        loss: mean loss over the rows that have an answer; NaN where none has.
    """

    rows: Array
    y: Array
    known: Array
    p: Array
    loss: float


@torch.inference_mode()
def answer(model: Model, batches: Batches | Held, precision: str, remembers: bool = True) -> dict[str, Answers]:
    """The answers of every task; `batches` are unshuffled. No graph is built. Without `remembers` no piece of a text is told of those before."""
    model.eval()
    with model.apart(remembers):
        rows, found = _answers(model, batches, precision)
    order = places(np.concatenate(rows), batches.rows)
    ordered = {task: _ordered(batches.rows, order, {k: np.concatenate(v) for k, v in pieces.items()}) for task, pieces in found.items()}
    return {task: _together(model.head(task), answers) for task, answers in ordered.items()}


def _answers(model: Model, batches: Batches | Held, precision: str) -> tuple[list[Array], dict[str, dict[str, list[Any]]]]:
    """The rows of each batch, and what there is of each task, in pieces."""
    rows: list[Array] = []
    found: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for question in batches.epoch():
        rows.append(question.rows)
        with autocast(model.device, precision):
            answers = model.answers(question.to(model.device))
        for task, (p, loss) in answers.items():
            target = question.asked[task][1]
            pieces = {"p": p.float(), "y": target["y"], "weight": target["weight"], "sum": loss.sum[None], "count": loss.count[None]}
            for name, piece in pieces.items():
                found[task][name].append(piece.cpu().numpy())
    return rows, found


def places(rows: Array, wanted: Array) -> Array:
    """Where in `rows` each of `wanted` stands; both hold the same different numbers."""
    sorter = np.argsort(rows, kind="stable")
    return sorter[np.searchsorted(rows, wanted, sorter=sorter)]


def _ordered(rows: Array, order: Array, found: dict[str, Array]) -> Answers:
    count = found["count"].sum()
    loss = float(found["sum"].sum() / count) if count else float("nan")
    y, weight = found["y"][order], found["weight"][order]
    return Answers(rows, y, known(y, weight), found["p"][order], loss)


def _together(head: Head, answers: Answers) -> Answers:
    y, p = head.together(answers.y, answers.p, answers.known)
    return replace(answers, y=y, p=p)


def known(y: Array, weight: Array) -> Array:
    """Rows that can be measured, (n,) bool: they weigh something, and of several labels (n, K) each is known."""
    return (weight > 0) & ((y >= 0).all(1) if y.ndim == 2 else True)
