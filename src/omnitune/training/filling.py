"""Filling: texts in which a model that knows hidden words puts others in the place of some.

Shape letters: N words that are asked for, D width, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.schema import Schema
from omnitune.modalities._words import Row
from omnitune.nn import values as cells
from omnitune.nn.language import LanguageHead
from omnitune.nn.tokens import Batch
from omnitune.nn.writing import Sampling
from omnitune.recipe import Recipe
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
ROWS = 32
"""That are filled together."""
TURNS = 3
"""In which the hidden words of a text are filled, each seeing those of the turns before it (Wang and Cho 2019, https://arxiv.org/abs/1902.04094)."""
BEFORE = "a"
"""A word that others are tried behind, since many tokenizers spell a word at the beginning otherwise."""


@dataclass
class _Text:
    """A text, its tokens, where each stands in it, and which of them are hidden."""

    text: str
    ids: list[int]
    spans: list[tuple[int, int]]
    words: list[int]
    hidden: list[int] = field(default_factory=list)

    def filled(self, tokenizer: Any) -> str:
        """The text with the words that its tokens now say in the hidden places; all else stays letter by letter."""
        parts, last = list[str](), 0
        for place in sorted(self.hidden):
            start, stop = self.spans[place]
            start += len(self.text[start:stop]) - len(self.text[start:stop].lstrip())
            word = tokenizer.decode([self.ids[place]]).strip()
            parts += [self.text[last:start], word[:1].upper() + word[1:] if self.text[start:stop][:1].isupper() else word]
            last = stop
        return "".join([*parts, self.text[last:]])


class Filling:
    """Hides words that are one token and puts others there, drawn from what the model says (Wu et al. 2019, https://arxiv.org/abs/1812.06705).

    Args:
        model: as it stands.
        recipe, schema: how it is trained.
        name: of a task `masked_text`.
        share: of the words that can be hidden, those that are.
    """

    def __init__(self, model: Model, recipe: Recipe, schema: Schema, name: str, share: float) -> None:
        task, head = recipe.tasks[name], model.head(name)
        assert isinstance(head, LanguageHead)
        self.model, self.head, self.of, self.share, self.precision = model.eval(), head, task.of, share, recipe.train.precision
        self.modality, self.facts = recipe.inputs[task.of], schema.inputs[task.of]
        self.mask, self.tokenizer = int(schema.tasks[name]["mask"]), self.modality.backbone.tokenizer(self.facts)
        self.limit = min(self.modality.max_tokens, int(self.tokenizer.model_max_length))
        self.fit_V = _whole_words(self.tokenizer, len(head.table))

    def __call__(self, texts: Sequence[Any], sampling: Sampling) -> list[str]:
        """The texts in their order; of `sampling` count temperature, `top_k`, `top_p` and `seed`. What lies beyond `max_tokens` stays as it is."""
        sampling.options(self.tokenizer)
        rng, made = np.random.default_rng(sampling.seed), list[str]()
        luck = torch.Generator().manual_seed(sampling.seed)
        for start in range(0, len(texts), ROWS):
            some = [self._hidden(cells.text(text), rng) for text in texts[start : start + ROWS]]
            for turn in range(TURNS):
                self._fill(some, turn, sampling, luck)
            made += [one.filled(self.tokenizer) for one in some]
        return made

    def _hidden(self, text: str, rng: np.random.Generator) -> _Text:
        """The text with some words masked, in the order in which they are to be filled."""
        made = self.tokenizer(text, truncation=True, max_length=self.limit, return_offsets_mapping=True)
        words = [-1 if word is None else word for word in made.word_ids()]
        counts = {word: words.count(word) for word in words}
        free = [place for place, token in enumerate(made["input_ids"]) if words[place] >= 0 and counts[words[place]] == 1 and self.fit_V[token]]
        chosen = rng.permutation(free)[: max(1, round(self.share * len(free)))].tolist() if free else []
        ids = [self.mask if place in chosen else token for place, token in enumerate(made["input_ids"])]
        return _Text(text, ids, made["offset_mapping"], words, chosen)

    @torch.inference_mode()
    def _fill(self, texts: Sequence[_Text], turn: int, sampling: Sampling, luck: torch.Generator) -> None:
        """Words for the hidden places whose turn it is, drawn at once for all texts."""
        asked = [(row, place) for row, one in enumerate(texts) for place in one.hidden[turn::TURNS]]
        if not asked:
            return
        read = self.modality.encode([Row(one.ids, one.words, cut=False, bytes=0) for one in texts], self.facts)
        batch = Batch({self.of: read}, np.arange(len(texts))).to(self.model.device)
        with autocast(self.model.device, self.precision):
            x_BLD = self.model.tokens(self.of, batch).x_BLD
        rows_N, places_N = (torch.tensor(of, device=x_BLD.device) for of in zip(*asked, strict=True))
        logits_NV = self.head.logits(x_BLD[rows_N, places_N].float()).cpu().masked_fill(~torch.from_numpy(self.fit_V), -torch.inf)
        for (row, place), word in zip(asked, _drawn(logits_NV, sampling, luck).tolist(), strict=True):
            texts[row].ids[place] = word


def _drawn(logits_NV: Tensor, sampling: Sampling, luck: torch.Generator) -> Tensor:
    """A word for each place, (N,)."""
    from transformers import TopKLogitsWarper, TopPLogitsWarper

    if not sampling.temperature:
        return logits_NV.argmax(1)
    logits_NV = logits_NV / sampling.temperature
    logits_NV = TopKLogitsWarper(sampling.top_k)(None, logits_NV) if sampling.top_k else logits_NV
    logits_NV = TopPLogitsWarper(sampling.top_p)(None, logits_NV) if sampling.top_p < 1 else logits_NV
    return torch.multinomial(logits_NV.softmax(1), 1, generator=luck)[:, 0]


def _whole_words(tokenizer: Any, size: int) -> Array:
    """Which tokens are by themselves a whole word of letters, read back as the same token behind another word, (V,) bool."""
    known = sorted(set(range(min(size, len(tokenizer)))) - set(tokenizer.all_special_ids))
    words = [tokenizer.decode([token]).strip() for token in known]
    behind = tokenizer([f"{BEFORE} {word}" for word in words], add_special_tokens=False)["input_ids"]
    first = len(tokenizer(BEFORE, add_special_tokens=False)["input_ids"])
    fit_V = np.zeros(size, bool)
    for token, word, ids in zip(known, words, behind, strict=True):
        fit_V[token] = word.isalpha() and ids[first:] == [token]
    return fit_V
