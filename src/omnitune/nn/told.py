"""Told: how likely a language model takes each of several texts behind a prompt, and what follows from that, with gradients.

A loss of the likelihoods needs them twice: first to know how steep it is in each, then so that this steepness, times the slopes of the words, is the
gradient. So no logits of all words are kept: four products with the table of words, where keeping them would take three.

Shape letters: B rows, K texts of a row, N words of all texts.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, pad

from omnitune.nn.heads import RowHead
from omnitune.nn.language import Said, WordsHead
from omnitune.nn.tokens import Loss, View

FAR = -1e30
"""The score of an option that is not there; infinite ones make NaN of a row that has none."""
LEAST = 1e-30
"""The probability of an option that is there, so that others can be told from it."""


@torch.no_grad()
def nats(head: WordsHead, said: Said, rows: int, texts: int) -> tuple[Tensor, Tensor]:
    """The nats that the words of each text cost, and how many words it has, (B, K) float32 each; without gradients."""
    with torch.autocast(said.x_ND.device.type, enabled=False):
        _, losses_N, _ = head.say(said.x_ND.detach(), said.y_N, torch.zeros_like(said.x_ND[:, 0]))
    places = (said.rows_N, said.texts_N)
    made_BK, words_BK = (said.x_ND.new_zeros(rows, texts).index_put(places, of, accumulate=True) for of in (losses_N, torch.ones_like(losses_N)))
    return made_BK, words_BK


def through(head: WordsHead, said: Said, nats_BK: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Tensor:
    """`loss_of` the nats of texts, one number, with its gradient in what said the words."""
    if not torch.is_grad_enabled():
        return loss_of(nats_BK)
    given_BK = nats_BK.detach().requires_grad_()
    total = loss_of(given_BK)
    (steep_BK,) = torch.autograd.grad(total, given_BK, retain_graph=True)
    with torch.autocast(said.x_ND.device.type, enabled=False):
        same, *_ = head.say(said.x_ND, said.y_N, steep_BK[said.rows_N, said.texts_N])
    return total + (same - same.detach())


class ChooseHead(RowHead):
    """Which of several texts goes on from a prompt: a softmax over their log-likelihoods, each divided by its size, times a steepness that learns.

    Target: `y` (B,) int64, the number of the right one, -1 where it is not known; `weight` (B,), 1 or 0.

    Args:
        head: says words.
        of: the input.
        outputs: options of a row at most.
        by: what a log-likelihood is divided by: the number of `token`s or of `byte`s, or `none`.
    """

    def __init__(self, head: WordsHead, of: str, outputs: int, by: str) -> None:
        super().__init__()
        self.words, self.of, self.outputs, self.by = head, of, outputs, by
        self.steepness = torch.nn.Parameter(torch.zeros(1))  # its logarithm

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """Cross-entropy."""
        return self._loss(*self._told(view), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """Probabilities (B, outputs), and the loss."""
        said, nats_BK, sizes_BK = self._told(view)
        return self._probabilities(nats_BK, sizes_BK), self._loss(said, nats_BK, sizes_BK, target)

    def predict(self, view: View) -> Tensor:
        """Probabilities (B, outputs), 0 where there is no option."""
        _, nats_BK, sizes_BK = self._told(view)
        return self._probabilities(nats_BK, sizes_BK)

    def _told(self, view: View) -> tuple[Said, Tensor, Tensor]:
        """What is said, the nats of each option, and its size, 0 where there is none."""
        bytes_BK, said = view.inputs[self.of]["size"], self.words.told(view)
        nats_BK, tokens_BK = nats(self.words, said, *bytes_BK.shape)
        sizes = {"token": tokens_BK, "byte": bytes_BK.float(), "none": (bytes_BK > 0).float()}
        return said, nats_BK, sizes[self.by]

    def _scores(self, nats_BK: Tensor, sizes_BK: Tensor) -> Tensor:
        scores_BK = -nats_BK / sizes_BK.clamp(min=1) * self.steepness.exp()
        return scores_BK.where(sizes_BK > 0, FAR)

    def _probabilities(self, nats_BK: Tensor, sizes_BK: Tensor) -> Tensor:
        p_BK = self._scores(nats_BK, sizes_BK).softmax(1).clamp(min=LEAST) * (sizes_BK > 0)
        return pad(p_BK, (0, self.outputs - p_BK.shape[1]))

    def _loss(self, said: Said, nats_BK: Tensor, sizes_BK: Tensor, target: dict[str, Tensor]) -> Loss:
        def of(given_BK: Tensor) -> Tensor:
            losses_B = cross_entropy(self._scores(given_BK, sizes_BK), target["y"], ignore_index=-1, reduction="none")
            return (losses_B * target["weight"]).sum()

        return Loss(through(self.words, said, nats_BK, of), target["weight"].sum())
