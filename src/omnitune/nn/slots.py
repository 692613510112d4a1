"""Slots: keys and values of texts that come and go while others are being written, as a cache of transformers.

Shape letters: S slots, P of them that are taken anew, H heads of keys, C columns, d width of a head.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

AHEAD = 64
"""Columns that are kept free, so that a step moves nothing."""
NOWHERE = sys.maxsize
"""Where the text of an empty slot starts."""


@dataclass
class Columns:
    """Those that are read: from `first` on, before `end`."""

    first: int = 0
    end: int = 0


class Layer(DynamicLayer):  # type: ignore[misc]
    """Of one block, (S, H, C, d) each; a new token is written into the column at the end, where `DynamicLayer` would copy all before it."""

    def __init__(self, columns: Columns) -> None:
        super().__init__()
        self.columns = columns

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Takes a token of every slot, (S, H, 1, d) each, and gives all that are read."""
        first, end = self.columns.first, self.columns.end
        self.keys[:, :, end : end + 1], self.values[:, :, end : end + 1] = key_states, value_states
        return self.keys[:, :, first : end + 1], self.values[:, :, first : end + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns that are read, new ones included, and those before them."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Columns that are read."""
        return self.columns.end - self.columns.first

    def make(self, slots: int, like: DynamicLayer, columns: int) -> None:
        """New room: zeros, since what is hidden is multiplied too."""
        (_, H, _, d), (_, _, _, e) = like.keys.shape, like.values.shape
        self.keys, self.values = like.keys.new_zeros(slots, H, columns, d), like.values.new_zeros(slots, H, columns, e)
        self.is_initialized = True


class Slots(Cache):  # type: ignore[misc]
    """Texts end at one column together, so that a step is one column for all; each starts where its length says. Columns that no text reaches are
    left out of the step.

    Args:
        slots: texts at once.
        layers: blocks of the model.
    """

    def __init__(self, slots: int, layers: int) -> None:
        self.columns, self.starts = Columns(), [NOWHERE] * slots
        super().__init__(layers=[Layer(self.columns) for _ in range(layers)])

    @property
    def free(self) -> list[int]:
        """Slots without a text."""
        return [slot for slot, start in enumerate(self.starts) if start == NOWHERE]

    def join(self, slots: Sequence[int], lengths: Sequence[int], read: Cache) -> None:
        """Texts that were read take free slots.

        Args:
            slots: P of them.
            lengths: in tokens; none longer than the longest that is there, if any is.
            read: their keys and values, padded on the left.
        """
        longest = max(lengths)
        if len(self.free) == len(self.starts):
            for layer, like in zip(self.layers, read.layers, strict=True):
                layer.make(len(self.starts), like, longest + AHEAD)
            self.columns.end = longest
        end, device = self.columns.end, read.layers[0].keys.device
        assert longest <= end, "longer texts come first"
        for layer, new in zip(self.layers, read.layers, strict=True):
            layer.keys[torch.tensor(slots, device=device), :, end - longest : end] = new.keys
            layer.values[torch.tensor(slots, device=device), :, end - longest : end] = new.values
        for slot, length in zip(slots, lengths, strict=True):
            self.starts[slot] = end - length
        self._trim()

    def leave(self, slots: Sequence[int]) -> None:
        """Their texts are no longer written."""
        for slot in slots:
            self.starts[slot] = NOWHERE
        self._trim()

    def keep(self, slots: Sequence[int]) -> None:
        """Only these slots stay, in this order, with columns ahead."""
        first, end = self.columns.first, self.columns.end
        for layer in self.layers:
            old = [tensor[torch.tensor(slots, device=tensor.device), :, first:end] for tensor in (layer.keys, layer.values)]
            layer.make(len(slots), layer, end - first + AHEAD)
            layer.keys[:, :, : end - first], layer.values[:, :, : end - first] = old
        self.starts = [start if start == NOWHERE else start - first for start in (self.starts[slot] for slot in slots)]
        self.columns.first, self.columns.end = 0, end - first

    def ready(self) -> tuple[Tensor, Tensor]:
        """Before a step: what each slot sees, (S, columns) int64, and its place, (S, 1) int64. An empty slot sees itself, and is not to be read."""
        if self.columns.end == self.layers[0].keys.shape[2]:
            self.keep(range(len(self.starts)))
        first, end = self.columns.first, self.columns.end
        starts_S1 = torch.tensor(self.starts)[:, None]
        seen = torch.arange(first, end + 1) >= starts_S1
        seen[:, -1] = True
        device = self.layers[0].keys.device
        return seen.long().to(device), (end - starts_S1).clamp(min=0).to(device)

    def stepped(self) -> None:
        """After a step: every text has a token more."""
        self.columns.end += 1

    def _trim(self) -> None:
        self.columns.first = min(self.columns.end, *self.starts)
