"""Replay: a model goes on from what its first blocks once made of a batch, without running them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn


class Cut:
    """The end of the last of some blocks, from the first on.

    Args:
        blocks: the first blocks of a model.
        stem: what runs before them, to be left out of a replay too; None lets it run.
    """

    def __init__(self, blocks: Sequence[nn.Module], stem: nn.Module | None) -> None:
        self.blocks, self.stem = list(blocks), stem
        self.seen: Any = None
        self.tuple_of = 0
        self.hook = self.blocks[-1].register_forward_hook(self._note)

    def _note(self, block: nn.Module, given: Any, output: Any) -> None:
        self.tuple_of = len(output) if isinstance(output, tuple) else 0
        self.seen = output[0] if self.tuple_of else output

    def remove(self) -> None:
        """Sees nothing more."""
        self.hook.remove()

    @contextmanager
    def replaced(self, hidden: Tensor) -> Iterator[None]:
        """Within it, the blocks give `hidden`, in the form of the last one's output, and a stem that is known does too."""
        output: Any = (hidden, *[None] * (self.tuple_of - 1)) if self.tuple_of else hidden
        made = [(block, output) for block in self.blocks] + ([(self.stem, hidden)] if self.stem else [])
        for module, value in made:
            module.forward = partial(_give, value)
        try:
            yield
        finally:
            for module, _ in made:
                del module.forward


def _give(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value
