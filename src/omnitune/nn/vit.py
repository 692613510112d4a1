"""ViT: a picture as a sequence of patches, read by the blocks of a Transformer (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929).

Shape letters: B rows, C channels, H and W of a picture in pixels, P patches (left to right, then down), K of them that are visible, L tokens
(K or P, and one more with a class token), D width.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutput, ImageClassifierOutput
from transformers.utils import can_return_tuple

from omnitune.errors import Mistake
from omnitune.nn import patches, vit_files
from omnitune.nn.block import Block
from omnitune.nn.dropout import Dropout
from omnitune.nn.vit_config import VisionTransformerConfig


class Embeddings(nn.Module):
    """Patches as vectors at their positions, with a class token before them where the model has one."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__()
        self.grid, self.patch, self.before = config.grid, config.patch_size, int(config.class_token)
        self.project = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, config.patch_size)
        self.class_token = nn.Parameter(torch.zeros(config.hidden_size)) if config.class_token else None
        fixed = config.positions == "sincos"
        self.positions = nn.Parameter(torch.zeros(self.before + self.grid**2, config.hidden_size), requires_grad=not fixed)  # (L, D)
        self.dropout = Dropout(config.dropout)

    def forward(self, pixels_BCHW: Tensor, visible_BK: Tensor | None = None) -> Tensor:
        """(B, L, D), of the patches at `visible` alone where that is given, in its order.

        Raises:
            Mistake: a picture has another number of channels, or is smaller than a patch.
        """
        channels, height, width = pixels_BCHW.shape[1:]
        if channels != self.project.in_channels or min(height, width) < self.patch:
            wrong = f"{channels} channels of {height} x {width} pixels cannot be read"
            raise Mistake("pixel_values", wrong, f"Give {self.project.in_channels} channels of {self.patch} x {self.patch} pixels at least")
        positions_LD = self.positions_of(height // self.patch, width // self.patch)
        x_BLD = self.project(pixels_BCHW).flatten(2).transpose(1, 2) + positions_LD[self.before :]
        if visible_BK is not None:
            x_BLD = patches.at(x_BLD, visible_BK)
        if self.class_token is not None:
            first_D = self.class_token + positions_LD[0]
            x_BLD = torch.cat([first_D.expand(len(x_BLD), 1, -1), x_BLD], 1)
        dropped: Tensor = self.dropout(x_BLD)
        return dropped

    def positions_of(self, rows: int, columns: int) -> Tensor:
        """(L, D) for so many patches down and across: the table, or for another picture size what lies between its numbers (section 3.2)."""
        if (rows, columns) == (self.grid, self.grid):
            return self.positions
        grid_1DHW = self.positions[self.before :].T.reshape(1, -1, self.grid, self.grid)
        between = nn.functional.interpolate(grid_1DHW, (rows, columns), mode="bicubic", align_corners=False)
        return torch.cat([self.positions[: self.before], between[0].flatten(1).T])


class Layer(GradientCheckpointingLayer, Block):  # type: ignore[misc]
    """A block that transformers may tell to compute its activations again in the backward pass."""


class _Saved(PreTrainedModel):  # type: ignore[misc]
    """How every ViT is initialised, written and read."""

    config_class = VisionTransformerConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _no_split_modules = ("Layer",)
    _supports_sdpa = True
    _products: Mapping[Any, int] = MappingProxyType({})

    def _init_weights(self, module: nn.Module) -> None:
        """Products as Glorot and Bengio 2010, as in the authors' code and in MAE; positions and the class token as noise."""
        super()._init_weights(module)
        if parts := self._products.get(module):
            glorot(cast(Tensor, module.weight), parts)
        elif isinstance(module, Embeddings):
            if module.class_token is not None:
                initialization.normal_(module.class_token, std=self.config.initializer_range)
            if module.positions.requires_grad:
                initialization.normal_(module.positions, std=self.config.initializer_range)
            else:
                table = patches.sincos(module.grid, module.grid, self.config.hidden_size)
                initialization.copy_(module.positions, nn.functional.pad(table, (0, 0, module.before, 0)))

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes a folder as transformers' own ViT does; without a class token one of model type vit_pooled."""
        if self.config.class_token:
            vit_files.to_transformers(self, options.pop("state_dict", None)).save_pretrained(save_directory, **options)
        else:
            super().save_pretrained(save_directory, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *, config: Any = None, **options: Any) -> Any:
        """Reads what `save_pretrained` wrote, or a checkpoint of transformers' ViT. Raises `Mistake` where it is of another kind."""
        config = config or AutoConfig.from_pretrained(pretrained_model_name_or_path)
        if isinstance(config, VisionTransformerConfig):
            return super().from_pretrained(pretrained_model_name_or_path, config=config, **options)
        auto = AutoModelForImageClassification if issubclass(cls, ViTForImageClassification) else AutoModel
        return vit_files.from_transformers(auto.from_pretrained(pretrained_model_name_or_path, config=config, **options))


class ViT(_Saved):
    """A stack of blocks over embedded patches, which all see each other; a last norm behind them."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = make_blocks(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self._products = products(self)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(self, pixel_values: Tensor, visible: Tensor | None = None, output_hidden_states: bool | None = None) -> BaseModelOutput:
        """`last_hidden_state` (B, L, D), after the last norm.

        Args:
            pixel_values: (B, C, H, W), of any size from a patch on; what is left of a side beyond whole patches is not read.
            visible: (B, K) int64, places of patches. No other is computed (He et al. 2022, https://arxiv.org/abs/2111.06377).
            output_hidden_states: also gives what enters each block and what leaves the last one, 1 + blocks of (B, L, D).
        """
        x_BLD, entered = self.embeddings(pixel_values, visible), []
        for block in self.blocks:
            entered += [x_BLD] if output_hidden_states else []
            x_BLD = block(x_BLD)
        return BaseModelOutput(self.norm(x_BLD), (*entered, x_BLD) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Module:
        """What makes vectors of patches."""
        return self.embeddings.project


class ViTForImageClassification(_Saved):
    """A `ViT` with a linear layer on its class token, or on the mean of its patches where it has none."""

    def __init__(self, config: VisionTransformerConfig) -> None:
        super().__init__(config)
        self.model = ViT(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, output_hidden_states: bool | None = None) -> ImageClassifierOutput:
        """`logits` (B, classes), and where there are `labels` (B,) the mean `loss`."""
        out = self.model(pixel_values, output_hidden_states=output_hidden_states)
        x_BLD = out.last_hidden_state
        logits = self.classifier(x_BLD[:, 0] if self.config.class_token else x_BLD.mean(1))
        loss = None if labels is None else cross_entropy(logits.float(), labels)
        return ImageClassifierOutput(loss, logits, out.hidden_states)


def make_blocks(config: VisionTransformerConfig) -> nn.ModuleList:
    """The blocks of a ViT: norms first, every token sees all."""
    sizes = (config.hidden_size, config.num_attention_heads, config.dropout)
    more: dict[str, Any] = {"attention_dropout": config.attention_dropout, "inner": config.intermediate_size, "eps": config.norm_eps}
    return nn.ModuleList(Layer(*sizes, **more, layer=number) for number in range(config.num_hidden_layers))


def products(model: nn.Module) -> dict[Any, int]:
    """The layers that multiply, and how many products each one makes at once."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
    return {module: 3 if name.endswith(".qkv") else 1 for name, module in found.items()}


@torch.no_grad()
def glorot(weight: Tensor, parts: int) -> None:
    """Glorot and Bengio 2010, each of the products in a weight by itself; what transformers has read already stays."""
    if not getattr(weight, "_is_hf_initialized", False):
        for part in weight.flatten(1).chunk(parts):
            nn.init.xavier_uniform_(part)


AutoConfig.register("vit_pooled", VisionTransformerConfig)
AutoModel.register(VisionTransformerConfig, ViT)
AutoModelForImageClassification.register(VisionTransformerConfig, ViTForImageClassification)
