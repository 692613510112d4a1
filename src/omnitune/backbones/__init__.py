"""Backbones: the Transformers (or convolutional networks) that read text, pictures, later sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnitune.component import Component, kinds

if TYPE_CHECKING:
    from pathlib import Path

    from omnitune.nn.encoder import Encoder


@dataclass(frozen=True)
class Architecture:
    """What a backbone is, as far as its settings depend on it.

    Args:
        width: D of its tokens.
        attention: whether it is a Transformer, not a convolutional network.
    """

    width: int
    attention: bool


@dataclass(frozen=True)
class Backbone(Component, ABC):
    """A model that turns one kind of input into `Tokens`, and the processor (tokenizer, picture statistics) that goes with it."""

    @classmethod
    def from_text(cls, text: str) -> dict[str, Any]:
        """A word is a kind where one has that name; any other text names a checkpoint: a hub name, a directory or `sample:NAME`."""
        return {"kind": text} if text in kinds(cls) else {"kind": "pretrained", "name": text}

    @abstractmethod
    def encoder(self) -> Encoder:
        """The model, with weights."""

    @abstractmethod
    def skeleton(self) -> Encoder:
        """The model without loading weights: the same modules, to be filled from a saved artifact."""

    @abstractmethod
    def tokenizer(self) -> Any:
        """The tokenizer of a text backbone."""

    @abstractmethod
    def picture(self) -> dict[str, Any]:
        """Of a picture backbone: `size` (height, width), `mean` and `std` per channel, `resample`, `crop_pct`."""

    @abstractmethod
    def architecture(self) -> Architecture:
        """Its shape, without reading weights."""

    @abstractmethod
    def save_processor(self, folder: Path) -> None:
        """Writes configuration and tokenizer or picture processor, so that `folder` plus weights is a Hugging Face directory."""

    @abstractmethod
    def check(self) -> str | None:
        """What is wrong with the reference (no such directory, a pickle), without loading torch; None where nothing is seen."""
