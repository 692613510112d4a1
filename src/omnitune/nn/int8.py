"""int8: linear layers with 8-bit weights, for prediction on a CPU.

Weights are rounded once, each output channel by its own scale; activations in every call, by the range of the call (dynamic quantisation).
So a row's answer depends a little on the rows beside it.
"""

import copy
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake


class Int8Linear(nn.Module):
    """A linear layer in int8, from float32 to float32.

    Args:
        weight: (out, in) float32.
        bias: (out,).
    """

    weight = None
    """T5 asks a layer for the type of its weight."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = (weight.abs().amax(1).clamp(min=1e-12) / 127).double()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of plans to move quantised tensors out of torch
            whole = torch.quantize_per_channel(weight, scale, torch.zeros(len(scale), dtype=torch.int64), 0, torch.qint8)
        self.packed = torch.ops.quantized.linear_prepack(whole, bias)
        self.narrow = not torch.cpu._is_vnni_supported()
        """Seven bits for activations: without VNNI the sums of eight overflow. With it, eight halve the error."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        made: Tensor = torch.ops.quantized.linear_dynamic(x.float(), self.packed, self.narrow)
        return made


def quantised(module: nn.Module, parts: list[str]) -> Any:
    """A copy of `module` whose linear layers inside `parts` (names of submodules) multiply in int8; the rest shares its weights.

    Raises:
        Mistake: there is no linear layer, or the module is not on a CPU.
    """
    shared: list[Any] = [*module.parameters(), *module.buffers()]
    device = next((tensor.device for tensor in shared), torch.device("cpu"))
    if device.type != "cpu":
        raise Mistake("int8", f"the model is on {device}, and int8 is for CPUs", "Leave it out, or load the model with device=torch.device('cpu')")
    made = copy.deepcopy(module, {id(tensor): tensor for tensor in shared})
    places = [(parent, name, child) for part in parts for parent in made.get_submodule(part).modules() for name, child in parent.named_children()]
    found = [(parent, name, _linear(child)) for parent, name, child in places]
    linear = [(parent, name, child) for parent, name, child in found if child is not None]
    if not linear:
        raise Mistake("int8", "no backbone with linear layers is in this model", "Leave it out: it would change nothing")
    with torch.no_grad():
        for parent, name, (weight, bias) in linear:
            setattr(parent, name, Int8Linear(weight, bias))
    return made


def _linear(module: nn.Module) -> tuple[Tensor, Tensor | None] | None:
    """Weight (out, in) and bias of a linear layer as torch writes it, or as GPT-2 does, transposed; None for everything else."""
    from transformers.pytorch_utils import Conv1D

    if type(module) is nn.Linear:
        return module.weight, module.bias
    return (module.weight.T.contiguous(), module.bias) if isinstance(module, Conv1D) else None
