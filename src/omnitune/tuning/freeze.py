"""Freeze: the last blocks learn, all before them stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class Freeze(Tuning):
    """The last blocks and what comes after them (a final norm) learn (Yosinski et al. 2014).

    Args:
        blocks: how many learn, counted from the top.
    """

    blocks: int = Field(default=2, ge=1)

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`. Raises `Mistake` where the backbone has fewer blocks."""
        present = len(encoder.blocks)
        if self.blocks > present:
            raise Mistake("tuning.blocks", f"{self.blocks} blocks are to learn, but a backbone has {present}", "Ask for fewer, or use tuning: full")
        encoder.requires_grad_(False)
        for name, weight in encoder.weights():
            weight.requires_grad_(encoder.depth(name) > present - self.blocks)
