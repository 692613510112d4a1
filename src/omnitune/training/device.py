"""Device: where to compute and in which precision, by what the hardware has."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch


def best_device() -> torch.device:
    """CUDA where there is one, Apple's GPU else, the CPU otherwise."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the device multiplies it natively: on CPUs without such units it is several times slower than float32."""
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def autocast(device: torch.device, name: str) -> AbstractContextManager[Any]:
    """Forward passes in `name`; weights and losses stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if name == "bfloat16" else nullcontext()


def random_states(device: torch.device) -> list[torch.Tensor]:
    """Where the generators stand that a model on `device` draws from."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])]


def set_random_states(states: list[torch.Tensor]) -> None:
    """Puts the generators where `random_states` found them."""
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)


def peak_memory(device: torch.device) -> int:
    """Most bytes held so far: of the GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource
    import sys

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ended, on a GPU or on the CPU."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or (isinstance(error, RuntimeError) and "allocate memory" in str(error))
        or isinstance(error, MemoryError)
    )
