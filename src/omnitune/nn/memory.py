"""Memory: what entered each block of the tokens before a segment, and which tokens of both see which.

Rows are of unequal length and documents end anywhere, so a row may hold less than its memory has room for. What it holds lies at the end, the
newest last, without gaps: so the distance between two places is that of two tokens of the text.

Shape letters: B rows, L tokens of the segment, M tokens of the memory, S = M + L, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from omnitune.errors import Mistake


@dataclass(frozen=True)
class Memory:
    """What a model with recurrence over segments carries from one to the next. It has no gradient.

    Args:
        layers: what entered each block, (B, M, D) each.
        held_B: int64, how many of the last of M tokens each row holds.
    """

    layers: list[Tensor]
    held_B: Tensor

    @property
    def size(self) -> int:
        """M."""
        return self.layers[0].shape[1]

    @property
    def real_BM(self) -> Tensor:
        """(B, M) bool, True where a row holds a token."""
        return torch.arange(self.size, 0, -1, device=self.held_B.device) <= self.held_B[:, None]

    def of_rows(self, rows: Tensor) -> "Memory":
        """The memory of some rows, by number, in their order; the same row may be asked for more than once."""
        return Memory([layer[rows] for layer in self.layers], self.held_B[rows])

    def check(self, rows: int, blocks: int, width: int) -> None:
        """Raises `Mistake` where this memory is not one of `rows` texts and of a model of so many blocks and so wide."""
        if len(self.layers) != blocks or self.layers[0].shape[2] != width:
            own = f"{len(self.layers)} blocks of width {self.layers[0].shape[2]}"
            raise Mistake("mems", f"the memory is of {own}, the model has {blocks} of width {width}", "Start without a memory")
        if any(len(layer) != rows for layer in (*self.layers, self.held_B)):
            fix = "Carry every row's memory along (`of_rows` picks and orders them), or start without one"
            raise Mistake("mems", f"the memory is of {len(self.held_B)} rows, the batch of {rows}", fix)


@dataclass(frozen=True)
class Segment:
    """L tokens behind M of a memory.

    Args:
        past: M.
        length: L.
        real_BS: bool, True for tokens of the memory and the segment that are there; None where all are.
        document_BS: number of the document of each, 0 for what goes on from the memory; None where no document begins.
    """

    past: int
    length: int
    real_BS: Tensor | None = None
    document_BS: Tensor | None = None

    @classmethod
    def of(cls, length: int, mems: Memory | None, mask_BL: Tensor | None, starts_BL: Tensor | None) -> "Segment":
        """From a mask that is True where a token is real, and from where documents begin."""
        M = mems.size if mems else 0
        document_BS = None if starts_BL is None or not starts_BL.any() else pad(starts_BL.long().cumsum(1), (M, 0))
        parts = [] if mems is None else [mems.real_BM]
        if mask_BL is not None:
            parts.append(mask_BL.bool())
        elif mems is not None:
            parts.append(torch.ones_like(mems.held_B, dtype=torch.bool)[:, None].expand(-1, length))
        real_BS = torch.cat(parts, 1) if parts else None
        return cls(M, length, None if real_BS is None or real_BS.all() else real_BS, document_BS)

    def unseen(self, window: int | None, device: torch.device) -> Tensor:
        """Which of S tokens each of the segment does not see, (L, S) or (B, 1, L, S) bool.

        Unseen are those behind it, those `window` places or more before it, padding, and those of another document. Each sees itself.
        """
        places = torch.arange(self.past + self.length, device=device)
        back_LS = places[self.past :, None] - places
        unseen = back_LS < 0
        if window is not None:
            unseen = unseen | (back_LS >= max(window, 1))
        if self.real_BS is not None:
            unseen = unseen | ~self.real_BS[:, None, None, :]
        if self.document_BS is not None:
            unseen = unseen | (self.document_BS[:, None, self.past :, None] != self.document_BS[:, None, None, :])
        return unseen & (back_LS != 0)

    def remember(self, entered: Sequence[Tensor], mems: Memory | None, most: int) -> Memory:
        """The memory for the next segment: of each row the last real tokens of its last document, `most` at most.

        Args:
            entered: what entered each block of the segment's tokens, (B, L, D) each.
            mems: the memory so far.
            most: tokens.
        """
        B, device = len(entered[0]), entered[0].device
        keep_BS = torch.ones(B, self.past + self.length, dtype=torch.bool, device=device) if self.real_BS is None else self.real_BS
        if self.document_BS is not None:
            keep_BS = keep_BS & (self.document_BS == self.document_BS[:, -1:])
        held_B = keep_BS.sum(1).clamp(max=most)
        size = int(held_B.max())
        last = slice(keep_BS.shape[1] - size, None)
        # a stable sort brings what is kept to the end, in its order
        order_BM1 = None if bool(keep_BS[:, last].all()) else keep_BS.long().argsort(dim=1, stable=True)[:, last, None]
        layers = []
        for i, x_BLD in enumerate(entered):
            x_BSD = torch.cat([mems.layers[i], x_BLD.detach()], 1) if mems else x_BLD.detach()
            layers.append(x_BSD[:, last].clone() if order_BM1 is None else x_BSD.take_along_dim(order_BM1, 1))
        return Memory(layers, held_B)
