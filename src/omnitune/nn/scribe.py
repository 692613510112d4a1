"""Scribe: what writes down the tokens of a sound; of a long one window by window."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from omnitune.nn.tokens import Tokens
from omnitune.nn.writing import Sampling, Written


@dataclass(frozen=True)
class Window:
    """A stretch of a sound that is read at a time.

    Args:
        start: when it begins, in seconds.
        stop: when it ends.
        first, last: whether nothing lies before it, or behind.
        overlap: seconds that it shares with the one before it and with the one behind it.
    """

    start: float
    stop: float
    first: bool
    last: bool
    overlap: float

    def owns(self, seconds: float) -> bool:
        """Whether a moment of the sound is this window's to tell: up to the middle of what two windows share, the first one's."""
        return (self.first or seconds >= self.start + self.overlap / 2) and (self.last or seconds < self.stop - self.overlap / 2)


class Scribe(ABC):
    """Writes what is said. Windows are written side by side, then those of a sound are joined."""

    @abstractmethod
    def heard(self, tokens: Tokens, windows: Sequence[Window], sampling: Sampling) -> list[Any]:
        """What each row says, first dimension B, in a form that `joined` takes."""

    @abstractmethod
    def joined(self, parts: Sequence[tuple[Window, Any]]) -> Written:
        """The transcript of a sound from what its windows say, in their order."""
