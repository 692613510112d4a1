"""Padding: whether texts are read padded or as flat rows, why, and how much of what was read was padding."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor

from omnitune.nn import dropout, flat, varlen


class Padding:
    """Of one model that reads texts.

    Args:
        model: a model of transformers.

    Attributes:
        flat: whether flat rows are wanted.
        positions_from: what positions of flat rows start with; None for texts that must stay padded.
    """

    def __init__(self, model: Any) -> None:
        self.model, self.flat = model, True
        self.positions_from: int | None = None
        self.tokens = Counter[str]()
        self._drops, self._refused = 0.0, dict[tuple[str, torch.dtype], str | None]()
        self._why: str | None = None

    def prepare(self) -> None:
        """Finds out whether it can read flat rows, now that its weights are there."""
        self.positions_from = flat.prepare(self.model)

    def note_dropout(self) -> None:
        """Is told that the shares that training drops have changed."""
        self._drops = dropout.attention_share(self.model)

    def why(self, device: torch.device, training: bool) -> str | None:
        """Why texts are not read as flat rows there; None where they are."""
        if not self.flat:
            self._why = "train.flat is false"
        elif self.positions_from is None:
            self._why = f"{type(self.model).__name__} cannot read flat rows"
        else:
            self._why = None if device.type == "cpu" else self._beside_cpu(device, training)
        return self._why

    def _beside_cpu(self, device: torch.device, training: bool) -> str | None:
        """Nothing is taken on trust: two rows must give the same tokens there, which is tried once for each precision."""
        if device.type not in getattr(self.model, "flat_on", (device.type,)):
            return f"{type(self.model).__name__} reads flat rows on a CPU alone"
        if training and self._drops:
            return "FlashAttention of flat rows drops no weights; with train.attention_dropout 0 they are read flat"
        dtype = varlen.computed_in(device, self.model.dtype)
        if (device.type, dtype) not in self._refused:
            why = varlen.lacking(device, dtype) or flat.wrong(self.model, self.positions_from or 0)
            self._refused[device.type, dtype] = why
        return self._refused[device.type, dtype]

    def count(self, real_BL: Tensor) -> None:
        """Notes what is read of a batch; on its device, so that nothing waits for the numbers."""
        self.tokens.update({"real": real_BL.sum(), "read": real_BL.numel()})

    def share(self) -> str:
        """How much of what was read was padding, for a report; nothing where nothing was read."""
        return f"; {1 - int(self.tokens['real']) / self.tokens['read']:.1%} of the tokens were padding" if self.tokens else ""

    def told(self, device: torch.device) -> str:
        """How texts were read, or would be, for a report."""
        why = self._why if self.tokens else self.why(device, training=False)
        return f"padded: {why}{self.share()}" if why else "flat rows, no padding"
