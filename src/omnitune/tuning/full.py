"""Full: every weight of the backbones learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitune.component import component
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class Full(Tuning):
    """Every weight that has a part in the answer learns."""

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`."""
        encoder.requires_grad_(False)
        for _, weight in encoder.weights():
            weight.requires_grad_(True)
