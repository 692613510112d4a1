"""Series: numbers in their order as patches, read by a small Transformer.

Shape letters: B rows, L numbers, P patches, N numbers of a patch, D width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from omnitune.nn.block import Block
from omnitune.nn.tokens import Tokens

SMALLEST = 1e-5
"""Deviation of a row below which it counts as constant."""


class SeriesEncoder(nn.Module):
    """Patches of N numbers as tokens (PatchTST, Nie et al. 2023, https://arxiv.org/abs/2211.14730), numbered from the first. What is a gap, and how
    much of the first patch is there, is told beside the numbers; a patch that is all gap is a token too, so that the last one is where a row ends.

    Args:
        patch: N.
        places: patches of the longest series; of a longer one the last are read.
        width: D.
        layers, heads, dropout: of the blocks.
        causal: a patch sees itself and those before it, and the last one stands for the row; else their mean.
        per_row: reads each row in units of its own mean and deviation.
    """

    def __init__(self, patch: int, places: int, width: int, layers: int, heads: int, dropout: float, causal: bool, per_row: bool) -> None:
        super().__init__()
        self.patch, self.places, self.width, self.causal, self.per_row = patch, places, width, causal, per_row
        self.embed = nn.Linear(2 * patch, width)
        self.positions = nn.Parameter(0.02 * torch.randn(places, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout, causal=causal) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `values` and `known` (B, L), the last number in the last column, and `present` (B,)."""
        return self.read(inputs["values"], inputs["known"], *self.units(inputs)).only(inputs["present"])

    def units(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Mean and deviation that each row is read in, (B, 1) each: its own, or 0 and 1."""
        values_BL, known_BL = inputs["values"].float(), inputs["known"].float()
        if not self.per_row:
            return torch.zeros_like(values_BL[:, :1]), torch.ones_like(values_BL[:, :1])
        count_B1 = known_BL.sum(1, keepdim=True).clamp(min=1)
        mean_B1 = (values_BL * known_BL).sum(1, keepdim=True) / count_B1
        deviation_B1 = (((values_BL - mean_B1) * known_BL).square().sum(1, keepdim=True) / count_B1).sqrt()
        return mean_B1, torch.where(deviation_B1 > SMALLEST, deviation_B1, 1.0)

    def read(self, values_BL: Tensor, known_BL: Tensor, mean_B1: Tensor, deviation_B1: Tensor) -> Tokens:
        """Tokens (B, P, D), the first patch of each row first."""
        places = Places(known_BL[:, -self.places * self.patch :], self.patch)
        known_BPN = places.patches(known_BL)
        values_BPN = places.patches((values_BL - mean_B1) / deviation_B1) * known_BPN
        x_BPD = self.embed(torch.cat([values_BPN, known_BPN.to(values_BPN.dtype)], 2)) + self.positions[: places.most]
        for block in self.blocks:
            x_BPD = block(x_BPD, places.real_BP)
        return Tokens(self.norm(x_BPD), places.real_BP & known_BL.any(1, keepdim=True), "last" if self.causal else "mean")


class Places:
    """Where each row has its patches. Patches end where rows end, so that the last one is whole; the first begins where the row does, or before it.

    Args:
        known_BL: which numbers are there. A row begins with the first; one without any has one patch.
        patch: N.
    """

    def __init__(self, known_BL: Tensor, patch: int) -> None:
        length, self.patch = known_BL.shape[1], patch
        self.most = -(-length // patch)
        first_B = torch.where(known_BL.any(1), known_BL.int().argmax(1), length - 1)
        self.count_B = -(-(length - first_B) // patch)  # patches of each row
        places_P = torch.arange(self.most, device=known_BL.device)
        self.real_BP = places_P < self.count_B[:, None]
        self.order_BP = (places_P + self.most - self.count_B[:, None]).clamp(max=self.most - 1)

    def patches(self, x_BL: Tensor) -> Tensor:
        """(B, P, N), each row's first patch first; zeros behind its last. Of numbers that have no place, the first are left out."""
        x_BL = x_BL[:, -self.most * self.patch :]
        padded = nn.functional.pad(x_BL, (self.most * self.patch - x_BL.shape[1], 0))
        x_BPN = padded.view(len(padded), self.most, self.patch)
        moved = x_BPN.gather(1, self.order_BP[..., None].expand(-1, -1, x_BPN.shape[2]))
        return moved * self.real_BP[..., None]
