"""Rebuild: tokens through a few numbers, and back to what they were made from.

Shape letters: B rows, L tokens, D their width, Q queries, d width of a query, K numbers that are kept, N numbers of a picture or series.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate, scaled_dot_product_attention

from omnitune.nn.heads import RowHead
from omnitune.nn.tokens import Loss, Tokens, View

LEVELS = 255
"""Steps of a number from -1 to 1 that is stored in 8 bits."""
QUERIES, INSIDE = 16, 32
CHANNELS, CORNER = (64, 48, 32, 24, 16, 12), 4
"""Of a picture decoder: channels at 4 x 4, 8 x 8 and so on."""


class RebuildHead(RowHead):
    """K numbers of the tokens of one input, bounded by tanh so that each fits into 8 bits, and a decoder.

    Target: `wanted` and `known` (B, N); `weight` (B,), 1 or 0; `y` (B, 2), how many numbers are known, and what metrics compare with.

    Args:
        of: the input.
        width: D.
        kept: K.
        decoder: from (B, K) to (B, N).
    """

    def __init__(self, of: str, width: int, kept: int, decoder: nn.Module) -> None:
        super().__init__()
        self.of, self.squeeze, self.decoder = of, Squeeze(width, kept), decoder

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Of a row: the mean squared error of what is known, times `weight`."""
        return self._loss(self.decoder(self._code(view)), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 2): the sum of the squared errors of what is known, and that of what 8 bits a number would give, in the table's units; and the loss."""
        code_BK = self._code(view)
        said = [self.decoder(code) for code in (code_BK, rounded(code_BK))]
        scale_B = view.inputs[self.of]["spread"].square() if "spread" in view.inputs[self.of] else 1.0
        wrong = [((x_BN - target["wanted"]) * target["known"]).square().sum(1) * scale_B for x_BN in said]
        return torch.stack(wrong, 1), self._loss(said[0], target)

    def predict(self, view: View) -> Tensor:
        """The numbers that are kept, (B, K); NaN for a missing input."""
        return torch.where(view.streams[self.of].present[:, None], self._code(view), torch.nan)

    def _code(self, view: View) -> Tensor:
        tokens = view.streams[self.of]
        with torch.autocast(tokens.x_BLD.device.type, enabled=False):
            code_BK: Tensor = self.squeeze(Tokens(tokens.x_BLD.float(), tokens.mask_BL, tokens.pool))
            return code_BK

    @staticmethod
    def _loss(said_BN: Tensor, target: dict[str, Tensor]) -> Loss:
        wrong_BN = (said_BN - target["wanted"]).square() * target["known"]
        row_B = wrong_BN.sum(1) / target["known"].sum(1).clamp(min=1)
        return Loss((row_B * target["weight"]).sum(), target["weight"].sum())


def rounded(code: Tensor) -> Tensor:
    """Numbers from -1 to 1 as 8 bits keep them."""
    return ((code + 1) / 2 * LEVELS).round() / LEVELS * 2 - 1


class Squeeze(nn.Module):
    """Numbers of all tokens: learned queries that each look where they like (a Perceiver's, Jaegle et al. 2021, https://arxiv.org/abs/2103.03206),
    side by side through one layer. Tokens are told apart by their place too.

    Args:
        width: D.
        kept: K.
    """

    def __init__(self, width: int, kept: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.queries = nn.Parameter(torch.randn(QUERIES, INSIDE))
        self.keys, self.values = nn.Linear(width, INSIDE), nn.Linear(width, INSIDE)
        self.out = nn.Linear(QUERIES * INSIDE, kept)

    def forward(self, tokens: Tokens) -> Tensor:
        """(B, K), from -1 to 1."""
        x_BLD, real_BL = self.norm(tokens.x_BLD), tokens.mask_BL.clone()
        real_BL[:, 0] |= ~real_BL.any(1)  # attention over nothing is NaN
        keys_BLd = self.keys(x_BLD) + places(x_BLD.shape[1], INSIDE, x_BLD.device)
        queries_BQd = self.queries.expand(len(x_BLD), -1, -1)
        found_BQd = scaled_dot_product_attention(queries_BQd, keys_BLd, self.values(x_BLD), real_BL[:, None])
        code_BK: Tensor = torch.tanh(self.out(found_BQd.flatten(1)))
        return code_BK


def places(length: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of places (Vaswani et al. 2017, section 3.5), (L, d)."""
    rates = torch.exp(-math.log(1000.0) * torch.arange(0, width, 2, device=device) / width)
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class SeriesDecoder(nn.Module):
    """A linear map, as principal components have it, and what a perceptron adds to it; at first nothing.

    Args:
        kept: K.
        length: N.
    """

    def __init__(self, kept: int, length: int) -> None:
        super().__init__()
        self.linear = nn.Linear(kept, length)
        self.more = nn.Sequential(nn.Linear(kept, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(), _silent(nn.Linear(128, length)))

    def forward(self, code_BK: Tensor) -> Tensor:
        """(B, N)."""
        x_BN: Tensor = self.linear(code_BK) + self.more(code_BK)
        return x_BN


class PictureDecoder(nn.Module):
    """The same for pictures: a linear map, and what convolutions add that grow it from 4 x 4.

    Args:
        kept: K.
        size: pixels of a side.
    """

    def __init__(self, kept: int, size: int) -> None:
        super().__init__()
        stages = int(math.log2(size // CORNER))
        widths = CHANNELS[: stages + 1]
        self.linear = nn.Linear(kept, 3 * size * size)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.constant_(self.linear.bias, 0.5)
        self.seed = nn.Linear(kept, widths[0] * CORNER * CORNER)
        self.grow = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(widths))
        self.out = _silent(nn.Conv2d(widths[-1], 3, 3, padding=1))

    def forward(self, code_BK: Tensor) -> Tensor:
        """(B, 3 * size * size)."""
        x_BCHW = gelu(self.seed(code_BK)).view(len(code_BK), -1, CORNER, CORNER)
        for conv in self.grow:
            x_BCHW = gelu(conv(interpolate(x_BCHW, scale_factor=2.0, mode="nearest")))
        x_BN: Tensor = self.linear(code_BK) + self.out(x_BCHW).flatten(1)
        return x_BN


def _silent(layer: nn.Linear | nn.Conv2d) -> nn.Module:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
