"""gated: how much each input counts is decided row by row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.fusion import Fusion

if TYPE_CHECKING:
    from torch import nn


@component
class Gated(Fusion):
    """A weighted mean of the inputs, by weights that a gate reads off each row (after Arevalo et al. 2017, https://arxiv.org/abs/1702.01992): for
    inputs of which now this one and now that one tells more. The report has the mean weights, and `omnitune predict --weights` those of each
    row.

    Args:
        width: of the fused vector; `auto`: that of the widest input, and a single input passes as it is.
        dropout: before the mixing layer.
        hide: share of inputs that training hides from a row, never its last, so that missing values are met before prediction.
    """

    weighs: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """From `{input: Tokens}` to a Mixture (B, 1, width)."""
        from omnitune.nn import gated

        return gated.Gated(widths, None if self.width == "auto" else self.width, self.dropout, self.hide)
