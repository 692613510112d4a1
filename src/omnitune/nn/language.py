"""Language: which word belongs at a place of a text, asked of the backbone that read it.

Shape letters: B rows, L tokens, D width, V vocabulary, N tokens that are asked about.
"""

import torch
from torch import Tensor, nn

from omnitune.nn.encoder import Encoder
from omnitune.nn.heads import Head
from omnitune.nn.linear_cross_entropy import linear_cross_entropy
from omnitune.nn.tokens import Loss, View

NOT_ASKED = -1


class LanguageHead(Head):
    """Words from the tokens of one input, as its checkpoint says them (`LMHead`), or by the table that its backbone reads words from (tied: Press
    and Wolf 2017, https://arxiv.org/abs/1608.05859). No logit is made where nothing is asked.

    Target: `labels` (B, L) int64, the word that is asked for at each token, -1 for none; `weight` (B,), how many are asked in each row, or 0;
    `y` (B, 2), tokens that are asked for and their UTF-8 bytes.

    Args:
        of: the input.
        encoder: its backbone.
        transform: new ones instead of the checkpoint's own: a layer, GELU and norm before the table, and a bias for each word behind it, as BERT
            has them.
    """

    def __init__(self, of: str, encoder: Encoder, transform: bool = False) -> None:
        super().__init__()
        self.of, self._encoder = of, (encoder,)  # in a tuple, so that its weights are not this module's too
        own = None if transform else encoder.speak()
        self._own = (own,)
        width, words = encoder.width, len(self.table)
        self.transform = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.LayerNorm(width)) if transform else None
        self.bias = nn.Parameter(torch.zeros(words)) if transform else None

    @property
    def table(self) -> Tensor:
        """A vector a word, (V, D)."""
        (own,), read_VD = self._own, self._encoder[0].model.get_input_embeddings().weight
        table: Tensor = own.table(read_VD) if own else read_VD
        return table

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Of a row: the mean cross-entropy of its words, times `weight`."""
        total, *_ = self._ask(view, target)
        return Loss(total, target["weight"].sum())

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 2): the cross-entropy of all words of a row, in nats, and how many of them are right; and the loss."""
        total, losses_N, right_N, rows_N = self._ask(view, target)
        found_B2 = losses_N.new_zeros(len(target["weight"]), 2)
        found_B2.index_add_(0, rows_N, torch.stack([losses_N, right_N.float()], 1))
        return found_B2, Loss(total, target["weight"].sum())

    def _ask(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The loss, and of each word that is asked for its own loss, whether it is right, and its row."""
        tokens, labels_BL = view.streams[self.of], target["labels"]
        rows_N, places_N = (labels_BL >= 0).nonzero(as_tuple=True)
        asked_B = (labels_BL >= 0).sum(1).clamp(min=1)
        with torch.autocast(tokens.x_BLD.device.type, enabled=False):
            x_ND = tokens.x_BLD[rows_N, places_N].float()
            (own,) = self._own
            before = own or self.transform
            x_ND, bias_V = before(x_ND) if before else x_ND, own.out.bias if own else self.bias
            scale_N = (target["weight"] / asked_B)[rows_N]
            found = linear_cross_entropy(x_ND, self.table.float(), bias_V, labels_BL[rows_N, places_N], scale_N, own.cap if own else None)
        return *found, rows_N
