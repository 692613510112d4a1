"""Hearing: a model of sound reads each clip at its own length, clips of one length together.

Whisper and AST were trained on clips that are filled up to 30 and 10 seconds, know no mask, and in transformers take nothing shorter; wav2vec 2.0's
group norm counts padding in. Clips of one length need no padding, so nothing of it is computed, and no clip changes what another one gives.
A shorter clip has the first places of the position table.

Shape letters: B rows, b rows of one length, T frames or samples, M bands, L tokens, D width.
"""

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.nn.checkpoints import accepts

INPUTS = ("input_features", "input_values")
"""What models call sound; Whisper's, the first, has bands before frames."""
BLANK = 4000
"""Frames or samples of silence on which a replay runs what stands before the blocks; what that gives is not read."""

Heard = tuple[Tensor, Tensor]
"""Which rows, (b,), and what a model made of them, (b, L, D)."""


class Hearing:
    """How a model takes sound.

    Args:
        model: that hears; it reads short clips from now on.
    """

    def __init__(self, model: Any) -> None:
        self.name = _input(model)
        kind = model.config.model_type
        if kind == "whisper":
            model.__class__ = _whisper()
        elif kind == "audio-spectrogram-transformer":
            model.embeddings.__class__ = _ast()
        if hasattr(model.config, "apply_spec_augment"):
            model.config.apply_spec_augment = False  # it would draw from a generator that no seed reaches; inputs augment instead
        self.bands = getattr(model.config, "num_mel_bins", 0)

    @classmethod
    def of(cls, model: Any) -> "Hearing | None":
        """None for a model of anything else."""
        return cls(model) if _input(model) else None

    def given(self, sound_bT: Tensor) -> dict[str, Tensor]:
        """Clips of one length, (b, T, M) or (b, T), as the model takes them."""
        return {self.name: sound_bT.transpose(1, 2) if self.name == INPUTS[0] else sound_bT}

    def blank(self, hidden: Tensor) -> dict[str, Tensor]:
        """Silence for as many rows."""
        few = 2 if self.name == INPUTS[0] else 16 if self.bands else BLANK
        return self.given(hidden.new_zeros(len(hidden), few, self.bands) if self.bands else hidden.new_zeros(len(hidden), few))


def equal(length_B: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Each length above 0, and the rows that have it, in rising order."""
    for length in sorted(set(length_B.tolist()) - {0}):
        yield length, (length_B == length).nonzero().flatten()


def joined(parts: Sequence[Heard], rows: int, blank_11D: Tensor) -> tuple[Tensor, Tensor]:
    """(B, L, D), zeros behind shorter clips and for rows that are in no part, and which tokens are real, (B, L).

    Args:
        parts: of each length.
        rows: B.
        blank_11D: a token of zeros.
    """
    longest = max([1, *(x.shape[1] for _, x in parts)])
    there = torch.cat([few for few, _ in parts]) if parts else torch.zeros(0, dtype=torch.int64, device=blank_11D.device)
    absent = torch.ones(rows, dtype=torch.bool, device=there.device).index_fill(0, there, False).nonzero().flatten()
    padded = [nn.functional.pad(x, (0, 0, 0, longest - x.shape[1])) for _, x in parts]
    order = torch.cat([there, absent]).argsort()
    x_BLD = torch.cat([*padded, blank_11D.expand(len(absent), longest, -1)])[order]
    counts = [torch.full((len(few),), x.shape[1], device=there.device) for few, x in parts]
    count_B = torch.cat([*counts, torch.zeros_like(absent)])[order]
    return x_BLD, torch.arange(longest, device=there.device) < count_B[:, None]


def _input(model: Any) -> str:
    return next((name for name in INPUTS if accepts(type(model).forward, name)), "")


@cache
def _whisper() -> type:
    from transformers.modeling_outputs import BaseModelOutput
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    class ShortWhisperEncoder(WhisperEncoder):  # type: ignore[misc]
        """The same layers on clips of any length up to that of the position table."""

        def forward(self, input_features: Tensor, attention_mask: Tensor | None = None) -> Any:
            """`last_hidden_state` (b, T / 2, D) of (b, M, T)."""
            x_bDT = nn.functional.gelu(self.conv2(nn.functional.gelu(self.conv1(input_features))))
            x_bLD = x_bDT.transpose(1, 2)
            x_bLD = x_bLD + self.embed_positions.weight[: x_bLD.shape[1]]
            x_bLD = nn.functional.dropout(x_bLD, self.dropout, self.training)
            for layer in self.layers:
                x_bLD = layer(x_bLD, None)
            return BaseModelOutput(self.layer_norm(x_bLD))

    return ShortWhisperEncoder


@cache
def _ast() -> type:
    from transformers.models.audio_spectrogram_transformer.modeling_audio_spectrogram_transformer import ASTEmbeddings

    class ShortASTEmbeddings(ASTEmbeddings):  # type: ignore[misc]
        """The same patches, with the positions of their own columns."""

        def forward(self, input_values: Tensor) -> Tensor:
            """(b, 2 + patches, D) of (b, T, M)."""
            patches_bPD = self.patch_embeddings(input_values)
            rows, columns = self.get_shape(self.config)
            positions = self.position_embeddings[:, 2:].unflatten(1, (rows, columns))[:, :, : patches_bPD.shape[1] // rows].flatten(1, 2)
            firsts = torch.cat([self.cls_token, self.distillation_token], 1) + self.position_embeddings[:, :2]
            x_bLD = torch.cat([firsts.expand(len(patches_bPD), -1, -1), patches_bPD + positions], 1)
            dropped: Tensor = self.dropout(x_bLD)
            return dropped

    return ShortASTEmbeddings
