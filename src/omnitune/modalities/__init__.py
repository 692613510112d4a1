"""Modalities: kinds of columns a model reads. One file each; drop a file in and it is accepted, trained, served and tested."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omnitune.component import Component

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

Facts = dict[str, Any]


@dataclass(frozen=True)
class Decoder:
    """How the bytes of a file become numbers that `encode` takes in their place; always the same numbers, so that they can be kept.

    Args:
        read: from the bytes to an array of uint8, of any shape.
        settings: all that decides the result, the versions of libraries included; plain values.
        most: bytes of a large result.
    """

    read: Callable[[bytes], np.ndarray[Any, np.dtype[np.uint8]]]
    settings: dict[str, Any]
    most: int


@dataclass(frozen=True)
class Modality(Component, ABC):
    """One input of a recipe: how a column becomes tensors and tensors become `Tokens`.

    Missing values arrive as None. Media (`media = True`) arrive as bytes: paths and data URIs are opened before.
    """

    media: ClassVar[bool] = False
    """Values are files: paths relative to the table, data URIs or bytes."""
    content: ClassVar[bool] = False
    """Values identify a row well enough that equal values mean a duplicate row (text, pictures, sound)."""

    lists: ClassVar[bool] = False
    """A value is itself a list."""
    of_texts: ClassVar[bool] = False
    """Of lists: a list of texts is one value, not a column of values that are written as texts."""
    plain: ClassVar[Literal["text", "number", "category", "outline"]] = "outline"
    """What simple models take its values for: as what they are, or as the numbers of `outline`, where there are any."""
    deep: ClassVar[bool] = False
    """Its encoder is a Transformer from scratch, which bears smaller steps than a linear layer."""

    column: str | None = field(default=None, kw_only=True)
    """Column of the table; the name of the input where it is left out."""
    shares: str | None = field(default=None, kw_only=True)
    """Another input, of the same kind, whose backbone reads this one too: one set of weights, one forward pass for both."""

    @property
    def several(self) -> bool:
        """Whether a cell may hold a list of values, each read by itself; so it is of kinds with a setting `most` above 1."""
        return bool(getattr(self, "most", 1) > 1)

    @property
    def shows(self) -> int:
        """Tokens at most that what its backbone makes of a value takes in a prompt; 0 of kinds whose values are written there, if anything."""
        return int(getattr(self, "prompt_tokens", 0))

    @property
    def aspect(self) -> float | None:
        """Of pictures, height over width as their backbone sees them; None where tokens follow one another."""
        return None

    @property
    def augments(self) -> bool:
        """Whether `encode` gives other tensors with a generator than without one."""
        return False

    @property
    def fixed_views(self) -> int:
        """How many augmented views of a value take turns over the epochs; 0 where each is a new one.

        With fixed views, what `encode` gives of a value depends on that value and the first draw of the generator alone.
        """
        return 0

    def decoder(self, augment: bool) -> Decoder | None:
        """Of media whose decoding is dear: how it is done for `encode` with a generator (`augment`), or without one."""
        return None

    def outline(self, values: Iterable[Any]) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """A few plain numbers a value, (n, k), by which a simple model shows what a backbone is worth; NaN where a value is missing.
        None where there are none."""
        return None

    @abstractmethod
    def check(self, value: Any) -> str | None:
        """What is wrong with one raw value that is not None, in words for the user; None where it can be encoded."""

    @abstractmethod
    def learn(self, values: Sequence[Any]) -> Facts:
        """What is counted on the training rows (a vocabulary, a mean), as plain JSON values. Constant memory where possible."""

    def learn_shared(self, values: Sequence[Any], shared: Facts) -> Facts:
        """As `learn`, where the backbone reads several inputs; `shared` is what it learned of all of them, see `shared`."""
        return self.learn(values)

    def shared(self, columns: Sequence[Sequence[Any]]) -> Facts:
        """What a backbone that starts from nothing learns of all the columns that it reads, as plain JSON values."""
        return {}

    def each(self, values: Sequence[Any]) -> Sequence[Any]:
        """The values of a column one by one, where a cell may hold several."""
        return values

    @abstractmethod
    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """A batch of checked values as tensors, first dimension B, always with `present` (B,) bool: False where the value is None.

        A generator means training: augment. Without one the result depends on the values alone.
        """

    def read(self, values: Sequence[Any], facts: Facts) -> list[Any]:
        """What `encode` and `size` take in place of values, where that is quicker, and small enough to be remembered."""
        raise AssertionError(f"{self.kind} takes values as they are")

    @abstractmethod
    def size(self, value: Any) -> int:
        """About how long the encoded value will be; rows of one batch are chosen of like size."""

    @abstractmethod
    def encoder(self, facts: Facts) -> nn.Module:
        """A module from the dictionary of `encode` to `Tokens`, with `width`, the D of its tokens.

        One that is built on a checkpoint has it as `backbone`, an `Encoder`.
        """

    def skeleton(self, facts: Facts) -> nn.Module:
        """The same module before weights are read into it from an artifact; a kind with a checkpoint does not read its weights here."""
        return self.encoder(facts)

    def language(self, facts: Facts) -> Facts:
        """Of texts: what a task must know that asks about their words, as plain JSON values."""
        raise AssertionError(f"{self.kind} has no words")  # which the recipe's check sees before

    def patches(self, facts: Facts) -> Facts:
        """Of pictures: what a task must know that asks about their patches, as plain JSON values."""
        raise AssertionError(f"{self.kind} has no patches")  # which the recipe's check sees before

    def series(self, facts: Facts) -> Facts:
        """Of series: what a task must know that asks about their numbers, as plain JSON values."""
        raise AssertionError(f"{self.kind} has no numbers in an order")  # which the recipe's check sees before

    def whole(self, facts: Facts) -> Facts:
        """Of what can be rebuilt from tokens: what a task must know that asks for all of it, as plain JSON values."""
        raise AssertionError(f"{self.kind} cannot be rebuilt")  # which the recipe's check sees before

    def ranked(self, facts: Facts) -> Facts:
        """Of histories: what a task must know that ranks their items, as plain JSON values."""
        raise AssertionError(f"{self.kind} has no items")  # which the recipe's check sees before

    def speech(self, facts: Facts) -> Facts:
        """Of sounds: what a task must know that writes what is said in them, as plain JSON values."""
        raise AssertionError(f"{self.kind} has no speech")  # which the recipe's check sees before

    def spelled(self, text: str, lead: str) -> list[int]:
        """Of sounds that a decoder writes about: the tokens of a text behind `lead`; whatever it spells, it is text."""
        raise AssertionError(f"{self.kind} has no speech")

    @abstractmethod
    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """`n` different raw values, for tests and documentation."""
