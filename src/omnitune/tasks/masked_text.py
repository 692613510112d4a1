"""masked_text: which words were hidden?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

MASKED, RANDOM = 0.8, 0.1
"""Of the chosen tokens, these shares become the mask and a random token; the rest stay, so that no token can be trusted (Devlin et al. 2019)."""


@component
class MaskedText(SelfSupervised):
    """Words that were hidden in a text: autoencoding pre-training (Devlin et al. 2019, https://arxiv.org/abs/1810.04805). Measured on validation and
    test rows with one draw a row that never changes.

    Args:
        of: the text input.
        share: of its tokens that are asked for.
        span: mean length of what is hidden at once, in tokens or whole words (Joshi et al. 2020, https://arxiv.org/abs/1907.10529); 1 hides single
            ones.
        whole_words: hides all tokens of a word or none, so that none is told by the rest of its word (Cui et al. 2021,
            https://arxiv.org/abs/1906.08101). Words are what the tokenizer parts texts into.
        dynamic: hides other words in every epoch (Liu et al. 2019, https://arxiv.org/abs/1907.11692); else a row is always asked for the same.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    span: Annotated[float, Field(ge=1)] = 1.0
    whole_words: bool = False
    dynamic: bool = True

    def learn_from(self, facts: Facts) -> Facts:
        """`mask`, the number of the mask token, `special` ones that are never hidden, and how many `words` there are.

        Raises:
            Mistake: the backbone has no mask token, reads from left to right, or says words by another table than it reads them by; or its
                tokenizer knows no whole words, or pieces do not.
        """
        if facts["mask"] is None or facts["causal"]:
            wrong = f"the backbone of {self.of!r} " + ("reads from left to right" if facts["causal"] else "knows no mask token")
            raise Mistake("masked_text", wrong, "Choose a BERT or another encoder, or ask generate of this one")
        if not facts["tied"]:
            wrong = f"the backbone of {self.of!r} says words by a table of its own, which is not read yet"
            raise Mistake("masked_text", wrong, "Choose a checkpoint whose config.json says tie_word_embeddings: true")
        if self.whole_words and facts["pieces"]:
            raise Mistake("masked_text", "what is kept of pieces are tokens, not where words begin", "Leave out whole_words, or pieces of the input")
        if self.whole_words and not facts["parted"]:
            raise Mistake("masked_text", f"the tokenizer of {self.of!r} does not part texts into words", "Leave whole_words out, or set span")
        return {"mask": facts["mask"], "special": facts["special"], "words": facts["words"]}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch with words hidden; `labels` (B, L): what they were, -1 elsewhere; `y` (B, 2): their number, and 0; `weight` (B,): the number."""
        import numpy as np
        import torch

        from omnitune.nn.language import NOT_ASKED

        inputs = batch.inputs[self.of]
        ids_BL, words_BL = inputs["input_ids"].numpy(), inputs["words"].numpy()
        free_BL = inputs["attention_mask"].numpy().astype(bool) & ~np.isin(ids_BL, facts["special"]) & inputs["present"].numpy()[:, None]
        hidden_BL, labels_BL = ids_BL.copy(), np.full_like(ids_BL, NOT_ASKED)
        for i, row in enumerate(batch.rows.tolist()):
            there = np.flatnonzero(free_BL[i])
            luck = rng if rng and self.dynamic else np.random.default_rng([row, len(there)])
            places = self._chosen(there, words_BL[i, there], luck)
            labels_BL[i, places] = ids_BL[i, places]
            dice, other = luck.random(len(places)), luck.integers(facts["words"], size=len(places))
            hidden_BL[i, places] = np.where(dice < MASKED, facts["mask"], np.where(dice < MASKED + RANDOM, other, ids_BL[i, places]))
        asked_B = torch.from_numpy((labels_BL != NOT_ASKED).sum(1))
        seen = replace(batch, inputs=batch.inputs | {self.of: inputs | {"input_ids": torch.from_numpy(hidden_BL)}})
        y_B2 = torch.stack([asked_B, torch.zeros_like(asked_B)], 1)
        return seen, {"labels": torch.from_numpy(labels_BL), "y": y_B2, "weight": asked_B.float()}

    def _chosen(self, places: np.ndarray[Any, Any], words: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Which of the tokens at these places, of these words, are asked for: a share of them, at least one; of whole words, as many as reach it."""
        import numpy as np

        wanted = min(len(places), max(1, round(self.share * len(places))))
        if not self.whole_words and self.span == 1.0:
            return np.sort(rng.choice(places, wanted, replace=False))
        starts = np.flatnonzero(np.diff(words, prepend=words[:1] - 1)) if self.whole_words else np.arange(len(places))
        units, chosen, found = np.split(places, starts[1:]), set[int](), 0
        for unit in self._drawn(len(units), rng):
            if found >= wanted:
                break
            if unit not in chosen:
                chosen.add(unit)
                found += len(units[unit])
        return np.concatenate([units[unit] for unit in sorted(chosen)]) if chosen else places[:0]

    def _drawn(self, units: int, rng: np.random.Generator) -> Iterator[int]:
        """Tokens or words in the order in which they are hidden: each once, or for ever in spans whose length is geometric."""
        if self.span == 1.0:
            yield from rng.permutation(units).tolist()
        while self.span > 1.0:
            start, length = int(rng.integers(units)), int(rng.geometric(1 / self.span))
            yield from range(start, min(units, start + length))

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `LanguageHead` with the layers that the backbone's family says hidden words by; of a checkpoint that has them, its own."""
        from omnitune.nn.language import LanguageHead

        return LanguageHead(self.of, backbones[self.of], masked=True)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Accuracy and perplexity of a hidden token; they say nothing of how well the text could be written."""
        from omnitune.nn.metrics import token_metrics

        return {name: metric for name, metric in token_metrics().items() if name != "bits_per_byte"}
