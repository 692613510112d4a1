"""LoRA: a product of two thin matrices learns beside each large one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake, did_you_mean
from omnitune.tuning import Tuning

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder


@component
class LoRA(Tuning):
    """Low-rank adapters (Hu et al. 2022) on the matrices of the blocks; everything else in the backbone stays. Where a task writes with the decoder
    of an encoder-decoder, the matrices of its blocks are adapted too. A backbone that starts from nothing is refused: what stays would never have
    learned.

    Args:
        rank: of the product.
        alpha: the product is scaled by alpha / rank; twice the rank where it is left out.
        dropout: on the input of the adapters.
        targets: names of layers to adapt, as they end (`query`, `q_proj`); every linear layer inside the blocks where it is empty, and
            in convolutional networks without one every pointwise convolution.
        blocks: adapt only so many of the last blocks, of an encoder and of a decoder.
        one_product: add an adapter to its weight before the product, where that is cheaper; the same but for rounding. Not with `dropout`.
    """

    rank: int = Field(default=8, ge=1)
    alpha: float | None = Field(default=None, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ()
    blocks: int | None = Field(default=None, ge=1)
    one_product: bool = True

    @property
    def adapts(self) -> bool:
        """Always."""
        return True

    def apply(self, encoder: Encoder) -> None:
        """See `Tuning.apply`. Raises `Mistake` where nothing can be adapted, or a target names no layer."""
        from peft import LoraConfig

        layers = self._layers(encoder)
        scale: Any = 2 * self.rank if self.alpha is None else self.alpha  # peft's annotation says int; it divides
        config = LoraConfig(r=self.rank, lora_alpha=scale, lora_dropout=self.dropout, target_modules=list(layers))
        config.fan_in_fan_out = any(type(layer).__name__ == "Conv1D" for layer in layers.values())
        config.base_model_name_or_path = encoder.model.config.name_or_path or None
        encoder.adapt(config, self.one_product, self._written(encoder))

    def _written(self, encoder: Encoder) -> list[str]:
        """The layers of a decoder to adapt, by name in it."""
        from omnitune.nn.blocks import find_blocks
        from omnitune.nn.decoder import Decoder

        if not isinstance(encoder.lm_head, Decoder):
            return []
        blocks = list(zip(*find_blocks(encoder.lm_head.whole), strict=True))
        names = [f"{name}.{n}" for name, block in blocks[-(self.blocks or len(blocks)) :] for n in _matrices(block)]
        return [name for name in names if not self.targets or any(_ends(name, t) for t in self.targets)]

    def _layers(self, encoder: Encoder) -> dict[str, Any]:
        """The layers to adapt, by name in the model."""
        present = len(encoder.blocks)
        if self.blocks is not None and self.blocks > present:
            raise Mistake("tuning.blocks", f"{self.blocks} blocks are to be adapted, but a backbone has {present}", "Ask for fewer, or leave it out")
        first = present - (self.blocks or present)
        blocks = list(zip(encoder.names, encoder.blocks, strict=True))[first:]
        matrices = {f"{name}.{n}": m for name, block in blocks for n, m in _matrices(block).items()}
        if not matrices:
            raise Mistake("tuning", f"{type(encoder.model).__name__} has no blocks with layers to adapt", "Use tuning: full, bias or probe")
        unknown = [t for t in self.targets if not any(_ends(name, t) for name in matrices)]
        if unknown:
            endings = sorted({name.rpartition(".")[2] for name in matrices})
            raise Mistake("tuning.targets", f"no layer called {unknown[0]!r} in a block", did_you_mean(unknown[0], endings))
        return {n: m for n, m in matrices.items() if not self.targets or any(_ends(n, t) for t in self.targets)}


def _matrices(block: Any) -> dict[str, Any]:
    """Linear layers of a block (GPT-2 calls them Conv1D), or its pointwise convolutions where it has none."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    modules = dict(block.named_modules())
    linear: dict[str, Any] = {name: m for name, m in modules.items() if isinstance(m, (nn.Linear, Conv1D))}
    return linear or {n: m for n, m in modules.items() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1) and m.groups == 1}


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith("." + target)
