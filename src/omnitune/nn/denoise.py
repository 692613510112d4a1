"""Denoise: a text that the decoder of a backbone writes of what its encoder read: what was hidden, an answer, what is said in a sound.

Shape letters: B rows, L tokens that were read, P tokens of a start, T tokens that are written, D width, V vocabulary, N tokens that are asked for,
K texts that lie behind a prompt.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from omnitune.nn.encoder import Encoder
from omnitune.nn.language import NOT_ASKED, Said, WordsHead
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

    def read(self, view: View, labels_BL: Tensor) -> tuple[Tensor, Tensor]:
        """See `WordsHead.read`: what the decoder makes of the words before each one."""
        tokens = view.streams[self.of]
        return self._written(tokens.x_BLD, tokens.mask_BL, labels_BL)

    def told(self, view: View) -> Said:
        """See `WordsHead.told`: the prompt is read once, whatever the number of texts."""
        tokens, labels_BKT = view.streams[self.of], view.inputs[self.of]["labels"]
        texts = labels_BKT.shape[1]
        x_BLD, mask_BL = (tensor.repeat_interleave(texts, 0) for tensor in (tokens.x_BLD, tokens.mask_BL))
        x_ND, rows_N = self._written(x_BLD, mask_BL, labels_BKT.flatten(0, 1))
        return Said(x_ND, labels_BKT[labels_BKT != NOT_ASKED], rows_N // texts, rows_N % texts)

    def say(self, x_ND: Tensor, y_N: Tensor, scale_N: Tensor, right: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """See `WordsHead.say`."""
        encoder, decoder = self._backbone
        table_VD = decoder.table(decoder.words(encoder.model).weight).float()
        return linear_cross_entropy(x_ND, table_VD, decoder.bias, y_N, scale_N)

    def _written(self, x_BLD: Tensor, mask_BL: Tensor, labels_BT: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder makes of texts and of the words before each one that is asked for, (N, D) float32, and their rows, (N,)."""
        encoder, decoder = self._backbone
        read = decoder.words(encoder.model)
        y_BTD = decoder(x_BLD, mask_BL, read(self._before(labels_BT)))[:, len(self.start) - 1 :]
        rows_N, places_N = (labels_BT != NOT_ASKED).nonzero(as_tuple=True)
        if labels_BT.device.type == "cpu":
            decoder.tokens.update(real=len(rows_N), padding=labels_BT.numel() - len(rows_N))
        return y_BTD[rows_N, places_N].float(), rows_N

    def _before(self, labels_BT: Tensor) -> Tensor:
        """Of each token the one before it, behind all but the last token of the start, (B, P - 1 + T)."""
        start_BP = torch.tensor(self.start, device=labels_BT.device).expand(len(labels_BT), -1)
        return torch.cat([start_BP, torch.where(labels_BT == NOT_ASKED, self.padding, labels_BT)[:, :-1]], 1)
