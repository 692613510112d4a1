"""Mistake: the one exception meant for users. It names the place, says what is wrong and how to mend it."""

import difflib
from collections.abc import Iterable, Sequence


class Mistake(Exception):
    """Something the user can mend.

    Args:
        where: the place, as a dotted recipe path (`tasks.mood.target`), a file and row, or a command.
        what: what is wrong there.
        fix: how to mend it; empty where the `what` already says so.
    """

    def __init__(self, where: str, what: str, fix: str = "") -> None:
        super().__init__(where, what, fix)
        self.where, self.what, self.fix = where, what, fix
        self.parts: tuple[Mistake, ...] = (self,)

    @classmethod
    def together(cls, mistakes: Iterable["Mistake"]) -> "Mistake":
        """One exception that carries all of `mistakes`, so that a user sees them at once."""
        parts = tuple(part for mistake in mistakes for part in mistake.parts)
        assert parts, "no mistake to report"
        if len(parts) == 1:
            return parts[0]
        whole = cls(parts[0].where, parts[0].what, parts[0].fix)
        whole.parts = parts
        return whole

    def under(self, place: str) -> "Mistake":
        """The same, told of a part of `place`: `separator` becomes `inputs.tags.separator`."""
        return Mistake.together(Mistake(f"{place}.{part.where}" if part.where else place, part.what, part.fix) for part in self.parts)

    def __str__(self) -> str:
        return "\n".join(part._line() for part in self.parts)

    def _line(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        return f"{line.rstrip('.')}. {self.fix}" if self.fix else line


def did_you_mean(name: object, known: Sequence[str]) -> str:
    """'Did you mean 'text'? There are: ...' for an unknown `name`."""
    near = difflib.get_close_matches(str(name), known, 1)
    listing = f"There are: {', '.join(sorted(known))}" if known else "There are none"
    return f"Did you mean {near[0]!r}? {listing}" if near else listing
