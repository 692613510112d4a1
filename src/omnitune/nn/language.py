"""Language: which word belongs at a place of a text, and whether a text goes on as it does, asked of the backbone that read it.

Shape letters: B rows, L tokens, D width, V vocabulary, N tokens that are asked about.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from omnitune.nn.adaptive_head import AdaptiveHead
from omnitune.nn.encoder import Encoder
from omnitune.nn.heads import Head
from omnitune.nn.linear_cross_entropy import linear_cross_entropy
from omnitune.nn.masked_words import MaskedWords
from omnitune.nn.tokens import Loss, View

NOT_ASKED = -1


@dataclass(frozen=True)
class Said:
    """Words of texts that lie behind prompts.

    Args:
        x_ND: what says each, float32.
        y_N: the words.
        rows_N: the row of each.
        texts_N: the number of its text in that row, from 0.
    """

    x_ND: Tensor
    y_N: Tensor
    rows_N: Tensor
    texts_N: Tensor


class AskedHead(Head, ABC):
    """Words, or letters, that are asked for, with their losses. Each counts like any other, whatever row it stands in."""

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Of a row: the mean cross-entropy of its words, times `weight`."""
        total, *_ = self._ask(view, target)
        return Loss(total, target["weight"].sum())

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 2): the cross-entropy of all words of a row, in nats, and how many of them are right; and the loss."""
        total, losses_N, right_N, rows_N = self._ask(view, target, right=True)
        found_B2 = losses_N.new_zeros(len(target["weight"]), 2)
        found_B2.index_add_(0, rows_N, torch.stack([losses_N, right_N.float()], 1))
        return found_B2, Loss(total, target["weight"].sum())

    @abstractmethod
    def _ask(self, view: View, target: dict[str, Tensor], right: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, and of each word that is asked for its own loss, whether it is right (only if asked), and its row."""


class WordsHead(AskedHead):
    """Words that a backbone says, one by one."""

    @abstractmethod
    def read(self, view: View, labels_BL: Tensor) -> tuple[Tensor, Tensor]:
        """What says each word that `labels` ask for, (N, D), and its row, (N,)."""

    @abstractmethod
    def told(self, view: View) -> Said:
        """What says each word of the texts that lie behind each prompt (see `nn.flat`, branches)."""

    @abstractmethod
    def say(self, x_ND: Tensor, y_N: Tensor, scale_N: Tensor, right: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """As `linear_cross_entropy`: the sum of `scale` times the loss of each word, and of each its own loss and whether it is right (where that
        costs more, only if asked)."""

    def _ask(self, view: View, target: dict[str, Tensor], right: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, and of each word that is asked for its own loss, whether it is right, and its row."""
        labels_BL = target["labels"]
        x_ND, rows_N = self.read(view, labels_BL)
        asked_BL = labels_BL != NOT_ASKED
        scale_N = (target["weight"] / asked_BL.sum(1).clamp(min=1))[rows_N]
        with torch.autocast(x_ND.device.type, enabled=False):
            return *self.say(x_ND, labels_BL[asked_BL], scale_N, right), rows_N


class LanguageHead(WordsHead):
    """Words from the tokens of one input, as its checkpoint says them (`LMHead`), or by the table that its backbone reads words from (tied: Press
    and Wolf 2017, https://arxiv.org/abs/1608.05859), or by the tables of its clusters (`AdaptiveHead`). No logit is made where nothing is asked.

    Target: `labels` (B, L) int64, the word that is asked for at each token, -1 for none; `weight` (B,), how many are asked in each row, or 0;
    `y` (B, 2), tokens that are asked for and their UTF-8 bytes.

    Args:
        of: the input.
        encoder: its backbone.
        masked: whether words are said through the layers of a masked-language model.
    """

    def __init__(self, of: str, encoder: Encoder, masked: bool = False) -> None:
        super().__init__()
        self.of, self._encoder = of, (encoder,)  # in a tuple, so that its weights are not this module's too
        self.words = MaskedWords(encoder) if masked else None
        self._own = (None if masked else encoder.speak(),)

    @property
    def table(self) -> Tensor:
        """A vector a word, (V, D)."""
        (own,) = self._own
        assert not isinstance(own, AdaptiveHead), "there are several"
        read_VD = self._encoder[0].model.get_input_embeddings().weight
        table: Tensor = own.table(read_VD) if own else read_VD
        return table

    def read(self, view: View, labels_BL: Tensor) -> tuple[Tensor, Tensor]:
        """See `WordsHead.read`: the tokens at these places."""
        rows_N, places_N = (labels_BL != NOT_ASKED).nonzero(as_tuple=True)
        return view.streams[self.of].x_BLD[rows_N, places_N].float(), rows_N

    def told(self, view: View) -> Said:
        """See `WordsHead.told`: the tokens before each word."""
        inputs = view.inputs[self.of]
        rows_N, which_N = (inputs["says"] != NOT_ASKED).nonzero(as_tuple=True)
        at_N, y_N, texts_N = (inputs[name][rows_N, which_N] for name in ("at", "says", "text"))
        return Said(view.streams[self.of].x_BLD[rows_N, at_N].float(), y_N, rows_N, texts_N)

    def say(self, x_ND: Tensor, y_N: Tensor, scale_N: Tensor, right: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """See `WordsHead.say`."""
        (own,) = self._own
        if isinstance(own, AdaptiveHead):
            return own.ask(x_ND, y_N, scale_N, self._encoder[0].model.embeddings.words, right)
        before, bias_V = (own, own.out.bias) if own else (self.words, self.words.bias) if self.words else (None, None)
        x_ND = before(x_ND) if before else x_ND
        return linear_cross_entropy(x_ND, self.table.float(), bias_V, y_N, scale_N, own.cap if own else None)

    def logits(self, x_ND: Tensor) -> Tensor:
        """Of each of some tokens how likely every word is there, (N, V); where all of them are wanted, as in writing."""
        (own,) = self._own
        assert own is None, "words that are said by hidden ones are said by the table"
        said_NV = (self.words(x_ND) if self.words else x_ND) @ self.table.float().T
        return said_NV if self.words is None or self.words.bias is None else said_NV + self.words.bias


class NextSentenceHead(Head):
    """Whether the second of two texts follows the first, from the first token of both, through a layer and tanh (Devlin et al. 2019).

    Target: `y` (B,) int64, 0 where it follows, 1 where it does not, -1 where nothing is asked; `weight` (B,), 1 or 0.

    Args:
        of: the input.
        width: D of its tokens.
    """

    def __init__(self, of: str, width: int) -> None:
        super().__init__()
        self.of, self.pooler, self.follows = of, nn.Linear(width, width), nn.Linear(width, 2)
        for layer in (self.pooler, self.follows):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Cross-entropy."""
        return self._loss(self._logits(view), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """Probabilities (B, 2), and the loss."""
        logits_B2 = self._logits(view)
        return logits_B2.softmax(1), self._loss(logits_B2, target)

    def _loss(self, logits_B2: Tensor, target: dict[str, Tensor]) -> Loss:
        losses_B = cross_entropy(logits_B2, target["y"], ignore_index=-1, reduction="none")
        return Loss((losses_B * target["weight"]).sum(), target["weight"].sum())

    def _logits(self, view: View) -> Tensor:
        x_BLD = view.streams[self.of].x_BLD
        with torch.autocast(x_BLD.device.type, enabled=False):
            logits_B2: Tensor = self.follows(self.pooler(x_BLD[:, 0].float()).tanh())
            return logits_B2
