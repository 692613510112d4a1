"""Denoise: a text that the decoder of a backbone writes of what its encoder read: what was hidden, an answer, what is said in a sound.

Shape letters: B rows, L tokens that were read, P tokens of a start, T tokens that are written, D width, V vocabulary, N tokens that are asked for.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omnitune.nn.encoder import Encoder
from omnitune.nn.language import NOT_ASKED, WordsHead
from omnitune.nn.linear_cross_entropy import linear_cross_entropy
from omnitune.nn.tokens import View


class DenoiseHead(WordsHead):
    """Words written one after the other, each told the right ones before it (teacher forcing). No logit is made where nothing is asked.

    Target: `labels` (B, T) int64, what is to be written, -1 behind its end; `weight` (B,), how many words that is, or 0.

    Args:
        of: the input.
        encoder: its backbone, of an encoder-decoder.
        start: the tokens that stand before the first one, at least one.
        padding: the token that stands behind the last one.
    """

    def __init__(self, of: str, encoder: Encoder, start: Sequence[int], padding: int) -> None:
        super().__init__()
        self.of, self.start, self.padding = of, list(start), padding
        self._backbone = (encoder, encoder.decode())  # in a tuple, so that its weights are not this module's too

    def _ask(self, view: View, target: dict[str, Tensor], right: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (encoder, decoder), tokens, labels_BT = self._backbone, view.streams[self.of], target["labels"]
        asked_BT = labels_BT != NOT_ASKED
        read = decoder.words(encoder.model)
        y_BTD = decoder(tokens.x_BLD, tokens.mask_BL, read(self._before(labels_BT)))[:, len(self.start) - 1 :]
        rows_N, places_N = asked_BT.nonzero(as_tuple=True)
        if labels_BT.device.type == "cpu":
            decoder.tokens.update(real=len(rows_N), padding=labels_BT.numel() - len(rows_N))
        with torch.autocast(labels_BT.device.type, enabled=False):
            x_ND, table_VD = y_BTD[rows_N, places_N].float(), decoder.table(read.weight).float()
            scale_N = (target["weight"] / asked_BT.sum(1).clamp(min=1))[rows_N]
            found = linear_cross_entropy(x_ND, table_VD, decoder.bias, labels_BT[rows_N, places_N], scale_N)
        return *found, rows_N

    def _before(self, labels_BT: Tensor) -> Tensor:
        """Of each token the one before it, behind all but the last token of the start, (B, P - 1 + T)."""
        start_BP = torch.tensor(self.start, device=labels_BT.device).expand(len(labels_BT), -1)
        return torch.cat([start_BP, torch.where(labels_BT == NOT_ASKED, self.padding, labels_BT)[:, :-1]], 1)
