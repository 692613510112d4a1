"""Choosing: which token comes next in each of some texts, as `generate` of transformers chooses it.

Shape letters: B texts, L tokens of the longest, V vocabulary.
"""

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import MinPLogitsWarper, StopStringCriteria, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from omnitune.nn.inlay import Repetition
from omnitune.nn.refill import Text

if TYPE_CHECKING:
    from omnitune.nn.guide import Guide
    from omnitune.nn.writing import Sampling


class Choosing:
    """By the classes of transformers, in their order.

    Args:
        sampling: how.
        numbers: of each text, what tells its draws from those of others: they are the same whatever is written beside it.
        unknown: tokens that are no words.
        guide: what texts are held to.
    """

    def __init__(self, sampling: "Sampling", numbers: Sequence[int], unknown: Sequence[int], guide: "Guide | None") -> None:
        self.drawn, self.unknown, self.guide = bool(sampling.temperature), list(unknown), guide
        self.penalty = None if sampling.repetition_penalty == 1 else Repetition(sampling.repetition_penalty)
        self.narrow = _narrow(sampling) if self.drawn else []
        self.draws = [Random(f"{sampling.seed} {number}") for number in numbers]

    def __call__(self, texts: Sequence[Text], logits_BV: Tensor) -> tuple[list[int], list[float]]:
        """The token of each text, and how likely it is by the model as it is."""
        scores_BV = self._masked(texts, logits_BV)
        chosen_B = self._draw(texts, scores_BV) if self.drawn else scores_BV.argmax(1)
        chance_B = (logits_BV.gather(1, chosen_B[:, None])[:, 0] - logits_BV.logsumexp(1)).exp()
        return chosen_B.tolist(), chance_B.tolist()

    def _masked(self, texts: Sequence[Text], logits_BV: Tensor) -> Tensor:
        """The logits, minus infinity where a token may not be."""
        scores_BV = logits_BV.clone() if self.unknown else logits_BV
        if self.penalty is not None:
            scores_BV = self.penalty(_ids(texts, logits_BV), scores_BV)
        if self.unknown:
            scores_BV[:, self.unknown] = -torch.inf
        if self.guide is not None:
            scores_BV = self.guide.mask([(text.number, tuple(text.written)) for text in texts], scores_BV)
        return scores_BV

    def _draw(self, texts: Sequence[Text], scores_BV: Tensor) -> Tensor:
        """A token where the probabilities, summed up, pass a number between 0 and 1, (B,)."""
        for narrow in self.narrow:
            scores_BV = narrow(None, scores_BV)
        sums_BV = scores_BV.softmax(1).double().cumsum(1)
        place_B1 = torch.tensor([[self.draws[text.number].random()] for text in texts], dtype=torch.float64, device=scores_BV.device)
        return torch.searchsorted(sums_BV / sums_BV[:, -1:], place_B1, right=True)[:, 0]


class Over:
    """Whether a text is done that has got a token: it ends, or has written one of the texts at which to stop.

    Args:
        ends: tokens that end a text.
        stops: texts, see `Sampling`.
        tokenizer: that spells them.
    """

    def __init__(self, ends: set[int], stops: Sequence[str], tokenizer: Any) -> None:
        self.ends = ends
        self.stops = StopStringCriteria(tokenizer, list(stops)) if stops else None

    def __call__(self, text: Text) -> bool:
        if text.written[-1] in self.ends:
            return True
        return self.stops is not None and bool(self.stops(torch.tensor([[*text.prompt, *text.written]]), None)[0])


def _narrow(sampling: "Sampling") -> list[Any]:
    made = [
        TemperatureLogitsWarper(float(sampling.temperature)) if sampling.temperature != 1 else None,
        TopKLogitsWarper(sampling.top_k) if sampling.top_k else None,
        TopPLogitsWarper(sampling.top_p) if sampling.top_p < 1 else None,
        MinPLogitsWarper(sampling.min_p) if sampling.min_p else None,
    ]
    return [one for one in made if one is not None]


def _ids(texts: Sequence[Text], logits_BV: Tensor) -> Tensor:
    """Prompts and what is written, (B, L), padded by a number beyond all words."""
    rows = [[*text.prompt, *text.written] for text in texts]
    longest, beyond = max(map(len, rows)), logits_BV.shape[1]
    return torch.tensor([[beyond] * (longest - len(row)) + row for row in rows], device=logits_BV.device)
