"""Tunings: which weights of the backbones learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from omnitune.component import Component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@dataclass(frozen=True)
class Tuning(Component, ABC):
    """Decides what learns inside a backbone. Heads, fusion and small encoders of our own always learn."""

    apart: ClassVar[bool] = True
    """Whether it may be asked of some backbones alone."""

    of: tuple[str, ...] = field(default=(), kw_only=True)
    """Inputs whose backbones it is for; the others stay as they are. All where it is left out."""

    @property
    def adapts(self) -> bool:
        """Whether adapters learn beside weights that stay, which therefore must have learned before."""
        return False

    @abstractmethod
    def apply(self, encoder: Encoder) -> None:
        """Sets `requires_grad` on every weight of `encoder`, adding adapters where the method has them."""
