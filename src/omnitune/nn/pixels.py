"""Pixels: what the hidden patches of a picture look like, asked of the backbone that read the visible ones.

Shape letters: B rows, H and W of a picture, P patches, K of them visible and M hidden, N numbers in a patch, L tokens, D width.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omnitune.nn import patches
from omnitune.nn.heads import Head
from omnitune.nn.mae import Decoder, targets
from omnitune.nn.pictures import Normalise
from omnitune.nn.tokens import Loss, View


class PixelHead(Head):
    """A masked autoencoder's decoder on the tokens of one input (see `mae`). No patch is drawn that is visible.

    Target: `pixels` (B, 3, H, W) uint8; `visible` (B, K) and `hidden` (B, M), places of patches; `weight` (B,), 1 or 0; `y` (B, 1), hidden numbers.

    Args:
        of: the input.
        decoder: draws patches.
        patch: their side, in pixels.
        mean, std: of red, green and blue, for values in [0, 1], as the backbone wants them.
        normalise: see `targets`.
    """

    def __init__(self, of: str, decoder: Decoder, patch: int, mean: Sequence[float], std: Sequence[float], normalise: bool) -> None:
        super().__init__()
        self.of, self.decoder, self.patch, self.normalise = of, decoder, patch, normalise
        self.numbers = Normalise(mean, std)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Of a row: the mean squared error of its hidden numbers."""
        return self._loss(*self._ask(view, target), target["weight"])

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """What `costs` gives, and the loss."""
        found_BMN, wanted_BMN = self._ask(view, target)
        return costs(found_BMN, wanted_BMN), self._loss(found_BMN, wanted_BMN, target["weight"])

    def wanted(self, target: dict[str, Tensor]) -> Tensor:
        """What every patch looks like, the visible ones too, (B, P, N) float32."""
        return targets(self.numbers(target["pixels"]), self.patch, self.normalise)

    def _ask(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The hidden patches as drawn, and as they are, (B, M, N) float32 each."""
        found_BMN = self.decoder(view.streams[self.of].x_BLD, target["visible"], target["hidden"])
        with torch.autocast(found_BMN.device.type, enabled=False):
            return found_BMN.float(), patches.at(self.wanted(target), target["hidden"])

    @staticmethod
    def _loss(found_BMN: Tensor, wanted_BMN: Tensor, weight_B: Tensor) -> Loss:
        return Loss(((found_BMN - wanted_BMN).square().mean((1, 2)) * weight_B).sum(), weight_B.sum())


def costs(found_BMN: Tensor, wanted_BMN: Tensor) -> Tensor:
    """(B, 2): the squared error of all hidden numbers of a row, and their squared distance from their own mean: how much there is to say."""
    apart_B = (wanted_BMN - wanted_BMN.mean((1, 2), keepdim=True)).square().sum((1, 2))
    return torch.stack([(found_BMN - wanted_BMN).square().sum((1, 2)), apart_B], 1)
