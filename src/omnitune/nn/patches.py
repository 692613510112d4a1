"""Patches: a picture cut into squares, their places, and models that are shown some of them only.

Shape letters: B rows, C channels, H and W of a picture, p the side of a patch, P patches (left to right, then down), N = C p p numbers in one, K of
them that are visible, L tokens, D width.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn


def cut(x_BCHW: Tensor, patch: int) -> Tensor:
    """(B, P, N): the pixels of each patch by row, column and channel, as MAE orders them. What is left of a side is cut away."""
    rows, columns = (side // patch for side in x_BCHW.shape[2:])
    whole = x_BCHW[:, :, : rows * patch, : columns * patch]
    x_BCrpcp = whole.reshape(*x_BCHW.shape[:2], rows, patch, columns, patch)
    return x_BCrpcp.permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)


def join(x_BPN: Tensor, patch: int, columns: int) -> Tensor:
    """The reverse of `cut`, (B, C, H, W), for so many patches across."""
    x_BrcppC = x_BPN.reshape(len(x_BPN), -1, columns, patch, patch, x_BPN.shape[2] // patch**2)
    return x_BrcppC.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def at(x_BLD: Tensor, places_BK: Tensor) -> Tensor:
    """The tokens at these places, (B, K, D)."""
    return x_BLD.gather(1, places_BK[..., None].expand(-1, -1, x_BLD.shape[2]))


def sincos(rows: int, columns: int, width: int, base: float = 10_000.0) -> Tensor:
    """Fixed positions on a grid, (P, D): sines and cosines of the column, then of the row (Chen et al. 2021, https://arxiv.org/abs/2104.02057).

    That the column comes first is what MAE's authors published weights with.
    """
    rates = base ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    y, x = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in (rows, columns)), indexing="ij")
    angles = [place.flatten()[:, None] * rates for place in (x, y)]
    return torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], 1).float()


class Shown:
    """The part of a Vision Transformer before its blocks, made to hand on the tokens of some patches only, so that the blocks compute no others.

    Positions are added there, so a token knows its place wherever it stands. Tokens that are no patch (of the class, registers) come first.

    Args:
        stem: gives the tokens of all patches, (B, L, D).
        patch: its side, in pixels.
    """

    def __init__(self, stem: nn.Module, patch: int) -> None:
        self.stem, self.patch = stem, patch

    @contextmanager
    def only(self, places_BK: Tensor, pixels_BCHW: Tensor) -> Iterator[None]:
        """Within it, the stem hands on the patches of these pictures at these places, in their order."""
        P = self.patches(*pixels_BCHW.shape[2:])
        hook = self.stem.register_forward_hook(lambda module, given, output: _picked(output, places_BK, P))
        try:
            yield
        finally:
            hook.remove()

    def patches(self, height: int, width: int) -> int:
        """P, of a picture of this size."""
        return (height // self.patch) * (width // self.patch)

    @torch.no_grad()
    def proved(self, read: Callable[..., Tensor], size: tuple[int, int]) -> bool:
        """Whether a model gives the same tokens whatever the order of its patches, and as many fewer as it is shown fewer.

        That fails where positions come in later, or tokens are joined: Swin, BEiT, convolutions.

        Args:
            read: tokens of `pixel_values` and `visible`.
            size: of pictures.
        """
        random, P = torch.Generator().manual_seed(0), self.patches(*size)
        device = next(self.stem.parameters()).device
        pixels, order = torch.randn(1, 3, *size, generator=random).to(device), torch.randperm(P, generator=random)[None].to(device)
        try:
            whole, turned, one = (read(pixel_values=pixels, **more) for more in ({}, {"visible": order}, {"visible": order[:, :1]}))
            before = whole.shape[1] - P
            wanted = torch.cat([whole[:, :before], at(whole[:, before:], order)], 1)
            return one.shape[1] == before + 1 and torch.allclose(turned, wanted, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))
        except (RuntimeError, ValueError, TypeError, IndexError):
            return False


def _picked(output: Any, places_BK: Tensor, patches: int) -> Any:
    x_BLD = output[0] if isinstance(output, tuple) else output
    before = x_BLD.shape[1] - patches
    few = torch.cat([x_BLD[:, :before], at(x_BLD[:, before:], places_BK)], 1)
    return (few, *output[1:]) if isinstance(output, tuple) else few
