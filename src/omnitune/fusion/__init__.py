"""Fusions: how the tokens of several inputs become one sequence that every head can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnitune.component import Component

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Fusion(Component, ABC):
    """A module from `{input: Tokens}` to `Tokens`."""

    @abstractmethod
    def module(self, widths: Mapping[str, int]) -> nn.Module:
        """The module for inputs of these widths; its `width` is the D of what it gives. Missing inputs get a learned stand-in."""
