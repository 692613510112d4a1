"""samples: the small data sets and backbones that can be had by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omnitune.samples import SAMPLES, folder


@dataclass(frozen=True)
class Listed:
    """A sample as a list shows it; `here` says whether it is in the cache folder already."""

    name: str
    kind: str
    here: bool
    megabytes: int
    licence: str
    about: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))

    def __str__(self) -> str:
        state = "here" if self.here else f"{self.megabytes} MB to fetch"
        return f"{self.name}  ({self.kind}, {state}, {self.licence})\n  {self.about}"


def samples() -> list[Listed]:
    """Every sample. Nothing is fetched."""
    return [
        Listed(name, sample.kind, (folder() / name).is_dir(), sum(package.megabytes for package in sample.packages), sample.licence, sample.about)
        for name, sample in SAMPLES.items()
    ]
