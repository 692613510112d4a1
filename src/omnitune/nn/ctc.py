"""CTC: which letters the tokens of a sound say, without being told when (Graves et al. 2006, doi 10.1145/1143844.1143891).

Shape letters: B rows, L tokens of a sound, T letters of a transcript, D width, V letters with the blank, R rows that are asked about.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from omnitune.nn import weights
from omnitune.nn.edits import distance
from omnitune.nn.encoder import Encoder
from omnitune.nn.language import NOT_ASKED, AskedHead
from omnitune.nn.tokens import Tokens, View

TABLE, BIAS = "lm_head.weight", "lm_head.bias"
"""What transformers calls the layer of letters in the file of a checkpoint."""


class CTCHead(AskedHead):
    """Letters, or the blank, at every token of a sound. The probability of a transcript is that of all ways to say it.

    Target: `labels` (B, T) int64, its letters, -1 behind them; `weight` (B,), how many these are, or 0.

    Args:
        of: the input.
        encoder: its backbone.
        letters: V.
        blank: the number of the blank.
        trained: whether the layer of the checkpoint is read; else it is new, and starts close to zero.
    """

    def __init__(self, of: str, encoder: Encoder, letters: int, blank: int, trained: bool) -> None:
        super().__init__()
        self.of, self.blank, self.out = of, blank, nn.Linear(encoder.width, letters)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)
        if trained and encoder.filled and encoder.folder is not None:
            found = weights.some(weights.files(encoder.folder, str(encoder.folder)), {TABLE, BIAS}, str(encoder.folder))
            self.load_state_dict({"out.weight": found[TABLE].float(), "out.bias": found[BIAS].float()})

    def log_probabilities(self, tokens: Tokens) -> Tensor:
        """(B, L, V) float32."""
        with torch.autocast(tokens.x_BLD.device.type, enabled=False):
            made: Tensor = self.out(tokens.x_BLD.float()).log_softmax(2)
            return made

    def _ask(self, view: View, target: dict[str, Tensor], right: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows_R = (target["weight"] > 0).nonzero()[:, 0]
        tokens, labels_RT = view.streams[self.of], target["labels"][rows_R]
        said_RLV = self.log_probabilities(Tokens(tokens.x_BLD[rows_R], tokens.mask_BL[rows_R]))
        heard_R, asked_R = tokens.mask_BL[rows_R].sum(1), (labels_RT != NOT_ASKED).sum(1)
        losses_R = self._losses(said_RLV, labels_RT, heard_R, asked_R)
        total = (losses_R * target["weight"][rows_R] / asked_R).sum() + 0 * said_RLV.sum()
        right_R = self._right(said_RLV, labels_RT, heard_R, asked_R) if right else torch.zeros_like(losses_R)
        return total, losses_R.detach(), right_R, rows_R

    def _losses(self, said_RLV: Tensor, labels_RT: Tensor, heard_R: Tensor, asked_R: Tensor) -> Tensor:
        """Nats of each transcript."""
        if not len(said_RLV):
            return said_RLV.new_zeros(0)
        longest = int(asked_R.max())
        return ctc_loss(said_RLV.transpose(0, 1), labels_RT[:, :longest].clamp(min=0), heard_R, asked_R, self.blank, "none", zero_infinity=True)

    def _right(self, said_RLV: Tensor, labels_RT: Tensor, heard_R: Tensor, asked_R: Tensor) -> Tensor:
        """Letters of each transcript less the edits of what is said at once, at least 0."""
        found = []
        for best, labels, heard, asked in zip(said_RLV.argmax(2).tolist(), labels_RT.tolist(), heard_R.tolist(), asked_R.tolist(), strict=True):
            said = [letter for letter, _, _ in collapsed(best[:heard], self.blank)]
            found.append(max(0, asked - distance(said, labels[:asked])))
        return torch.tensor(found, dtype=torch.float32, device=said_RLV.device)


def collapsed(best: list[int], blank: int) -> list[tuple[int, int, int]]:
    """The letters of a path: like ones side by side are one, blanks none; each with its first token and the one behind its last."""
    found: list[tuple[int, int, int]] = []
    before = blank
    for place, letter in enumerate(best):
        if letter != blank and letter == before:
            found[-1] = (letter, found[-1][1], place + 1)
        elif letter != blank:
            found.append((letter, place, place + 1))
        before = letter
    return found


def frames(length: Tensor, steps: list[tuple[int, int, int]]) -> Tensor:
    """Tokens that convolutions of these kernels, strides and paddings make of so many frames or samples, (B,)."""
    for kernel, stride, padding in steps:
        length = torch.div(length + 2 * padding - kernel, stride, rounding_mode="floor") + 1
    return length.clamp(min=0)
