"""Prefer: two answers to a prompt, of which the chosen one is to be likelier.

Shape letters: B rows.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from omnitune.nn.heads import Head
from omnitune.nn.language import Said, WordsHead
from omnitune.nn.tokens import Loss, View
from omnitune.nn.told import nats, through


class PreferHead(Head):
    """The logistic loss of the difference of two rewards, those of the chosen and of the rejected answer.

    Target: `weight` (B,), 1 or 0; with `dpo`, `reference` (B, 2), the log-likelihoods that the model before training gives both.

    Args:
        head: says words.
        of: the input.
        kind: `dpo` (the reward is the log-likelihood beyond the reference) or `simpo` (it is the log-likelihood per token).
        beta: multiplies rewards.
        margin: is taken off the difference, of `simpo`.
    """

    def __init__(self, head: WordsHead, of: str, kind: str, beta: float, margin: float) -> None:
        super().__init__()
        self.words, self.of, self.kind, self.beta, self.margin = head, of, kind, beta, margin

    def loss(self, view: View, target: dict[str, Tensor]) -> Loss:
        """See the class."""
        return self._loss(*self._told(view), target)

    def measure(self, view: View, target: dict[str, Tensor]) -> tuple[Tensor, Loss]:
        """(B, 3): the log-likelihoods of both, in nats, and the difference of their rewards; and the loss."""
        said, nats_B2, tokens_B2 = self._told(view)
        led_B = self._led(nats_B2, tokens_B2, target)
        return torch.cat([-nats_B2, led_B[:, None]], 1), self._loss(said, nats_B2, tokens_B2, target)

    def likelihoods(self, view: View) -> Tensor:
        """The log-likelihoods of both, (B, 2), without gradients."""
        return -self._told(view)[1]

    def _told(self, view: View) -> tuple[Said, Tensor, Tensor]:
        said, shape = self.words.told(view), view.inputs[self.of]["size"].shape
        nats_BK, tokens_BK = nats(self.words, said, *shape)
        lacks = (0, 2 - shape[1])  # no row of a batch may have an answer
        return said, pad(nats_BK, lacks), pad(tokens_BK, lacks)

    def _led(self, nats_B2: Tensor, tokens_B2: Tensor, target: dict[str, Tensor]) -> Tensor:
        """By how much the reward of the chosen answer is higher, (B,)."""
        better_B2 = -nats_B2 - target["reference"] if self.kind == "dpo" else -nats_B2 / tokens_B2.clamp(min=1)
        led_B: Tensor = self.beta * (better_B2[:, 0] - better_B2[:, 1])
        return led_B

    def _loss(self, said: Said, nats_B2: Tensor, tokens_B2: Tensor, target: dict[str, Tensor]) -> Loss:
        def of(given_B2: Tensor) -> Tensor:
            led_B = self._led(given_B2, tokens_B2, target) - (self.margin if self.kind == "simpo" else 0.0)
            return -(logsigmoid(led_B) * target["weight"]).sum()

        return Loss(through(self.words, said, nats_B2, of), target["weight"].sum())
