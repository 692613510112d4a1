"""Bias: biases and norms learn, every matrix stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

from omnitune.component import component
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class Bias(Tuning):
    """Biases learn (BitFit, Ben Zaken et al. 2022), and the weights of norms, since models such as Llama have no bias."""

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`."""
        norms = {name + ".weight" for name, module in encoder.named_modules() if "norm" in type(module).__name__.lower()}
        encoder.requires_grad_(False)
        for name, weight in encoder.weights():
            weight.requires_grad_(name.endswith("bias") or name in norms)
