"""concat: one vector a row, made of the pooled vectors of all inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.fusion import Fusion

if TYPE_CHECKING:
    from torch import nn


@component
class Concat(Fusion):
    """The simplest fusion, and for few rows or a single input the right one: what each input says on its own, mixed by one layer.

    Args:
        width: of the fused vector; `auto`: that of the widest input, and a single input passes as it is.
        dropout: before the mixing layer.
        hide: share of inputs that training hides from a row, never its last, so that missing values are met before prediction.
    """

    width: Annotated[int, Field(ge=1)] | Literal["auto"] = "auto"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.05

    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """From `{input: Tokens}` to Tokens (B, 1, width)."""
        from omnitune.nn import fusion

        return fusion.Concat(widths, None if self.width == "auto" else self.width, self.dropout, self.hide)
