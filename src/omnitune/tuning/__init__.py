"""Tunings: which weights of the backbones learn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnitune.component import Component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@dataclass(frozen=True)
class Tuning(Component, ABC):
    """Decides what learns inside a backbone. Heads, fusion and small encoders of our own always learn."""

    @property
    def adapts(self) -> bool:
        """Whether adapters learn beside weights that stay, which therefore must have learned before."""
        return False

    @abstractmethod
    def apply(self, encoder: Encoder) -> None:
        """Sets `requires_grad` on every weight of `encoder`, adding adapters where the method has them."""
