"""Backbones: the Transformers (or convolutional networks) that read text, pictures and sound."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omnitune.component import Component, kinds
from omnitune.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from omnitune.nn.encoder import Encoder

Facts = dict[str, Any]
TOKENIZER = "tokenizer"
"""Under which a backbone keeps the tokenizer that it learned, the content of tokenizer.json."""


@dataclass(frozen=True)
class Architecture:
    """What a backbone is, as far as its settings depend on it.

    Args:
        width: D of its tokens.
        attention: whether it is a Transformer, not a convolutional network.
        causal: whether a token sees only those before it.
        tied: whether one table of words serves what goes in and what comes out.
        types: kinds of tokens that it tells apart: those of a first and of a second text; 0 for none.
        pretrained: whether it starts from weights that were trained before.
        patch: side of the patches that it cuts a picture into, in pixels; None where it cuts none.
        post_norm: whether its norms stand behind what they sum up, as in the first Transformers, which bear smaller steps than later ones.
        remembers: whether it reads the pieces of a text in order, each told of those before it.
        decodes: whether it is the encoder of a model that writes a text from another (T5, BART).
        start: of such a model the token that what it writes begins with; None where that is not known.
    """

    width: int
    attention: bool
    causal: bool = False
    tied: bool = True
    types: int = 0
    pretrained: bool = True
    patch: int | None = None
    post_norm: bool = False
    remembers: bool = False
    decodes: bool = False
    start: int | None = None


@dataclass(frozen=True)
class Backbone(Component, ABC):
    """A model that turns one kind of input into `Tokens`, and the processor (tokenizer, picture statistics) that goes with it."""

    @classmethod
    def from_text(cls, text: str) -> dict[str, Any]:
        """A word is a kind where one has that name; any other text names a checkpoint: a hub name, a directory or `sample:NAME`."""
        return {"kind": text} if text in kinds(cls) else {"kind": "pretrained", "name": text}

    def learn(self, texts: Iterable[str]) -> Facts:
        """What a backbone of texts that starts from nothing counts on the training rows (its tokenizer), as plain JSON values. It may read `texts`
        more than once."""
        return {}

    @abstractmethod
    def encoder(self, facts: Facts | None = None) -> Encoder:
        """The model, with weights; `facts` are what it learned."""

    @abstractmethod
    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The model without loading weights: the same modules, to be filled from a saved artifact."""

    @abstractmethod
    def tokenizer(self, facts: Facts | None = None) -> Any:
        """The tokenizer of a text backbone."""

    @abstractmethod
    def picture(self) -> dict[str, Any]:
        """Of a picture backbone: `size` (height, width), `mean` and `std` per channel, `resample`, `crop_pct`."""

    def sound(self) -> dict[str, Any]:
        """Of a backbone of sound: what it expects to hear, see `_sound.facts`."""
        raise Mistake(f"backbone {self.kind}", "hears no sound", "Choose a checkpoint of sound, or kind: spectrogram")

    def speech(self) -> dict[str, Any]:
        """Of a backbone of sound: what comes with it that writes what is said, `written` by a decoder and `letters` of CTC, see `_speech`, None where
        it has none; and `steps`, see `_sound.steps`."""
        return {"written": None, "letters": None, "steps": None}

    @abstractmethod
    def architecture(self) -> Architecture:
        """Its shape, without reading weights."""

    def stamp(self) -> tuple[Any, ...]:
        """What is another whenever the files that its processor comes from are others: what was read of them may be kept under it."""
        return ()

    def says(self) -> bool:
        """Whether it comes with trained layers that say words (`nn.lm_head`, `nn.decoder`), not only with tokens."""
        return False

    @abstractmethod
    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """Writes configuration and tokenizer or picture processor, so that `folder` plus weights is a Hugging Face directory."""

    def save_words(self, folder: Path) -> None:
        """Writes what its decoder says words by beside that, where it has a decoder that is no text's."""
        return

    @abstractmethod
    def check(self) -> str | None:
        """What is wrong with the reference (no such directory, a pickle), without loading torch; None where nothing is seen."""
