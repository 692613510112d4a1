"""attend: a small Transformer over the tokens of all inputs."""

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
class Attend(Fusion):
    """Lets words, patches and numbers look at each other before anything is pooled: for questions that one input alone cannot answer.

    The sizes are those of FT-Transformer (Gorishniy et al. 2021, https://arxiv.org/abs/2106.11959, default configuration).

    Args:
        width: of the fused tokens.
        layers: blocks.
        heads: of each block; must divide `width`.
        dropout: in the blocks.
        hide: share of inputs that training hides from a row, never its last, so that missing values are met before prediction.
    """

    deep: ClassVar[bool] = True

    width: Annotated[int, Field(ge=1)] = 192
    layers: Annotated[int, Field(ge=1)] = 3
    heads: Annotated[int, Field(ge=1)] = 8
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    hide: Annotated[float, Field(ge=0, lt=1)] = 0.05

    _divide = pydantic.field_validator("heads")(divides_width)

    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """From `{input: Tokens}` to Tokens (B, 1 + all tokens, width), read at the first."""
        from omnitune.nn import fusion

        return fusion.Attend(widths, self.width, self.layers, self.heads, self.dropout, self.hide)
