"""reconstruct: what was it, seen through a few numbers?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Reconstruct(SelfSupervised):
    """A picture or a series out of `width` numbers that are all that is kept of it: an autoencoder (Hinton and Salakhutdinov 2006,
    https://doi.org/10.1126/science.1127647). Measured beside principal components of as many numbers; the error is told as they are and with each
    number stored in 8 bits. Predictions are the numbers, from -1 to 1.

    Args:
        of: the input, of pictures or series.
        width: numbers that are kept of each.
        size: pixels of a side at which pictures are drawn again.
    """

    form: ClassVar[Literal["tokens", "series", "rebuilt"]] = "rebuilt"
    answers: ClassVar[bool] = True
    asks: ClassVar[Literal["language", "series", "whole"]] = "whole"

    width: Annotated[int, Field(ge=1, le=4096)] = 32
    size: Literal[16, 32, 64, 128] = 32

    def learn_from(self, facts: Facts) -> Facts:
        """What the input says of itself: `longest`, numbers of the longest series, or 0 of pictures."""
        return facts

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """The batch itself; `wanted` and `known` (B, N), the numbers it is made of; `y` (B, 2): how many are there, and the square of how far they
        can lie apart, 1 of pictures, else of each series how far they do; `weight` (B,): 1 where the input is there."""
        import torch

        inputs = batch.inputs[self.of]
        wanted_BN, known_BN = self._series(inputs, facts["longest"]) if facts["longest"] else self._pixels(inputs["pixels"])
        peak_B = _range(wanted_BN, known_BN) * inputs["spread"] if facts["longest"] else torch.ones(batch.size)
        known_BN = known_BN & inputs["present"][:, None]
        y_B2 = torch.stack([known_BN.sum(1).float(), peak_B.square()], 1)
        return batch, {"wanted": wanted_BN, "known": known_BN, "y": y_B2, "weight": inputs["present"].float()}

    def _pixels(self, pixels_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3 * size * size), from 0 to 1."""
        import torch
        from torch.nn.functional import interpolate

        small = interpolate(pixels_BCHW.float() / 255, (self.size, self.size), mode="bilinear", antialias=True).flatten(1)
        return small, torch.ones_like(small, dtype=torch.bool)

    def _series(self, inputs: Mapping[str, Tensor], longest: int) -> tuple[Tensor, Tensor]:
        """The last numbers, (B, longest)."""
        from torch.nn.functional import pad

        lacks = max(0, longest - inputs["values"].shape[1])
        values_BN, known_BN = (pad(inputs[name][:, -longest:], (lacks, 0)) for name in ("values", "known"))
        return values_BN, known_BN

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `RebuildHead`."""
        from omnitune.nn.rebuild import PictureDecoder, RebuildHead, SeriesDecoder

        decoder = SeriesDecoder(self.width, facts["longest"]) if facts["longest"] else PictureDecoder(self.width, self.size)
        return RebuildHead(self.of, backbones[self.of].width, self.width, decoder)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the numbers that are kept; None where the input is missing."""
        return [{"value": None if row[0] != row[0] else row} for row in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Errors of what is drawn again."""
        from omnitune.nn.metrics import rebuilt_metrics

        return rebuilt_metrics()


def _range(x_BN: Tensor, known_BN: Tensor) -> Tensor:
    """Between the least and the largest known number of each row, (B,); 0 where there is none."""
    high_B = x_BN.masked_fill(~known_BN, -float("inf")).amax(1)
    low_B = x_BN.masked_fill(~known_BN, float("inf")).amin(1)
    return (high_B - low_B).clamp(min=0).nan_to_num(0.0)
