"""Inlay: vectors of pictures and sounds that stand in texts in the place of words; a model reads them by numbers beyond its own words.

So all that reads texts (padding, flat rows, branches, beams) reads them as it is.

Shape letters: B rows, L tokens of a row before, M after vectors were laid in, N vectors of a picture or sound at most, K vectors of all, D width.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from omnitune.nn.flat import REFUSED
from omnitune.nn.tokens import Tokens

SLOTS = "slots"
"""Among what is read of a text: where vectors are to stand, see `lay`."""


LOOKED_AT = 4096
"""Words whose vectors are looked at."""


@dataclass(frozen=True)
class Laid:
    """Texts with vectors in them.

    Args:
        ids_BM: numbers of words, or from `words` on those of vectors.
        mask_BM: True where a token is real; padded on the right.
        from_BM: of each token, where it or its slot stood before.
        last_BL: of each token before, where it stands now; of a slot, its last vector.
        vectors_KD: of all pictures and sounds.
    """

    ids_BM: Tensor
    mask_BM: Tensor
    from_BM: Tensor
    last_BL: Tensor
    vectors_KD: Tensor

    def back(self, tokens: Tokens, mask_BL: Tensor) -> Tokens:
        """Of the tokens that were made of them those of words, and of each slot the last one, at the places that they had before."""
        x_BLD = tokens.x_BLD.gather(1, self.last_BL[..., None].expand(-1, -1, tokens.x_BLD.shape[2]))
        return Tokens(x_BLD, mask_BL, tokens.pool)


def lay(ids_BL: Tensor, mask_BL: Tensor, slots_BL: Tensor, shown: Mapping[int, Tokens], words: int) -> Laid:
    """Lays vectors into texts.

    Args:
        ids_BL: of the texts, padded on the right.
        mask_BL: True where a token is real.
        slots_BL: -1 at words, else the number of what is to stand there.
        shown: by number, the vectors of each row (B, N, D), real ones first, one at least.
        words: that the model knows, the first number of a vector.
    """
    counts_BL, first_BL, start = mask_BL.long(), torch.zeros_like(ids_BL), words
    for number, tokens in shown.items():
        rows, most = tokens.mask_BL.shape
        here_BL, row_B1 = slots_BL == number, torch.arange(rows, device=ids_BL.device)[:, None]
        counts_BL = torch.where(here_BL, tokens.mask_BL.sum(1, keepdim=True), counts_BL)
        first_BL = torch.where(here_BL, start + row_B1 * most, first_BL)
        start += rows * most
    ends_BL = counts_BL.cumsum(1)
    place_BM = torch.arange(max(1, int(ends_BL[:, -1].max())), device=ids_BL.device).expand(len(ids_BL), -1).contiguous()
    from_BM = torch.searchsorted(ends_BL, place_BM, right=True).clamp(max=ids_BL.shape[1] - 1)
    inside_BM = place_BM - (ends_BL - counts_BL).gather(1, from_BM)
    ids_BM = torch.where(slots_BL.gather(1, from_BM) >= 0, first_BL.gather(1, from_BM) + inside_BM, ids_BL.gather(1, from_BM))
    mask_BM = place_BM < ends_BL[:, -1:]
    vectors_KD = torch.cat([tokens.x_BLD.flatten(0, 1) for tokens in shown.values()])
    return Laid(ids_BM * mask_BM, mask_BM, from_BM, (ends_BL - 1).clamp(min=0), vectors_KD)


def vocabulary(model: Any) -> int:
    """Words that a model of texts knows."""
    return int(model.config.get_text_config().vocab_size)


@torch.no_grad()
def size(model: Any) -> tuple[int, float]:
    """The width of the vectors of words, and their root mean square."""
    table = model.get_input_embeddings()
    x_ND = table(torch.arange(min(LOOKED_AT, vocabulary(model)), device=next(table.parameters()).device)).float()
    return x_ND.shape[1], float(x_ND.square().mean().sqrt())


@contextmanager
def reading(model: Any, vectors_KD: Tensor | None) -> Iterator[None]:
    """Meanwhile, the numbers from `vocabulary` on stand for these vectors; for none, all is as it is."""
    if vectors_KD is None:
        yield
        return
    table, words = model.get_input_embeddings(), vocabulary(model)
    table.forward = _beyond(table.forward, words, vectors_KD)
    try:
        yield
    finally:
        del table.forward


def _beyond(read: Callable[[Tensor], Tensor], words: int, vectors_KD: Tensor) -> Callable[[Tensor], Tensor]:
    def both(ids: Tensor) -> Tensor:
        vector = ids >= words
        x = read(ids.masked_fill(vector, 0))
        return torch.where(vector[..., None], vectors_KD[(ids - words).clamp(min=0)].to(x.dtype), x)

    return both


@torch.no_grad()
def proved(model: Any, read: Callable[[Tensor, Tensor], Tensor]) -> bool:
    """Whether a model reads the vectors of words as it reads these words: nothing is taken on trust.

    Args:
        model: of texts, in evaluation.
        read: what it makes of numbers and their mask.
    """
    words = vocabulary(model)
    ids_14 = torch.tensor([[5, 6, 7, 8]], device=model.device) % words
    beyond_14 = torch.tensor([[5 % words, words, words + 1, 8 % words]], device=model.device)
    try:
        wanted, vectors_2D = read(ids_14, torch.ones_like(ids_14)), model.get_input_embeddings()(ids_14[0, 1:3])
        with reading(model, vectors_2D):
            found = read(beyond_14, torch.ones_like(ids_14))
    except torch.OutOfMemoryError:  # says nothing of the model
        raise
    except (*REFUSED, AttributeError):
        return False
    return torch.allclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


class Repetition:
    """Divides the logits of words that are there already, as transformers does (Keskar et al. 2019), in texts with vectors in them.

    Args:
        penalty: above 1 to write them less often.
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def __call__(self, ids_BM: Tensor, scores_BV: Tensor) -> Tensor:
        """The logits, of words that are there divided where they are positive, multiplied where they are negative."""
        there_BV = torch.zeros(len(scores_BV), scores_BV.shape[1] + 1, dtype=torch.bool, device=ids_BM.device)
        there_BV = there_BV.scatter(1, ids_BM.clamp(max=scores_BV.shape[1]), True)[:, :-1]
        return torch.where(there_BV, torch.where(scores_BV < 0, scores_BV * self.penalty, scores_BV / self.penalty), scores_BV)
