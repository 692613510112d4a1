"""Readers: from the tensors that a modality encodes to the tokens of its backbone."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from omnitune.nn.encoder import Encoder
from omnitune.nn.pictures import Normalise
from omnitune.nn.recall import Place
from omnitune.nn.tokens import Tokens

READ = ("input_ids", "attention_mask", "token_type_ids", "branch")
"""What a backbone reads of a text."""


class TextReader(nn.Module):
    """Token numbers to tokens.

    Args:
        backbone: an encoder of text.
    """

    def __init__(self, backbone: Encoder) -> None:
        super().__init__()
        self.backbone, self.width = backbone, backbone.width

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `input_ids` and `attention_mask` (B, L), `present` (B,), and where a task made some `token_type_ids` or `branch` (B, L); of pieces of
        texts also `place` (B, 3), see `Place`."""
        if inputs["input_ids"].ndim == 3:
            return self._windows(inputs)
        place = Place(*inputs["place"].unbind(1)) if "place" in inputs else None
        tokens: Tokens = self.backbone(place, **{name: inputs[name] for name in READ if name in inputs})
        return tokens.only(inputs["present"])

    def _windows(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From tensors (B, W, L): the tokens of the windows of each row side by side, (B, W L)."""
        rows = len(inputs["input_ids"])
        tokens: Tokens = self.backbone(None, **{name: inputs[name].flatten(0, 1) for name in READ if name in inputs})
        x_BLD, mask_BL = (tensor.reshape(rows, -1, *tensor.shape[2:]) for tensor in (tokens.x_BLD, tokens.mask_BL))
        return Tokens(x_BLD, mask_BL, tokens.pool).only(inputs["present"])


class PictureReader(nn.Module):
    """Pixels to tokens. They are normalised here, on the model's device: bytes travel there four times faster than numbers.

    Args:
        backbone: an encoder of pictures.
        mean, std: of red, green and blue, for values in [0, 1].
    """

    def __init__(self, backbone: Encoder, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.backbone, self.width = backbone, backbone.width
        self.normalise = Normalise(mean, std)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `pixels` (B, 3, H, W) uint8 and `present` (B,); with `visible` (B, K), see `Encoder.forward`, of these patches alone."""
        shown = {"visible": inputs["visible"]} if "visible" in inputs else {}
        pixels = inputs["pixels"] if self.backbone.channels_last else inputs["pixels"].contiguous()
        tokens: Tokens = self.backbone(pixel_values=self.normalise(pixels), **shown)
        return tokens.only(inputs["present"])


class SoundReader(nn.Module):
    """Spectrograms or waves to tokens.

    Args:
        backbone: an encoder of sound.
    """

    def __init__(self, backbone: Encoder) -> None:
        super().__init__()
        self.backbone, self.width = backbone, backbone.width

    def forward(self, inputs: Mapping[str, Tensor]) -> Tokens:
        """From `sound` (B, T, M) or (B, T), `length` and `present` (B,)."""
        tokens: Tokens = self.backbone(sound=inputs["sound"], length=inputs["length"])
        return tokens.only(inputs["present"])
