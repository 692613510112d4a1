"""cache: what frozen parts of backbones made of rows, decoded files, and the tokens of documents, kept on disk for the next epoch and run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omnitune.data import store, token_files


@dataclass(frozen=True)
class Listed:
    """One folder as a list shows it.

    Args:
        name: of the folder.
        holds: what it holds: `activations`, `decoded files` or `token files`.
        about: of which backbone or table.
        megabytes: on disk.
        used: when a run last opened it.
    """

    name: str
    holds: str
    about: str
    megabytes: float
    used: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))

    def __str__(self) -> str:
        return f"{self.name}  {self.megabytes:,.1f} MB, used {self.used}\n  {self.holds}: {self.about}"


def cache() -> list[Listed]:
    """What is kept, least recently used first; of activations and decoded files, that goes first where room is needed."""
    return [
        Listed(
            kept.name,
            kept.about["holds"],
            kept.about["about"],
            round(kept.bytes / 1e6, 1),
            datetime.fromtimestamp(kept.used).isoformat(" ", "minutes"),
        )
        for kept in sorted((*store.kept(), *store.kept(token_files.home())), key=lambda one: one.used)
    ]


def empty() -> int:
    """Removes everything; the bytes that were freed."""
    return store.empty() + store.empty(token_files.home())
