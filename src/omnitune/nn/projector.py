"""Projector: what a picture or a sound is to a language model, from the tokens of an encoder to vectors as wide as its words (LLaVA: Liu et al. 2023,
https://arxiv.org/abs/2304.08485; two layers: https://arxiv.org/abs/2310.03744).

Shape letters: B rows, L tokens of an encoder, N of them that are left, D width.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from omnitune.errors import Mistake
from omnitune.nn import inlay, missing
from omnitune.nn.encoder import Encoder
from omnitune.nn.inlay import SLOTS
from omnitune.nn.tokens import Tokens

GELU = 0.425
"""Mean square of GELU of a standard normal number."""
SPECIAL = 9
"""Tokens at most, less one, that stand before the patches of a picture (DINOv2 has a class token and four registers)."""


class Projector(nn.Module):
    """Tokens to vectors. They begin as long as the words of the language model are, so that its first layer is not drowned. A missing picture or
    sound is one learned vector.

    Args:
        width: of the tokens.
        words: of the vectors of words.
        length: root mean square of these.
    """

    def __init__(self, width: int, words: int, length: float) -> None:
        super().__init__()
        first, last = nn.Linear(width, words), nn.Linear(words, words)
        for layer, std in ((first, width**-0.5), (last, length * (GELU * words) ** -0.5)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)
        self.layers = nn.Sequential(nn.LayerNorm(width), first, nn.GELU(), last)
        self.stand_in = nn.Parameter(torch.randn(words) * length)

    def forward(self, tokens: Tokens) -> Tokens:
        """(B, N, words), real ones first, one at least."""
        return Tokens(*missing.sequence(tokens, self.layers, self.stand_in))


def fewer(tokens: Tokens, most: int, aspect: float | None) -> Tokens:
    """At most so many tokens a row, each the mean of neighbours: of a picture in a grid of patches, of a sound in time.

    Args:
        tokens: of pictures all real or all masked in a row.
        most: of a row.
        aspect: height over width of pictures; None for sounds.
    """
    return _in_time(tokens, most) if aspect is None else _in_a_grid(tokens, most, aspect)


def _in_a_grid(tokens: Tokens, most: int, aspect: float) -> Tokens:
    """Tokens before the patches (a class token, registers) are left out, as LLaVA does."""
    B, L, D = tokens.x_BLD.shape
    special, rows, columns = grid(L, aspect)
    x_BDHW = tokens.x_BLD[:, special:].transpose(1, 2).reshape(B, D, rows, columns)
    if rows * columns > most:
        rows = max(1, min(rows, most, math.floor(math.sqrt(most * rows / columns) + 1e-6)))
        x_BDHW = adaptive_avg_pool2d(x_BDHW, (rows, max(1, min(columns, most // rows))))
    x_BND = x_BDHW.flatten(2).transpose(1, 2)
    return Tokens(x_BND, tokens.mask_BL[:, -1:].expand(x_BND.shape[:2]))


@cache
def grid(length: int, aspect: float) -> tuple[int, int, int]:
    """How many of `length` tokens stand before the patches, and how many rows and columns of these there are: what is nearest to the picture's
    height over width, and of equals what leaves out fewest."""

    def off(special: int, rows: int) -> float:
        return round(abs(math.log(rows * rows / (length - special) / aspect)), 6)

    each = [(special, rows) for special in range(min(SPECIAL, length)) for rows in range(1, length - special + 1) if (length - special) % rows == 0]
    special, rows = min(each, key=lambda one: (off(*one), one[0]))
    return special, rows, (length - special) // rows


def _in_time(tokens: Tokens, most: int) -> Tokens:
    """Each row by its own number of tokens, real ones being first."""
    x_BLD, mask_BL = tokens.x_BLD, tokens.mask_BL
    length_B1 = mask_BL.sum(1, keepdim=True)
    kept_B1 = length_B1.clamp(max=most)
    N = max(1, min(most, x_BLD.shape[1]))
    place_BL = torch.arange(x_BLD.shape[1], device=x_BLD.device).expand_as(mask_BL)
    into_BL = (place_BL * kept_B1 // length_B1.clamp(min=1)).clamp(max=N - 1)
    into_BNL = (into_BL[:, None] == torch.arange(N, device=x_BLD.device)[:, None]) & mask_BL[:, None]
    weight_BNL = into_BNL.to(x_BLD.dtype)
    x_BND = weight_BNL @ x_BLD / weight_BNL.sum(2, keepdim=True).clamp(min=1)
    return Tokens(x_BND, into_BNL.any(2))


@dataclass(frozen=True)
class Shown:
    """How an input stands in prompts.

    Args:
        key: of its projector; that of inputs which share a backbone is one.
        width: of its tokens.
        most: vectors that it takes at most, see `fewer`.
        aspect: height over width of pictures; None of sounds.
    """

    key: str
    width: int
    most: int
    aspect: float | None


class Inlays(nn.Module):
    """What lays pictures and sounds into the prompts of one language model.

    Args:
        reader: of its texts.
        backbone: the language model itself.
        shown: inputs by number.

    Raises:
        Mistake: the model cannot read vectors in the place of words.
    """

    def __init__(self, reader: nn.Module, backbone: Encoder, shown: Mapping[int, Shown]) -> None:
        super().__init__()
        self._reader, self.shown = (reader, backbone), dict(shown)  # in a tuple, so that its weights are not this module's too
        if backbone.filled and not backbone.takes_vectors():
            wrong = f"{type(backbone.model).__name__} does not read vectors in the place of words, so nothing but words can stand in its prompts"
            raise Mistake("prompt", wrong, "Choose a language model that takes embeddings, such as a Llama, Qwen, GPT-2 or T5")
        words, length = inlay.size(backbone.model)
        widths = {one.key: one.width for one in shown.values()}
        self.projectors = nn.ModuleDict({key: Projector(width, words, length if backbone.filled else 1.0) for key, width in widths.items()})

    def vectors(self, streams: Mapping[int, Tokens]) -> dict[int, Tokens]:
        """What tokens of inputs, by number, are to the language model."""
        made = {number: fewer(tokens, self.shown[number].most, self.shown[number].aspect) for number, tokens in streams.items()}
        return {number: self.projectors[self.shown[number].key](tokens) for number, tokens in made.items()}

    def lay(self, inputs: Mapping[str, Tensor], streams: Mapping[int, Tokens]) -> inlay.Laid:
        """Prompts with what stands in them, from `input_ids`, `attention_mask` and `slots` (B, L)."""
        used = {number: tokens for number, tokens in streams.items() if bool((inputs[SLOTS] == number).any())}
        words = inlay.vocabulary(self._reader[1].model)
        return inlay.lay(inputs["input_ids"], inputs["attention_mask"].bool(), inputs[SLOTS], self.vectors(used), words)

    def forward(self, inputs: Mapping[str, Tensor], streams: Mapping[int, Tokens]) -> Tokens:
        """The tokens of prompts, (B, L, D), each of a slot the last one of what stands there; before a decoder apart, whose words are `labels`, all
        tokens, since it looks at them all."""
        reader, backbone = self._reader
        laid = self.lay(inputs, streams)
        branch = {"branch": inputs["branch"].gather(1, laid.from_BM)} if "branch" in inputs else {}
        with inlay.reading(backbone.model, laid.vectors_KD):
            tokens = reader({"input_ids": laid.ids_BM, "attention_mask": laid.mask_BM.long(), "present": inputs["present"]} | branch)
        return tokens if "labels" in inputs else laid.back(tokens, inputs["attention_mask"].bool() & inputs["present"][:, None])
