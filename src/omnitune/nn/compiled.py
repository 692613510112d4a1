"""Compiled blocks: in training, what a block does between its products becomes a few kernels instead of dozens (torch.compile).

One block is compiled and serves all that are alike, so it takes seconds where a whole model would take minutes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


class Compiled:
    """Some blocks of a model.

    Args:
        blocks: that learn, and are called as any module is.
        lengths_differ: from batch to batch, as those of texts do; else a shape is compiled for itself first.
    """

    def __init__(self, blocks: Sequence[nn.Module] = (), lengths_differ: bool = False) -> None:
        self.blocks = list(blocks)
        self.forwards: list[Any] = [torch.compile(block.forward, dynamic=True if lengths_differ else None) for block in self.blocks]

    def use(self, training: bool) -> None:
        """Compiled ones in training; after it, and in between, the blocks as they are, which no validation has to wait for."""
        for block, forward in zip(self.blocks, self.forwards, strict=True):
            if training:
                block.forward = forward
            else:
                block.__dict__.pop("forward", None)
