"""Auto: a ladder of tunings inside the budget, each rung starting from the best weights so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class Auto(Tuning):
    """Heads, then the last blocks, then LoRA or all, each from the best weights so far (Howard and Ruder 2018; Kumar et al. 2022).

    Each rung trains up to `train.epochs`, at its own rate (`train.lr` is that of full fine-tuning), and gives way to the next after
    `train.patience` rounds of validation without progress, 2 where that is 0 (the probe then has all its epochs). With `train.minutes`
    a rung is begun if the rest of the time holds it; without, if the rung before it was better than all earlier ones. The best weights
    on validation are kept.

    Args:
        blocks: how many learn on the second rung, counted from the top; fewer where a backbone has no more than these.
        top: the last rung; `auto` chooses by size, rows and the rest of the time, and all where a backbone starts from nothing.
    """

    apart: ClassVar[bool] = False

    blocks: int = Field(default=2, ge=1)
    top: Literal["auto", "full", "lora"] = "auto"

    @property
    def adapts(self) -> bool:
        """Where the last rung is asked to."""
        return self.top == "lora"

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`: as on the first rung, where no weight of a backbone learns."""
        encoder.requires_grad_(False)
