"""late: each input answers by itself, and the answers are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.fusion import Fusion

if TYPE_CHECKING:
    from torch import nn


@component
class Late(Fusion):
    """Each input has logits of its own, which are averaged: for inputs that are often missing, and as the rival that a fusion has to beat which
    reads inputs together. Each input also learns to answer alone.

    Args:
        width: of the vector that each input becomes before a head reads it; `auto`: that of the widest input, and a single input passes as it is.
        weights: `mean`: every input that is there counts the same; `learned`: by a weight of its own, the same for all rows.
        own: how much the mean loss of the inputs alone counts beside the loss of their average; 0 turns it off.
        dropout: before the layer of each input.
        hide: share of inputs that training hides from a row, never its last.
    """

    weighs: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    weights: Literal["mean", "learned"] = "mean"
    own: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """From `{input: Tokens}` to a Mixture (B, 1, width)."""
        from omnitune.nn import late

        return late.Late(widths, None if self.width == "auto" else self.width, self.weights == "learned", self.own, self.dropout, self.hide)
