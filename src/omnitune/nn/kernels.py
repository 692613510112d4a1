"""Kernels: layers of a pretrained model that have a faster twin are replaced by it."""

from torch import nn

from omnitune.nn.dropout import Dropout

TANH_GELU = ("NewGELUActivation", "FastGELUActivation")
"""GELU by tanh, composed of eight operations that each read and write all values; torch does it in one."""


def quicken(model: nn.Module) -> None:
    """Every `torch.nn.Dropout` inside `model` becomes one with cheaper draws, every composed GELU the fused one."""
    for module in model.modules():
        for name, child in module.named_children():
            if type(child) is nn.Dropout:
                setattr(module, name, Dropout(child.p).train(child.training))
            elif type(child).__name__ in TANH_GELU:
                setattr(module, name, nn.GELU("tanh"))
