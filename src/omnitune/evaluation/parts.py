"""Parts: what a model that tags has to beat on the same test rows: nothing tagged, words as they were in training, and itself before training."""

import re
from collections import Counter, defaultdict
from typing import Any

import numpy as np

from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared
from omnitune.evaluation.answers import Answered
from omnitune.evaluation.before import sample
from omnitune.nn import values as cells
from omnitune.nn.tagged import Part, counted
from omnitune.tasks.tag import Part as Named
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 5000
"""Training rows whose words are looked at."""
WORD = re.compile(r"\w+|[^\w\s]")


def rivals(model: Model, prepared: Prepared, tasks: list[str], as_it_is: Answered) -> dict[str, tuple[dict[str, Array], dict[str, str]]]:
    """Of each of these tasks, what `TagHead.measure` gives of the test rows whose tags are known, and what it is of, by name of the rival."""
    found = {}
    for name in tasks:
        of = as_it_is[name]
        y, rows, labels = of.y[of.known], of.rows[of.known], len(prepared.schema.tasks[name]["classes"])
        nothing = np.concatenate([np.zeros((len(y), 2 * labels)), y[:, -1:]], 1)
        p = {"constant": nothing, "simple": _words(prepared, name, rows, labels), "before": of.p[of.known]}
        words = {"constant": "nothing is tagged", "simple": "words as they were mostly tagged in training", "before": "the model before training"}
        found[name] = (p, words)
    return found


def _words(prepared: Prepared, name: str, asked: Array, labels: int) -> Array:
    """Each word by itself tagged as it mostly was in training, those next to each other joined where that was so; tokens are not asked."""
    seen = sample(prepared.answered, ROWS, prepared.recipe.train.seed)
    number = {label: i for i, label in enumerate(prepared.schema.tasks[name]["classes"])}
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for text, parts in _tagged(prepared, name, seen):
        for word, tag in _each(text, [(start, stop, number[label]) for start, stop, label in parts]):
            counts[text[word[0] : word[1]]][tag] += 1
    usual = {word: tags.most_common(1)[0][0] for word, tags in counts.items()}
    gold, said = list[list[tuple[int, ...]]](), list[list[Part]]()
    for text, parts in _tagged(prepared, name, asked):
        gold.append([(start, stop, number[label]) for start, stop, label in parts])
        said.append(_said(text, usual))
    return np.concatenate([counted(gold, said, labels), np.full((len(gold), 1), np.nan)], 1)


def _tagged(prepared: Prepared, name: str, rows: Array) -> list[tuple[str, list[Named]]]:
    """The texts of those of these rows whose tags are known, and the parts."""
    task = prepared.recipe.tasks[name]
    texts = Column(prepared.table, prepared.recipe.column(task.of), rows)
    tags = Column(prepared.table, task.target, rows)
    read = ((cells.text(text), value) for text, value in zip(texts, tags, strict=True) if not task.lacks(value))
    return [(text, task.parts(text, value)) for text, value in read]


def _each(text: str, parts: list[tuple[int, int, int]]) -> list[tuple[tuple[int, int], int]]:
    """The words of a text with their classes, as `TagHead` has them."""
    found, left, before = [], list(parts), None
    for match in WORD.finditer(text):
        while left and left[0][1] <= match.start():
            left.pop(0)
        part = left[0] if left and left[0][0] < match.end() else None
        found.append((match.span(), 0 if part is None else 2 + 2 * part[2] - (part != before)))
        before = part
    return found


def _said(text: str, usual: dict[str, int]) -> list[Part]:
    found, before = list[Part](), 0
    for match in WORD.finditer(text):
        tag = usual.get(match[0], 0)
        if tag:
            goes_on = tag % 2 == 0 and before in (tag, tag - 1)
            start = found.pop()[0] if goes_on else match.start()
            found.append((start, match.end(), (tag - 1) // 2, 1.0))
        before = tag
    return found
