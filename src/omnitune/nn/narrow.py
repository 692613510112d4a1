"""Narrow: after its attention, the last block computes only the tokens that pooling reads.

A class token or a last token stands for its row, yet the last block would make all tokens. Its attention has to read them; what follows (the
residual, the norms, the feed-forward layer: two thirds of its products) need not.

Shape letters: B rows, L tokens, D width; flat rows have B = 1.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

PROJECTIONS = ({"query", "key", "value"}, {"q_proj", "k_proj", "v_proj"}, {"q_lin", "k_lin", "v_lin"}, {"c_attn"}, {"qkv"}, {"Wqkv"})
"""The layers that read what attention reads, by the names that models give them."""


class Narrow:
    """The last block of a model whose attention reads all tokens and whose rest may read a few.

    Args:
        block: the last block.
        attention: the module inside it that holds the projections.
        norm: what stands between the block's input and `attention`; None where there is nothing.
    """

    def __init__(self, block: nn.Module, attention: nn.Module, norm: nn.Module | None) -> None:
        self.block, self.attention, self.norm = block, attention, norm
        self.all: Tensor | None = None

    @contextmanager
    def to(self, places: Tensor) -> Iterator[None]:
        """Within it, the block gives only the tokens at `places`, (B, P) int64 for (B, L, D)."""
        hooks = [
            self.block.register_forward_pre_hook(lambda _, args, kwargs: self._few(places, args, kwargs), with_kwargs=True),
            self.attention.register_forward_pre_hook(self._read_all, with_kwargs=True),
            self.attention.register_forward_hook(lambda _, args, output: _replaced_output(output, _at(_first(output), places))),
        ]
        try:
            yield
        finally:
            self.all = None
            for hook in hooks:
                hook.remove()

    def _few(self, places: Tensor, args: Any, kwargs: Any) -> Any:
        self.all = _input(args, kwargs)
        return _replaced_input(args, kwargs, _at(self.all, places))

    def _read_all(self, module: nn.Module, args: Any, kwargs: Any) -> Any:
        return _replaced_input(args, kwargs, self.norm(self.all) if self.norm else self.all)


def find(model: nn.Module, block: nn.Module, run: Any) -> Narrow | None:
    """How to narrow `block`; None where it is not built like a Transformer's block, its attention after at most one norm.

    Args:
        model: the whole model.
        block: its last block.
        run: calls the model on some rows.
    """
    attention = [m for m in block.modules() if {name for name, _ in m.named_children()} and _projects(m)]
    if len(attention) != 1:
        return None
    seen: dict[nn.Module, tuple[Any, Any]] = {}
    watched = [module for module in block.modules() if module is attention[0] or not list(module.children())]
    hooks = [m.register_forward_hook(lambda m, a, k, o: seen.setdefault(m, (_input(a, k), o)) and None, with_kwargs=True) for m in watched]
    hooks.append(block.register_forward_pre_hook(lambda m, a, k: seen.setdefault(m, (_input(a, k), None)) and None, with_kwargs=True))
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    if block not in seen or attention[0] not in seen:
        return None
    enters, read = seen[block][0], seen[attention[0]][0]
    if read is enters:
        return Narrow(block, attention[0], None)
    norms = [module for module, (given, made) in seen.items() if given is enters and made is read]
    return Narrow(block, attention[0], norms[0]) if norms else None


def _projects(module: nn.Module) -> bool:
    names = {name for name, _ in module.named_children()}
    return any(wanted <= names for wanted in PROJECTIONS)


def _at(x_BLD: Tensor, places_BP: Tensor) -> Tensor:
    return torch.take_along_dim(x_BLD, places_BP[..., None], 1)


def _first(output: Any) -> Any:
    return output[0] if isinstance(output, tuple) else output


def _replaced_output(output: Any, x: Tensor) -> Any:
    return (x, *output[1:]) if isinstance(output, tuple) else x


def _input(args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs.get("hidden_states")


def _replaced_input(args: Any, kwargs: Any, x: Any) -> Any:
    return ((x, *args[1:]), kwargs) if args else (args, kwargs | {"hidden_states": x})
