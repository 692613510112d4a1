"""Branches: several texts behind one prompt, none of which sees another. Laid in one row, the prompt is computed once for all of them.

Shape letters: B rows, L tokens of the prompt and all its texts, T real tokens of all rows, R texts of all rows, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omnitune.nn.flat import REFUSED, Layout
from omnitune.nn.tokens import Tokens


@dataclass(frozen=True)
class Rows:
    """Prompts, each with the texts behind it.

    Args:
        ids_BL: the prompt first, then the texts in their order; padded on the right.
        mask_BL: True where a token is real.
        branch_BL: 0 in the prompt, from 1 on the number of the text.
    """

    ids_BL: Tensor
    mask_BL: Tensor
    branch_BL: Tensor

    def first(self, rows: int) -> "Rows":
        """Some of them."""
        return Rows(self.ids_BL[:rows], self.mask_BL[:rows], self.branch_BL[:rows])

    @property
    def places_BL(self) -> Tensor:
        """How many tokens stand before each one, those of other texts not counted: each text goes on where the prompt ends."""
        place_BL = torch.arange(self.mask_BL.shape[1], device=self.mask_BL.device).expand_as(self.mask_BL)
        prompt_B1 = ((self.branch_BL == 0) & self.mask_BL).sum(1, keepdim=True)
        rising_BL = self.branch_BL.where(self.mask_BL, self.branch_BL.max() + 1)
        first_BL = torch.searchsorted(rising_BL.contiguous(), self.branch_BL.contiguous())
        return torch.where(self.branch_BL > 0, prompt_B1 + place_BL - first_BL, place_BL)

    def told(self, layout: Layout) -> tuple[Tensor, Tensor]:
        """Laid end to end: the places of tokens (1, T), and what `flat.attention` is told, (1, 3, 1, T): of each token its row, branch and place."""
        place_1T, branch_1T = layout.flatten(self.places_BL), layout.flatten(self.branch_BL)
        lengths_B = layout.lengths
        row_T = torch.arange(len(lengths_B), device=lengths_B.device).repeat_interleave(lengths_B)
        return place_1T, torch.stack([row_T, branch_1T[0], place_1T[0]])[None, :, None]


def apart(rows: Rows, read: Callable[[Tensor, Tensor], Tokens]) -> Tensor:
    """The tokens (B, L, D) with each text behind a prompt of its own, which `read` is given."""
    (B, L), device = rows.mask_BL.shape, rows.ids_BL.device
    most_B = torch.where(rows.mask_BL, rows.branch_BL, 0).amax(1).clamp(min=1)
    row_R = torch.arange(B, device=device).repeat_interleave(most_B)
    text_R1 = (1 + torch.arange(len(row_R), device=device) - (most_B.cumsum(0) - most_B)[row_R])[:, None]
    branch_RL = rows.branch_BL[row_R]
    kept_RL = rows.mask_BL[row_R] & ((branch_RL == 0) | (branch_RL == text_R1))
    order_RL = kept_RL.int().argsort(dim=1, descending=True, stable=True)[:, : int(kept_RL.sum(1).max())]
    real_RL = kept_RL.gather(1, order_RL)
    made = read(rows.ids_BL[row_R].gather(1, order_RL), real_RL).x_BLD
    used_RL = real_RL & ((branch_RL.gather(1, order_RL) > 0) | (text_R1 == 1))  # of a prompt that stands in several rows the first
    where_N = (row_R[:, None] * L + order_RL)[used_RL]
    return made.new_zeros(B * L, made.shape[2]).index_copy(0, where_N, made[used_RL]).view(B, L, -1)


@torch.no_grad()
def proved(rows: Rows, together: Callable[[Rows], Tensor], read: Callable[[Tensor, Tensor], Any]) -> bool:
    """Whether prompts that are computed once give the same tokens."""
    wanted = apart(rows, read)
    try:
        found = together(rows)
    except torch.OutOfMemoryError:  # says nothing of the model
        raise
    except REFUSED:
        return False
    return torch.allclose(found * rows.mask_BL[..., None], wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
