"""Sift: which of written texts are kept, and why others are dropped."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from omnitune.commands._sources import Sources, normal
from omnitune.data.files import Piece
from omnitune.data.table import Rows, Table

REASONS = {
    "empty": "nothing was written", "unchanged": "the source's own text", "known": "stands in the table", "repeated": "was written before",
    "unread": "the run cannot read it", "unlikely": "the run doubts its answer",
}  # fmt: skip
"""Why a text is dropped, in the order in which that is looked at."""


def sift(sources: Sources, numbers: Rows, texts: Sequence[str], keep: float) -> tuple[list[str | None], np.ndarray[Any, Any]]:
    """Why each text is dropped, None where it is kept, and how likely the run takes the answers of its row, (n,); 0 where it was not asked.

    Args:
        sources: of the run.
        numbers: the rows that texts were written from.
        texts: one for each.
        keep: probability.
    """
    own = [normal(row[sources.column]) for row in sources.values(numbers, [sources.column])]
    reasons, seen = list[str | None](), set[str]()
    for text, source in zip(map(normal, texts), own, strict=True):
        reasons.append(
            "empty" if not text else "unchanged" if text == source else "known" if text in sources.texts else "repeated" if text in seen else None
        )
        seen.add(text)
    chances, asked = np.zeros(len(texts)), np.array([place for place, reason in enumerate(reasons) if reason is None], np.int64)
    if len(asked):
        chances[asked] = likely = _likely(sources, numbers[asked], [texts[place] for place in asked])
        for place, chance in zip(asked.tolist(), likely.tolist(), strict=True):
            reasons[place] = "unread" if np.isnan(chance) else None if chance >= keep else "unlikely"
    return reasons, np.nan_to_num(chances)


def _likely(sources: Sources, numbers: Rows, texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """The probability that the run gives the answers of these rows with other texts, the least of all tasks; NaN where it cannot read them."""
    drafts = Table("written rows", [Piece("written rows", sources.filled(numbers, texts))], sources.table.root)
    answers = {task: sources.answer(task, numbers) for task in sources.tasks}
    found = np.full(len(texts), np.nan)
    for place, said in enumerate(sources.artifact.stream(drafts)):
        if not isinstance(said.get("error"), str):
            found[place] = min(said[task]["probabilities"].get(of[place], 0.0) for task, of in answers.items())
    return found
