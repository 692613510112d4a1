"""Answers: what a model says about rows, beside what is true, in the order of the rows."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from omnitune.data.batches import Batches, Question
from omnitune.data.held import Held
from omnitune.nn.heads import Head
from omnitune.nn.tokens import Loss
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
Pieces = dict[str, Tensor]
K = TypeVar("K", bound=Hashable)
SUMS = ("sum", "count")
"""What a batch has one of; of all else there is one a row."""


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


Answered = Mapping[str, Answers]
"""By task."""


@torch.inference_mode()
def answer(model: Model, batches: Batches | Held, precision: str, remembers: bool = True) -> dict[str, Answers]:
    """The answers of every task; `batches` are unshuffled. No graph is built. Without `remembers` no piece of a text is told of those before."""
    model.eval()
    with model.apart(remembers):
        found = gather(batches, lambda question: of_question(question, model.answers(question)), model.device, precision)
    return {task: together(model.head(task), pieces) for task, pieces in found.items()}


def gather(batches: Batches | Held, ask: Callable[[Question], Mapping[K, Pieces]], device: torch.device, precision: str) -> dict[K, dict[str, Array]]:
    """What `ask` says of every batch, joined, rows in the order of `batches.rows`; of `SUMS` one entry a batch. `rows` are those that it said
    something of: not all are asked everything where there are several tables."""
    rows: dict[K, list[Array]] = defaultdict(list)
    found: dict[K, dict[str, list[Array]]] = defaultdict(lambda: defaultdict(list))
    for question in batches.epoch():
        with autocast(device, precision):
            asked = ask(question.to(device))
        for key, pieces in asked.items():
            rows[key].append(question.rows)
            for name, piece in pieces.items():
                found[key][name].append(piece.cpu().numpy())
    return {key: _joined(pieces, np.concatenate(rows[key]), batches.rows) for key, pieces in found.items()}


def _joined(pieces: Mapping[str, list[Array]], rows: Array, every: Array) -> dict[str, Array]:
    wanted = every if len(rows) == len(every) else every[np.isin(every, rows)]
    order, joined = places(rows, wanted), {name: np.concatenate(parts) for name, parts in pieces.items()}
    return {name: whole if name in SUMS else whole[order] for name, whole in joined.items()} | {"rows": wanted}


def of_question(question: Question, answers: Mapping[str, tuple[Tensor, Loss]]) -> dict[str, Pieces]:
    """What `together` needs, by task."""
    found = {}
    for task, (p, loss) in answers.items():
        target = question.asked[task][1]
        found[task] = {"p": p.float(), "y": target["y"], "weight": target["weight"], "sum": loss.sum[None], "count": loss.count[None]}
    return found


def together(head: Head, found: Mapping[str, Array]) -> Answers:
    """Answers, from the pieces of all batches."""
    count = found["count"].sum()
    loss = float(found["sum"].sum() / count) if count else float("nan")
    there = known(found["y"], found["weight"])
    y, p = head.together(found["y"], found["p"], there)
    return Answers(found["rows"], y, there, p, loss)


def places(rows: Array, wanted: Array) -> Array:
    """Where in `rows` each of `wanted` stands; both hold the same different numbers."""
    sorter = np.argsort(rows, kind="stable")
    return sorter[np.searchsorted(rows, wanted, sorter=sorter)]


def known(y: Array, weight: Array) -> Array:
    """Rows that can be measured, (n,) bool: they weigh something, and of several labels (n, K) each is known."""
    return (weight > 0) & ((y >= 0).all(1) if y.ndim == 2 else True)
