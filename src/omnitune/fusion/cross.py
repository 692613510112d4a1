"""cross: one input asks the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.fusion import Fusion
from omnitune.settings import divides_width

if TYPE_CHECKING:
    from torch import nn


@component
class Cross(Fusion):
    """The tokens of one input look at those of all others (as in ViLBERT, Lu et al. 2019, https://arxiv.org/abs/1908.02265, in one direction):
    for an input that says most, and others that tell how it is meant. Cheaper than `attend` where that input is short and another is long.

    Args:
        of: the input that asks; the first one where left out.
        width: of the fused tokens.
        layers: blocks.
        heads: of each block; must divide `width`.
        dropout: in the blocks.
        hide: share of inputs that training hides from a row, never its last, so that missing values are met before prediction.
    """

    deep: ClassVar[bool] = True

    of: str | None = None
    width: Annotated[int, Field(ge=1)] = 192
    layers: Annotated[int, Field(ge=1)] = 2
    heads: Annotated[int, Field(ge=1)] = 8
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.05

    _divide = pydantic.field_validator("heads")(divides_width)

    def named(self) -> dict[str, str]:
        """`of`, where it is given."""
        return {} if self.of is None else {"of": self.of}

    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """From `{input: Tokens}` to Tokens (B, tokens of the input that asks, width), pooled as that input."""
        from omnitune.nn import cross

        of = next(iter(widths)) if self.of is None else self.of
        return cross.Cross(widths, of, self.width, self.layers, self.heads, self.dropout, self.hide)
