"""cache: what frozen parts of backbones made of rows, kept on disk for the next epoch and the next run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from omnitune.training import cache as store


@dataclass(frozen=True)
class Listed:
    """One frozen part as a list shows it.

    Args:
        name: of its folder.
        backbone: the checkpoint, where it has a name.
        part: which part of it.
        megabytes: on disk.
        used: when a run last opened it.
    """

    name: str
    backbone: str
    part: str
    megabytes: float
    used: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))

    def __str__(self) -> str:
        return f"{self.name}  {self.megabytes:,.1f} MB, used {self.used}\n  {self.backbone or 'a backbone'}: {self.part}"


def cache() -> list[Listed]:
    """What is kept, least recently used first; that goes first where room is needed."""
    return [
        Listed(
            kept.name,
            kept.about["backbone"],
            kept.about["part"],
            round(kept.bytes / 1e6, 1),
            datetime.fromtimestamp(kept.used).isoformat(" ", "minutes"),
        )
        for kept in store.kept()
    ]
