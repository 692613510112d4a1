"""Sizes of Vision Transformers: one dial, and the sizes that were published."""

from typing import Any, Literal, Self, get_args

from transformers import PreTrainedConfig

from omnitune.errors import Mistake, did_you_mean

Positions = Literal["learned", "sincos"]
HEAD = 64  # width of a head in every published ViT but H/14, whose heads have 80


class VisionTransformerConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not read by mypy
    """What a `ViT` is built from. `VisionTransformerConfig.of` derives it from a depth, `VisionTransformerConfig.preset` knows published sizes.

    The fields are those of transformers. Pictures are squares of `image_size`, others are read too (see `ViT`). Without a `class_token` the mean
    of the patches stands for a picture. `positions` start from noise and learn, or are fixed sines and cosines of both coordinates.

    Raises:
        Mistake: sizes do not divide.
    """

    model_type = "vit_pooled"  # without class token, which transformers lacks; with one it is saved as transformers' own ViT
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int | None = None
    image_size: int = 224
    patch_size: int = 16
    num_channels: int = 3
    class_token: bool = True
    positions: str = "learned"
    norm_eps: float = 1e-6
    dropout: float = 0.0
    attention_dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **rest: Any) -> None:
        self.intermediate_size = self.intermediate_size or 4 * self.hidden_size
        check_sizes(self.hidden_size, self.num_attention_heads, self.num_hidden_layers, self.positions)
        if self.patch_size < 1 or self.image_size < self.patch_size or self.image_size % self.patch_size:
            raise Mistake("patch", f"patches of {self.patch_size} do not divide pictures of {self.image_size}", "Choose numbers that divide")
        super().__post_init__(**rest)

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image_size // self.patch_size

    @classmethod
    def of(
        cls,
        depth: int,
        *,
        width: int | None = None,
        heads: int | None = None,
        inner: int | None = None,
        size: int = 224,
        patch: int = 16,
        channels: int = 3,
        class_token: bool = True,
        positions: Positions = "learned",
        dropout: float = 0.0,
        eps: float = 1e-6,
    ) -> Self:
        """One dial: what is left out follows from `depth`, the number of blocks.

        Args:
            depth: blocks.
            width: 64 a block, as ViT-B has them.
            heads: one for each 64 of the width.
            inner: width of the perceptrons, 4 widths.
            size, patch: sides of pictures and patches, in pixels.
            channels: of a pixel.
            class_token: a token of its own stands for the picture (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929), else the mean of the
                patches (their appendix D.3; Beyer et al. 2022, https://arxiv.org/abs/2205.01580).
            positions: `learned` (Dosovitskiy et al.) or `sincos` (Chen et al. 2021, https://arxiv.org/abs/2104.02057; He et al. 2022; Beyer et al.).
            dropout: of layers and attention weights.
            eps: of norms, 1e-6 in the authors' code; transformers has 1e-12.
        """
        width = width or HEAD * depth
        return cls(
            num_hidden_layers=depth,
            hidden_size=width,
            num_attention_heads=heads or max(1, width // HEAD),
            intermediate_size=inner,
            image_size=size,
            patch_size=patch,
            num_channels=channels,
            class_token=class_token,
            positions=positions,
            dropout=dropout,
            attention_dropout=dropout,
            norm_eps=eps,
        )

    @classmethod
    def preset(cls, name: str, **more: Any) -> Self:
        """A published size, by its name in `PRESETS`; `more` as for `of`. Raises `Mistake` where there is none."""
        if name not in PRESETS:
            raise Mistake("preset", f"no published size called {name!r}", did_you_mean(name, list(PRESETS)))
        return cls.of(**PRESETS[name] | more)

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes config.json: that of transformers' ViT where there is a class token."""
        from omnitune.nn.vit_files import to_config

        if self.class_token:
            to_config(self).save_pretrained(save_directory, **options)
        else:
            super().save_pretrained(save_directory, **options)


def check_sizes(width: int, heads: int, depth: int, positions: str = "learned") -> None:
    """Raises `Mistake` where no Transformer over patches has these sizes."""
    if min(width, heads, depth) < 1:
        raise Mistake("depth", f"{depth} blocks of width {width} with {heads} heads are no model", "Choose numbers above 0")
    if width % heads:
        raise Mistake("heads", f"{heads} heads do not divide width {width}", "Choose numbers that divide")
    if positions not in get_args(Positions):
        raise Mistake("positions", f"no positions called {positions!r}", did_you_mean(positions, list(get_args(Positions))))
    if positions == "sincos" and width % 4:
        raise Mistake("width", f"sine and cosine of two coordinates do not fit into width {width}", "Choose a multiple of 4")


PRESETS: dict[str, dict[str, Any]] = {
    # Touvron et al. 2021, table 1 (https://arxiv.org/abs/2012.12877), who call them DeiT-Ti and DeiT-S
    "ti/16": {"depth": 12, "width": 192},  # 5.5M parameters without a head
    "s/16": {"depth": 12, "width": 384},  # 21.7M
    # Dosovitskiy et al. 2021, table 1 (https://arxiv.org/abs/2010.11929)
    "b/16": {"depth": 12, "width": 768},  # 85.8M
    "b/32": {"depth": 12, "width": 768, "patch": 32},  # 87.5M
    "l/16": {"depth": 24, "width": 1024},  # 303.3M
    "h/14": {"depth": 32, "width": 1280, "heads": 16, "patch": 14},  # 630.8M
}
