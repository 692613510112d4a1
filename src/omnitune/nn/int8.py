"""int8: linear layers with 8-bit weights, for prediction on a CPU.

Weights are rounded once, each output channel by its own scale; activations in every call, by the range of the call (dynamic quantisation).
So a row's answer depends a little on the rows beside it.
"""

import copy
import warnings
from typing import Any

import torch
from torch import nn

from omnitune.errors import Mistake


def quantised(module: nn.Module, parts: list[str]) -> Any:
    """A copy of `module` whose linear layers inside `parts` (names of submodules) multiply in int8; the rest shares its weights.

    Raises:
        Mistake: there is no linear layer, the module is not on a CPU, or this torch has no int8 for the CPU.
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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of plans to move quantisation out of torch
        for parent, name, child in linear:
            setattr(parent, name, _int8(child))
    return made


def _linear(module: nn.Module) -> nn.Linear | None:
    """A linear layer as torch writes it (GPT-2 writes its own transposed); None for everything else."""
    if type(module) is nn.Linear:
        return module
    if type(module).__name__ != "Conv1D" or not isinstance(weight := getattr(module, "weight", None), nn.Parameter):
        return None
    plain = nn.Linear(weight.shape[0], weight.shape[1], device="meta")
    plain.weight, plain.bias = nn.Parameter(weight.T), module.bias  # type: ignore[assignment]
    return plain


def _int8(linear: nn.Linear) -> nn.Module:
    try:
        from torch.ao.nn.quantized.dynamic import Linear
        from torch.ao.quantization import per_channel_dynamic_qconfig
    except ImportError as error:
        raise Mistake("int8", f"this torch ({torch.__version__}) has none: {error}", "Leave it out, or install torch 2.13") from None
    linear.qconfig = per_channel_dynamic_qconfig  # type: ignore[assignment]
    try:
        made: nn.Module = Linear.from_float(linear)  # type: ignore[no-untyped-call]
    finally:
        del linear.qconfig
    return made
