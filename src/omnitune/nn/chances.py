"""Chances: draws that are repeated, and how likely each token was that a model wrote.

Shape letters: B rows, L tokens.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def drawing(seed: int, device: torch.device) -> Iterator[None]:
    """Draws from `seed` meanwhile; then the generator is as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def likely(model: Any) -> Iterator[Callable[[Tensor], list[list[float]]]]:
    """Gives what tells how likely each token was that `model` wrote meanwhile, (B, L). The logits of one place at a time are kept."""
    last: list[Tensor] = []
    found: list[Tensor] = []

    def note(ids_B: Tensor) -> None:
        if last:
            found.append(last.pop().gather(1, ids_B[:, None])[:, 0])

    def look(_: Any, __: Any, options: dict[str, Any], out: Any) -> None:
        ids_BL = next(options[name] for name in ("decoder_input_ids", "input_ids") if options.get(name) is not None)
        note(ids_BL[:, -1])
        last.append(out.logits[:, -1].float().softmax(1))

    def chances(made_BL: Tensor) -> list[list[float]]:
        note(made_BL[:, -1])
        told: list[list[float]] = torch.stack(found, 1).tolist()
        return told

    hook = model.register_forward_hook(look, with_kwargs=True)
    try:
        yield chances
    finally:
        hook.remove()
