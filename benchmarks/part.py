"""Part: one table of the multimodal benchmark, with the sides that answer its questions and the cases they are asked in."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from found import Found


@dataclass(frozen=True)
class Side:
    """One way to answer.

    Args:
        run: from a case and an empty folder to what it gives.
        cases: that it is asked in; one of them where chance has no part in it.
        lacks: why it cannot run here; None where it can.
    """

    run: Callable[[str, Path], Found]
    cases: Sequence[str]
    lacks: Callable[[], str | None] = field(default=lambda: None)


@dataclass(frozen=True)
class Part:
    """One table.

    Args:
        title: heading.
        about: what is asked of which rows, in sentences.
        cases: what they are, in words: `seeds`, `folds`.
        sides: by name; the first is the one that others are compared with.
        unfair: what is unfair, and to whom.
        paired: whether all cases have the same test rows.
    """

    title: str
    about: str
    cases: str
    sides: Mapping[str, Side]
    unfair: Sequence[str]
    paired: bool = True
