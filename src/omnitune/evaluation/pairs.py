"""Pairs: what a model that says which values belong together has to beat on the same candidates: chance, shared words, and itself before training."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered, places
from omnitune.evaluation.before import ROWS, sample
from omnitune.evaluation.columns import unspaced, word
from omnitune.nn.pairs import PairHead
from omnitune.nn.retrieval import chance, found
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Of the squared weights of a linear map, among which validation chooses."""
TEXTS = 20_000
"""Training rows whose words are counted."""


@dataclass(frozen=True)
class Vectors:
    """Of both inputs of a task, of rows that have both.

    Args:
        rows: their numbers, (n,).
        same: see `found`.
        pooled: as the encoders make them, (n, D) each.
        projected: as the head compares them, (n, P) each.
    """

    rows: Array
    same: Array
    pooled: tuple[Array, Array]
    projected: tuple[Array, Array]


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks the answers on the test rows, (n, 8) as `found` gives them, and what they are of, by name of the rival."""
    return {name: _of_task(model, prepared, name) for name in tasks}


def _of_task(model: Model, prepared: Prepared, name: str) -> tuple[dict[str, Array], dict[str, str]]:
    train = sample(prepared.parts["train"], ROWS, prepared.recipe.train.seed)
    parts = {part: _vectors(model, prepared, name, rows) for part, rows in (prepared.parts | {"train": train}).items() if len(rows)}
    test = parts["test"]
    if not len(test.rows):
        return {}, {}
    candidates, _ = found(*test.projected, test.same)
    p, words = {"constant": chance(candidates)}, {"constant": f"chance, among {_told(candidates)} candidates"}
    if lexical := _shared_words(prepared, name, test):
        p["simple"], words["simple"] = lexical
    p["before"], words["before"] = _before(parts)
    return p, words


def _told(candidates: Array) -> str:
    least, most = int(candidates.min()), int(candidates.max())
    return f"{most:,}" if least == most else f"{least:,} to {most:,}"


@torch.inference_mode()
def _vectors(model: Model, prepared: Prepared, name: str, rows: Array) -> Vectors:
    head, train = model.head(name), prepared.recipe.train
    assert isinstance(head, PairHead)
    model.eval()
    numbers, pieces = [], []
    for question in prepared.batches("test", int(train.micro_batch), rows=rows).epoch():
        batch, target = question.to(model.device).asked[name]
        with autocast(model.device, train.precision):
            view = model(batch)
            made = [*(view.streams[of].pooled().float() for of in head.of), *head.vectors(view), target["y"], target["weight"]]
        numbers.append(question.rows)
        pieces.append([tensor.cpu().numpy() for tensor in made])
    order = places(np.concatenate(numbers), rows)
    *vectors, same, weight = (np.concatenate(column)[order] for column in zip(*pieces, strict=True))
    there = weight > 0
    a, b, one, other = (x[there] for x in vectors)
    return Vectors(rows[there], same[there], (a, b), (one, other))


# Before training


def _before(parts: dict[str, Vectors]) -> tuple[Array, str]:
    """The cosine of the vectors as the model has them at the start, or after a linear map between them: what is better on validation rows."""
    test, validation = parts["test"], parts.get("validation", parts["train"])
    models: list[tuple[Callable[[Vectors], tuple[Array, Array]], str]] = [(lambda x: x.projected, "the model before training")]
    if len(parts["train"].rows) > 1:
        mapped = f"a linear map between the vectors as they are before training, {len(parts['train'].rows):,} training rows"
        models += [(made, mapped) for made in _maps(parts["train"])]
    scores = [found(*made(validation), validation.same)[1][:, [2, 6]].mean() if len(validation.rows) else 0.0 for made, _ in models]
    best, words = models[int(np.argmax(scores))]
    return found(*best(test), test.same)[1], words


def _maps(train: Vectors) -> list[Callable[[Vectors], tuple[Array, Array]]]:
    """Ridge regressions from the vectors of one input to those of the other, one a penalty."""
    (mean_a, std_a), (mean_b, std_b) = (_spread(x) for x in train.pooled)
    a, b = (train.pooled[0] - mean_a) / std_a, (train.pooled[1] - mean_b) / std_b
    products, crossed = a.T @ a, a.T @ b

    def made(penalty: float) -> Callable[[Vectors], tuple[Array, Array]]:
        weights = np.linalg.solve(products + penalty * np.eye(len(products)), crossed)
        return lambda x: (_unit((x.pooled[0] - mean_a) / std_a @ weights), _unit((x.pooled[1] - mean_b) / std_b))

    return [made(penalty) for penalty in PENALTIES]


def _spread(x: Array) -> tuple[Array, Array]:
    x = x.astype(np.float64)
    return x.mean(0), x.std(0) + 1e-6


def _unit(x: Array) -> Array:
    return np.asarray(x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12))


# Shared words


def _shared_words(prepared: Prepared, name: str, test: Vectors) -> tuple[Array, str] | None:
    """The cosine of TF-IDF vectors, where both inputs are texts that share a word."""
    recipe = prepared.recipe
    of = recipe.tasks[name].compares()
    if any(recipe.inputs[name].kind != "text" for name in of):
        return None
    from sklearn.feature_extraction.text import TfidfVectorizer

    seen = sample(prepared.parts["train"], TEXTS, recipe.train.seed)
    known, asked = ([[word(v) for v in Column(prepared.table, recipe.column(o), rows)] for o in of] for rows in (seen, test.rows))
    signs = {"analyzer": "char", "ngram_range": (1, 3)} if unspaced(known[1]) else {"token_pattern": r"(?u)\b\w+\b"}
    try:
        reader = TfidfVectorizer(max_features=50_000, sublinear_tf=True, **signs).fit([*known[0], *known[1]])
    except ValueError:  # no words at all
        return None
    a, b = (reader.transform(texts).toarray() for texts in asked)
    return found(a, b, test.same)[1], f"words that both share (cosine of TF-IDF, counted on {len(seen):,} training rows)"
