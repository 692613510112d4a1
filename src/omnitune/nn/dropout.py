"""Dropout with cheap draws, and how much of it a pretrained model has."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

LEVELS = 2**16
ATTENTION = ("dropout", "attn_dropout", "attention_dropout", "dropout_prob")
"""What attention layers call the dropout of their weights."""
NUMBERS = (*ATTENTION, "activation_dropout")
"""Dropout that is kept as a plain number."""


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` from 16 random bits a value, its share to the nearest 1 / 65536.

    On a CPU torch draws a whole number for each value, one thread alone: a good part of a fine-tuning step (docs/log.md 2026-11-23). The draws
    come from torch's own generator, so seeds and resumed runs hold; they are other draws than torch's.
    """

    def forward(self, input: Tensor) -> Tensor:
        """`input` with a share `p` of its values at zero, in training."""
        dropped = round(self.p * LEVELS)
        if not self.training or not 0 < dropped < LEVELS or input.device.type != "cpu":
            return super().forward(input)
        bits = torch.empty(-(-input.numel() // 4), dtype=torch.int64).random_(-(2**63), None).view(torch.int16)
        keep = (bits[: input.numel()] >= dropped - LEVELS // 2).view(input.shape)
        kept: Tensor = torch.ops.aten.native_dropout_backward(input, keep, LEVELS / (LEVELS - dropped))  # input * keep * scale, and its gradient too
        return kept


def set_share(model: nn.Module, layers: float | None, attention: float | None) -> None:
    """Sets the dropout of layers, and that of attention weights, which models keep as a module or as a plain number; None leaves it."""
    for module, name, found in _places(model):
        share = attention if name in ATTENTION and _attends(module) else layers
        if share is None:
            continue
        if isinstance(found, nn.Dropout):
            found.p = share
        else:
            setattr(module, name, share)


def attention_share(model: nn.Module) -> float:
    """The largest share of attention weights that training drops anywhere in it."""
    kept = [found for module, name, found in _places(model) if name in ATTENTION and _attends(module)]
    return max((found.p if isinstance(found, nn.Dropout) else found for found in kept), default=0.0)


def _places(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Dropout | float]]:
    """Where a share to drop is kept: in which module, under which name, and what it is."""
    for module in model.modules():
        for name, found in [*module.named_children(), *vars(module).items()]:
            if isinstance(found, nn.Dropout) or (isinstance(found, float) and name in NUMBERS):
                yield module, name, found


def _attends(module: nn.Module) -> bool:
    kind = type(module).__name__.lower()
    return "attention" in kind and "layer" not in kind  # T5's `LayerSelfAttention` drops what attention gave
