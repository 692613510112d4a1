"""A Transformer over the spectrogram of a sound: a few frames of all bands are a token, as time alone is cut by wav2vec 2.0 and Whisper.

Shape letters: B rows, T frames, M bands, L tokens, D width.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from omnitune.errors import Mistake
from omnitune.nn.dropout import Dropout
from omnitune.nn.vit import make_blocks


class SpectrogramConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not read by mypy
    """What a `SpectrogramTransformer` is built from; names as in ViT, `patch_size` in frames.

    Raises:
        Mistake: sizes do not divide.
    """

    model_type = "spectrogram"
    hidden_size: int = 128
    num_hidden_layers: int = 4
    num_attention_heads: int = 2
    intermediate_size: int | None = None
    num_mel_bins: int = 64
    patch_size: int = 4
    norm_eps: float = 1e-5
    dropout: float = 0.0
    attention_dropout: float = 0.0

    def __post_init__(self, **rest: Any) -> None:
        self.intermediate_size = self.intermediate_size or 4 * self.hidden_size
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 2:
            raise Mistake(
                "heads", f"{self.num_attention_heads} heads do not divide width {self.hidden_size}, or it is odd", "Choose numbers that divide"
            )
        super().__post_init__(**rest)


class Embeddings(nn.Module):
    """Frames as vectors: two convolutions over a few frames, the second makes tokens; then fixed positions, so that no length is too long."""

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__()
        self.patch, self.width = config.patch_size, config.hidden_size
        self.near = nn.Conv1d(config.num_mel_bins, config.hidden_size, 3, padding=1)
        self.project = nn.Conv1d(config.hidden_size, config.hidden_size, config.patch_size, config.patch_size)
        self.dropout = Dropout(config.dropout)

    def forward(self, sound_BTM: Tensor) -> Tensor:
        """(B, L, D); silence fills up the last token."""
        sound_BTM = nn.functional.pad(sound_BTM, (0, 0, 0, -sound_BTM.shape[1] % self.patch))
        x_BDL = self.project(nn.functional.gelu(self.near(sound_BTM.transpose(1, 2))))
        x_BLD = x_BDL.transpose(1, 2) + positions(x_BDL.shape[2], self.width, x_BDL.device)
        dropped: Tensor = self.dropout(x_BLD)
        return dropped


class SpectrogramTransformer(PreTrainedModel):  # type: ignore[misc]
    """Blocks over tokens that all hear each other; a last norm behind them."""

    config_class = SpectrogramConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    _supports_sdpa = True

    def __init__(self, config: SpectrogramConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = make_blocks(config)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.norm_eps)
        self.post_init()

    def forward(self, input_values: Tensor) -> BaseModelOutput:
        """`last_hidden_state` (B, L, D) of clips of one length, (B, T, M)."""
        x_BLD = self.embeddings(input_values)
        for block in self.blocks:
            x_BLD = block(x_BLD)
        return BaseModelOutput(self.norm(x_BLD))

    def get_input_embeddings(self) -> nn.Module:
        """What makes vectors of frames."""
        return self.embeddings.project


def positions(length: int, width: int, device: torch.device) -> Tensor:
    """(L, D): sines and cosines of the place (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762, section 3.5)."""
    rates = 10_000.0 ** -(torch.arange(width // 2, device=device) / (width // 2))
    angles = torch.arange(length, device=device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


AutoConfig.register("spectrogram", SpectrogramConfig)
AutoModel.register(SpectrogramConfig, SpectrogramTransformer)
