"""label: which of several labels, any number of them at once?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn import values
from omnitune.tasks import Facts, Target, Task

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

FLAGS = {"0": 0, "false": 0, "1": 1, "true": 1}


@component
class Label(Task):
    """Each label holds or does not, whatever the others do.

    Answers stand in one column (`target: tags`) as lists, also written in JSON, or as texts with a separator (`red|round`), or in several
    (`target: [red, round]`), one label each, as 0/1 or false/true. In one column None is a row without an answer and an empty list or text one
    without a label; of several columns each may be empty on its own. A label that training never saw is left out and counted (`unseen`).

    Args:
        target: the column, or a list of columns.
        separator: between the labels of a text; spaces around a label do not matter.
        dropout: before the head.
    """

    form: ClassVar[Literal["labels"]] = "labels"

    target: str | Annotated[tuple[str, ...], Field(min_length=1)]
    separator: Annotated[str, Field(min_length=1)] = "|"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,) if isinstance(self.target, str) else self.target

    def check(self, value: Any) -> str | None:
        """Of one column: lists of what can be a label, or texts; of several: 0/1 and false/true."""
        if isinstance(self.target, str):
            return self._check_list(value)
        if values.missing(value) or (values.problem(value) is None and values.name(value).lower() in FLAGS):
            return None
        return f"expected 0 or 1, false or true, got {str(value)[:40]!r}; for labels in one column write target: COLUMN"

    def _check_list(self, value: Any) -> str | None:
        wrong = values.no_members(value, "label")
        single = wrong and not isinstance(value, (list, tuple))
        return f"{wrong}; for a 0/1 column write target: [COLUMN]" if single else wrong

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """`labels` in order, and of each how often it is `known` and how often it holds (`counts`).

        Raises:
            Mistake: no answer at all, no label that differs between rows, another separator, or so many labels that they look like names.
        """
        facts = self._learn_list(columns[self.target]) if isinstance(self.target, str) else self._learn_flags(columns)
        where = f"target {', '.join(map(repr, self.columns()))}"
        if not any(facts["known"]):
            raise Mistake(where, "no training row has an answer", "Fill it, or choose another target")
        if all(count in (0, known) for count, known in zip(facts["counts"], facts["known"], strict=True)):
            raise Mistake(where, "all training rows have the same labels", "There is nothing to tell apart: choose another target")
        return facts

    def _learn_list(self, column: Sequence[Any]) -> Facts:
        rows = 0
        counts: Counter[str] = Counter()
        labels: dict[str, values.Scalar] = {}
        for value in column:
            if value is not None:
                rows += 1
                for name, label in values.members(value, self.separator).items():
                    counts[name] += 1
                    labels.setdefault(name, label)
        where = f"target {self.target!r}"
        if wrong := values.foreign_separator((value for value in column if value is not None), self.separator):
            raise Mistake(where, *wrong)
        if values.mostly_different(len(labels), counts.total()):
            found_in = f"{len(labels):,} different labels in {rows:,} training rows"
            raise Mistake(where, f"{found_in} look like names or sentences", "Choose another target, or another separator")
        ordered = values.ordered(labels.values())
        return {"labels": ordered, "known": [rows] * len(ordered), "counts": [counts[values.name(v)] for v in ordered]}

    def _learn_flags(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        known, counts = [], []
        for column in self.columns():
            flags = Counter(_flag(value) for value in columns[column])
            known.append(flags[0] + flags[1])
            counts.append(flags[1])
        return {"labels": list(self.columns()), "known": known, "counts": counts}

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows with a label that training never saw."""
        if not isinstance(self.target, str):
            return 0
        known = {values.name(v) for v in facts["labels"]}
        return sum(value is not None and not known.issuperset(values.members(value, self.separator)) for value in columns[self.target])

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B, K) int64: 1, 0, and -1 where it is not known; `weight` (B,): 1 where a label is known, else 0."""
        import torch

        if isinstance(self.target, str):
            names = [values.name(v) for v in facts["labels"]]
            y = [self._row(value, names) for value in columns[self.target]]
        else:
            y = [[_flag(value) for value in row] for row in zip(*(columns[c] for c in self.columns()), strict=True)]
        y_BK = torch.tensor(y, dtype=torch.int64).reshape(batch.size, len(facts["labels"]))
        return batch, {"y": y_BK, "weight": (y_BK >= 0).any(1).float()}

    def _row(self, value: Any, names: list[str]) -> list[int]:
        if value is None:
            return [-1] * len(names)
        found = values.members(value, self.separator)
        return [int(name in found) for name in names]

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `LabelHead`."""
        from omnitune.nn.heads import LabelHead

        return LabelHead(width, len(facts["labels"]), self.dropout)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the labels that are at least as likely as not; `probabilities` by the name of the label."""
        labels = facts["labels"]
        names = [values.name(v) for v in labels]
        return [
            {"value": [v for v, share in zip(labels, p, strict=True) if share >= 0.5], "probabilities": dict(zip(names, p, strict=True))}
            for p in output.tolist()
        ]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of several labels at once."""
        from omnitune.nn.metrics import label_metrics

        return label_metrics(len(facts["labels"]))

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Up to three labels a row, and a rarer row without an answer."""
        labels, held = ["red", "round", "größer"], rng.random((n, 3)) < 0.5
        held[:2] = [[True, False, True], [False, True, False]]
        rows = [[label for label, holds in zip(labels, row, strict=True) if holds] for row in held.tolist()]
        if isinstance(self.target, str):
            return {self.target: [None if i % 16 == 15 else row for i, row in enumerate(rows)]}
        return {column: held[:, i % 3].tolist() for i, column in enumerate(self.target)}


def _flag(value: Any) -> int:
    """1, 0, or -1 where the value is missing."""
    return -1 if values.missing(value) else FLAGS[values.name(value).lower()]
