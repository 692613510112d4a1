"""MAE: a masked autoencoder (He et al. 2022, https://arxiv.org/abs/2111.06377). Most patches of a picture are hidden; an encoder reads the others,
a light decoder draws the hidden ones.

Shape letters: B rows, C channels, H and W of a picture, P patches, K of them visible and M hidden, N numbers in a patch, L tokens of the encoder
(those of no patch come first), D its width.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.utils import ModelOutput, can_return_tuple

from omnitune.nn import patches
from omnitune.nn.block import Block
from omnitune.nn.vit import ViT, glorot, products
from omnitune.nn.vit_config import VisionTransformerConfig, check_sizes

STD = 0.02
"""Of the token that stands for what is hidden."""


class MAEConfig(VisionTransformerConfig):
    """What a `MAE` is built from: the encoder's fields, and `decoder_` sizes; `share` of the patches is hidden, `normalise` see `targets`."""

    model_type = "mae"  # saved as transformers' vit_mae
    positions: str = "sincos"
    decoder_hidden_size: int = 512
    decoder_num_hidden_layers: int = 8
    decoder_num_attention_heads: int = 16
    decoder_intermediate_size: int | None = None
    share: float = 0.75
    normalise: bool = False

    def __post_init__(self, **rest: Any) -> None:
        self.decoder_intermediate_size = self.decoder_intermediate_size or 4 * self.decoder_hidden_size
        check_sizes(self.decoder_hidden_size, self.decoder_num_attention_heads, self.decoder_num_hidden_layers, "sincos")
        super().__post_init__(**rest)

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes config.json of transformers' ViTMAE."""
        from omnitune.nn.mae_files import to_config

        to_config(self).save_pretrained(save_directory, **options)


class Decoder(nn.Module):
    """Pixels of patches from the tokens of those that are visible. All places of the grid get a token: the encoder's, or one that stands for every
    hidden patch; a few blocks let them see each other.

    Args:
        width: D.
        grid: patches down and across.
        numbers: N.
        inside: width of its own blocks, a multiple of 4.
        depth, heads, inner, eps: of its blocks.
    """

    positions: Tensor

    def __init__(
        self, width: int, grid: tuple[int, int], numbers: int, inside: int, depth: int, heads: int, inner: int | None = None, eps: float = 1e-6
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(width, inside)
        self.hidden = nn.Parameter(torch.empty(inside))
        self.register_buffer("positions", patches.sincos(*grid, inside), persistent=False)  # (P, inside)
        self.blocks = nn.ModuleList(Block(inside, heads, inner=inner, eps=eps) for _ in range(depth))
        self.norm, self.pixels = nn.LayerNorm(inside, eps=eps), nn.Linear(inside, numbers)
        self.reset()

    def reset(self) -> None:
        """New weights."""
        nn.init.normal_(self.hidden, std=STD)
        for layer, parts in products(self).items():
            glorot(layer.weight, parts)
            nn.init.zeros_(layer.bias)

    def forward(self, x_BLD: Tensor, visible_BK: Tensor, wanted_BM: Tensor) -> Tensor:
        """(B, M, N): the patches at the places that are wanted, in the form of `targets`; no others are made.

        Args:
            x_BLD: the encoder's tokens, last those of the patches at `visible`, in that order.
            visible_BK, wanted_BM: places.
        """
        x = self.embed(x_BLD)
        before = x.shape[1] - visible_BK.shape[1]
        every = self.hidden.to(x.dtype).expand(len(x), len(self.positions), -1)
        every = every.scatter(1, visible_BK[..., None].expand(-1, -1, x.shape[2]), x[:, before:])
        x = torch.cat([x[:, :before], every + self.positions.to(x.dtype)], 1)
        for block in self.blocks:
            x = block(x)
        drawn: Tensor = self.pixels(self.norm(patches.at(x[:, before:], wanted_BM)))
        return drawn


@dataclass
class MAEOutput(ModelOutput):  # type: ignore[misc]
    """What a `MAE` gives.

    Args:
        loss: the mean squared error of a hidden number.
        drawn: (B, M, N), the hidden patches as the decoder draws them.
        visible, hidden: (B, K) and (B, M), places.
        last_hidden_state: (B, L, D), of the encoder.
    """

    loss: Tensor | None = None
    drawn: Tensor | None = None
    visible: Tensor | None = None
    hidden: Tensor | None = None
    last_hidden_state: Tensor | None = None


class MAE(PreTrainedModel):  # type: ignore[misc]
    """A `ViT` that reads what is visible, and a `Decoder`."""

    config_class = MAEConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    _supports_sdpa = True

    def __init__(self, config: MAEConfig) -> None:
        super().__init__(config)
        self.model = ViT(config)
        sizes = (config.decoder_hidden_size, config.decoder_num_hidden_layers, config.decoder_num_attention_heads)
        numbers = config.num_channels * config.patch_size**2
        grid = (config.grid, config.grid)
        self.decoder = Decoder(config.hidden_size, grid, numbers, *sizes, config.decoder_intermediate_size, config.norm_eps)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, Decoder):
            module.reset()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(self, pixel_values: Tensor, noise: Tensor | None = None) -> MAEOutput:
        """The loss on hidden patches, which `noise` (B, P) chooses, by default at random: the largest are hidden."""
        wanted_BPN = targets(pixel_values, self.config.patch_size, self.config.normalise)
        noise = torch.rand(wanted_BPN.shape[:2], device=pixel_values.device) if noise is None else noise
        visible_BK, hidden_BM = choose(noise, self.config.share)
        x_BLD = self.model(pixel_values, visible_BK).last_hidden_state
        drawn_BMN = self.decoder(x_BLD, visible_BK, hidden_BM)
        loss = (drawn_BMN - patches.at(wanted_BPN, hidden_BM)).square().mean()
        return MAEOutput(loss, drawn_BMN, visible_BK, hidden_BM, x_BLD)

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes a folder as transformers' ViTMAEForPreTraining does. Raises `Mistake` where there is no class token."""
        from omnitune.nn.mae_files import to_transformers

        to_transformers(self, options.pop("state_dict", None)).save_pretrained(save_directory, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, **options: Any) -> Any:
        """Reads what `save_pretrained` wrote, or a checkpoint of transformers' ViTMAE with its decoder."""
        from transformers import ViTMAEForPreTraining

        from omnitune.nn.mae_files import from_transformers

        return from_transformers(ViTMAEForPreTraining.from_pretrained(pretrained_model_name_or_path, **options))


def choose(noise_BP: Tensor, share: float) -> tuple[Tensor, Tensor]:
    """Places of visible patches (B, K) and of hidden ones (B, M), a `share` of all: those with the largest noise; at least one of both."""
    order, P = noise_BP.argsort(1), noise_BP.shape[1]
    K = min(P - 1, max(1, int(P * (1 - share))))
    return order[:, :K], order[:, K:]


def targets(x_BCHW: Tensor, patch: int, normalise: bool) -> Tensor:
    """(B, P, N): the numbers of each patch; with `normalise` less their own mean, in units of their own deviation (table 1d: it teaches more)."""
    x_BPN = patches.cut(x_BCHW, patch)
    return (x_BPN - x_BPN.mean(-1, keepdim=True)) / (x_BPN.var(-1, keepdim=True) + 1e-6).sqrt() if normalise else x_BPN
