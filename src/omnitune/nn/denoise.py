"""Denoise: what stood in a text before parts of it were hidden, written by the decoder of the backbone that read the rest.

Shape letters: B rows, L tokens of a text, T tokens that are written, D width, V vocabulary, N tokens that are asked for.
"""

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
        start: the token that stands before the first one.
        padding: the token that stands behind the last one.
    """

    def __init__(self, of: str, encoder: Encoder, start: int, padding: int) -> None:
        super().__init__()
        self.of, self.start, self.padding = of, start, padding
        self._backbone = (encoder, encoder.decode())  # in a tuple, so that its weights are not this module's too

    def _ask(self, view: View, target: dict[str, Tensor], right: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (encoder, decoder), tokens, labels_BT = self._backbone, view.streams[self.of], target["labels"]
        asked_BT = labels_BT != NOT_ASKED
        read = encoder.model.get_input_embeddings()
        y_BTD = decoder(tokens.x_BLD, tokens.mask_BL, read(self._before(labels_BT)))
        rows_N, places_N = asked_BT.nonzero(as_tuple=True)
        if labels_BT.device.type == "cpu":
            decoder.tokens.update(real=len(rows_N), padding=labels_BT.numel() - len(rows_N))
        with torch.autocast(labels_BT.device.type, enabled=False):
            x_ND, table_VD = y_BTD[rows_N, places_N].float(), decoder.table(read.weight).float()
            scale_N = (target["weight"] / asked_BT.sum(1).clamp(min=1))[rows_N]
            found = linear_cross_entropy(x_ND, table_VD, decoder.bias, labels_BT[rows_N, places_N], scale_N)
        return *found, rows_N

    def _before(self, labels_BT: Tensor) -> Tensor:
        """Of each token the one before it, (B, T)."""
        before_BT = labels_BT.roll(1, 1)
        before_BT[:, 0] = self.start
        return torch.where(before_BT == NOT_ASKED, self.padding, before_BT)
