"""Probe: backbones stay as they are; heads alone learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from omnitune.component import component
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class Probe(Tuning):
    """No weight of a backbone learns (Alain and Bengio 2017)."""

    apart: ClassVar[bool] = False

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`."""
        encoder.requires_grad_(False)
