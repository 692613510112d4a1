"""Counted: what is learned of histories by counting: items, actions, and the time between one item and the next."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from omnitune.modalities import Facts
from omnitune.modalities._history import Step
from omnitune.nn import values as cells

ACTIONS = 100
"""Kinds of action that have a vector of their own, the most frequent ones."""


class Counted:
    """What is counted on histories, one at a time."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.counts: Counter[str] = Counter()
        self.first: dict[str, cells.Scalar] = {}
        self.actions: Counter[str] = Counter()
        self.seen = self.longest = self.cut = self.gaps = 0
        self.mean = self.squares = 0.0

    def add(self, steps: list[Step]) -> None:
        """Counts one history."""
        self.seen, self.longest, self.cut = self.seen + bool(steps), max(self.longest, len(steps)), self.cut + (len(steps) > self.most)
        for step in steps:
            self.count(step.name, step.item)
        self.actions.update(step.action for step in steps if step.action)
        for gap in _gaps(steps):
            if gap is not None:
                self.gaps += 1
                moved = gap - self.mean
                self.mean += moved / self.gaps
                self.squares += moved * (gap - self.mean)

    def count(self, name: str, item: cells.Scalar) -> None:
        """Counts one item."""
        self.counts[name] += 1
        self.first.setdefault(name, item)

    def facts(self, least: int) -> Facts:
        """See `Behaviour.learn_items`; items that were taken `least` times have a vector of their own."""
        ordered = sorted(self.counts, key=lambda name: (-self.counts[name], name))
        actions = sorted(self.actions, key=lambda name: (-self.actions[name], name))[:ACTIONS]
        spread = math.sqrt(self.squares / self.gaps) if self.gaps else 0.0
        return {
            "items": [self.first[name] for name in ordered],
            "counts": [self.counts[name] for name in ordered],
            "own": sum(count >= least for count in self.counts.values()),
            "actions": actions,
            "gap": [self.mean, spread if spread > 1e-6 else 1.0] if self.gaps else None,
            "longest": max(1, min(self.most, self.longest)),
            "cut": self.cut / self.seen if self.seen else 0.0,
        }


def _gaps(steps: list[Step]) -> Iterator[float | None]:
    """The logarithm of 1 + seconds since the step before; None where one of the two times is not told."""
    before: float | None = None
    for step in steps:
        yield None if step.time is None or before is None else math.log1p(step.time - before)
        before = step.time


def scaled(steps: list[Step], mean: float, spread: float) -> Iterator[tuple[float, float]]:
    """Of each step its gap in deviations from the mean, and 1; 0 and 0 where there is none."""
    for gap in _gaps(steps):
        yield (0.0, 0.0) if gap is None else ((gap - mean) / spread, 1.0)
