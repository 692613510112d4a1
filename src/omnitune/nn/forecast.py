"""Forecast: the numbers behind each patch of a series, and behind its end.

Shape letters: B rows, L numbers that are seen, A numbers behind them, P patches, N numbers of a patch, H of the horizon, D width.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import huber_loss, mse_loss, pad

from omnitune.nn.heads import RowHead
from omnitune.nn.series import Places, SeriesEncoder
from omnitune.nn.tokens import Loss, View


class ForecastHead(RowHead):
    """The next patch from each token, by one linear layer that starts close to zero: at first it says the middle of the scale.

    Target: `after` and `after_known` (B, A), the numbers behind those that are seen, in the units of `values`; `weight` (B,), 1 or 0;
    `y` (B, 2), how many of them are there, and what metrics divide by.

    Args:
        of: the input.
        encoder: its causal encoder.
        horizon: H.
        kind: of the loss.
    """

    def __init__(self, of: str, encoder: SeriesEncoder, horizon: int, kind: Literal["huber", "mse"]) -> None:
        super().__init__()
        self.of, self.horizon, self.kind = of, horizon, kind
        self._encoder = (encoder,)  # in a tuple, so that its weights are not this module's too
        self.linear = nn.Linear(encoder.width, encoder.patch)
        nn.init.normal_(self.linear.weight, std=0.02)
        nn.init.zeros_(self.linear.bias)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Of a row: the mean error of all numbers behind its patches, in units of what the encoder reads it in, times `weight`."""
        encoder, inputs, tokens = self._encoder[0], view.inputs[self.of], view.streams[self.of]
        with torch.autocast(tokens.x_BLD.device.type, enabled=False):
            mean_B1, deviation_B1 = encoder.units(inputs)
            said_BPN = self.linear(tokens.x_BLD.float())
            behind_BPN, known_BPN = self._behind(inputs["values"], inputs["known"], target, tokens.x_BLD.shape[1])
            error = huber_loss if self.kind == "huber" else mse_loss
            each_BPN = error(said_BPN, (behind_BPN - mean_B1[..., None]) / deviation_B1[..., None], reduction="none")
            asked_BPN = known_BPN & tokens.mask_BL[..., None]
            row_B = (each_BPN * asked_BPN).sum((1, 2)) / asked_BPN.sum((1, 2)).clamp(min=1)
            return Loss((row_B * target["weight"]).sum(), target["weight"].sum())

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 2): the sum of the absolute errors of the hidden numbers, and of their squares, in the table's units; and the loss."""
        said_BA = self._ahead(view)[:, : target["after"].shape[1]]
        wrong_BA = (said_BA - target["after"]) * target["after_known"] * view.inputs[self.of]["spread"][:, None]
        return torch.stack([wrong_BA.abs().sum(1), wrong_BA.square().sum(1)], 1), self.loss(view, target)

    def predict(self, view: View) -> Tensor:
        """The H numbers behind the end of each row, (B, H), in the table's units; NaN for a missing series."""
        spread_B, centre_B = (view.inputs[self.of][name] for name in ("spread", "centre"))
        said_BH = self._ahead(view) * spread_B[:, None] + centre_B[:, None]
        return torch.where(view.streams[self.of].present[:, None], said_BH, torch.nan)

    def _behind(self, values_BL: Tensor, known_BL: Tensor, target: dict[str, Tensor], patches: int) -> tuple[Tensor, Tensor]:
        """The patch behind each patch and which of its numbers are there, (B, P, N)."""
        patch, after = self._encoder[0].patch, target["after"].shape[1]
        lacks = max(0, patch - after)
        places = Places(known_BL[:, -patches * patch :], patch)
        found = []
        for seen, then in ((values_BL, target["after"]), (known_BL, target["after_known"])):
            whole = torch.cat([seen, pad(then, (0, lacks))], 1)
            found.append(places.patches(whole[:, : seen.shape[1] + patch]))
        return found[0], found[1].bool()

    def _ahead(self, view: View) -> Tensor:
        """(B, H) in the units of `values`: a patch from the last token, then from what that one adds."""
        encoder, inputs, tokens = self._encoder[0], view.inputs[self.of], view.streams[self.of]
        mean_B1, deviation_B1 = encoder.units(inputs)
        values_BL, known_BL = inputs["values"], inputs["known"]
        said: list[Tensor] = []
        for start in range(0, self.horizon, encoder.patch):
            if start:
                values_BL = torch.cat([values_BL, said[-1]], 1)
                known_BL = torch.cat([known_BL, inputs["present"][:, None].expand_as(said[-1])], 1)
                tokens = encoder.read(values_BL, known_BL, mean_B1, deviation_B1)
            with torch.autocast(values_BL.device.type, enabled=False):
                said.append(self.linear(tokens.pooled().float()) * deviation_B1 + mean_B1)
        return torch.cat(said, 1)[:, : self.horizon]
