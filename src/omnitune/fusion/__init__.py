"""Fusions: how the tokens of several inputs become one sequence that every head can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from omnitune.component import Component

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Fusion(Component, ABC):
    """A module from `{input: Tokens}` to `Tokens`."""

    deep: ClassVar[bool] = False
    """Whether it is a Transformer of its own, which bears smaller steps than a linear layer."""
    weighs: ClassVar[bool] = False
    """Whether its module gives a `Mixture`, which tells how much each input counted in a row."""

    def named(self) -> dict[str, str]:
        """Inputs that settings name, by setting. None, unless a kind says otherwise."""
        return {}

    @abstractmethod
    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """The module for inputs of these widths; its `width` is the D of what it gives. Missing inputs get a learned stand-in."""
