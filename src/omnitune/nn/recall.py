"""Recall: the memories of texts that are being read piece by piece, each under the number of the piece that was read last.

A row finds its memory by the piece before it, wherever that stood: so batches may be parted, reordered and grow shorter, and a text whose piece
before was not read begins without one.

Shape letters: B rows, N texts under way, M tokens of a memory.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from omnitune.nn.memory import Memory

NONE = -1
"""The number of no piece: before the first and after the last of a text."""


@dataclass(frozen=True)
class Place:
    """Where the rows of a batch stand in their texts.

    Args:
        piece_B: int64, the number of each piece, -1 where it is none.
        before_B: of the piece before it in its text, -1 for none.
        after_B: of the piece behind it, -1 for none.
    """

    piece_B: Tensor
    before_B: Tensor
    after_B: Tensor

    @property
    def any(self) -> bool:
        """Whether a row is a piece at all, and no text by itself."""
        return bool((self.piece_B != NONE).any())


@dataclass(frozen=True)
class Recall:
    """Never changed: `read` gives the next one.

    Args:
        pieces_N: int64, the piece that each memory ends with.
        memory: of N rows; None of none.
    """

    pieces_N: Tensor
    memory: Memory | None = None

    @classmethod
    def empty(cls) -> "Recall":
        """Of no text."""
        return cls(torch.zeros(0, dtype=torch.int64))

    def of(self, before_B: Tensor) -> Memory | None:
        """The memory of each row, empty where the piece before it was not read; None where all are."""
        if self.memory is None:
            return None
        same_BN = before_B[:, None] == self.pieces_N
        found_B = same_BN.any(1)
        if not found_B.any():
            return None
        made = self.memory.of_rows(same_BN.long().argmax(1))
        return Memory(made.layers, made.held_B * found_B)

    def read(self, place: Place, memory: Memory) -> "Recall":
        """With the new memories of rows whose text goes on, in the place of those that they were made from."""
        going, staying = (place.after_B != NONE).nonzero()[:, 0], self._others(place.before_B)
        pieces_N = torch.cat([self.pieces_N.to(going.device)[staying], place.piece_B[going]])
        parts = [] if self.memory is None or not len(staying) else [self.memory.of_rows(staying)]
        parts += [memory if len(going) == len(place.piece_B) else memory.of_rows(going)] if len(going) else []
        return Recall(pieces_N, joined(parts) if parts else None)

    def _others(self, before_B: Tensor) -> Tensor:
        """The numbers of memories that are of none of these rows."""
        pieces_N = self.pieces_N.to(before_B.device)
        return (~torch.isin(pieces_N, before_B)).nonzero()[:, 0]

    def state(self) -> dict[str, Tensor]:
        """As tensors, to be saved."""
        if self.memory is None:
            return {}
        return {"pieces": self.pieces_N, "held": self.memory.held_B} | {f"layer.{i}": layer for i, layer in enumerate(self.memory.layers)}

    @classmethod
    def restored(cls, state: dict[str, Tensor]) -> "Recall":
        """From what `state` gave."""
        if not state:
            return cls.empty()
        return cls(state["pieces"], Memory([state[f"layer.{i}"] for i in range(len(state) - 2)], state["held"]))


def joined(memories: list[Memory]) -> Memory:
    """The rows of all, one below the other; what they hold stays at the end."""
    if len(memories) == 1:
        return memories[0]
    size = max(memory.size for memory in memories)
    layers = [torch.cat([pad(layer, (0, 0, size - layer.shape[1], 0)) for layer in same]) for same in zip(*(m.layers for m in memories), strict=True)]
    return Memory(layers, torch.cat([memory.held_B for memory in memories]))
