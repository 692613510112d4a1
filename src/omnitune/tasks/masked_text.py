"""masked_text: which words were hidden?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    """Words that were hidden in a text: autoencoding pre-training (Devlin et al. 2019, https://arxiv.org/abs/1810.04805), drawn anew in every epoch
    (Liu et al. 2019). Measured on validation and test rows with one draw a row that never changes.

    Args:
        of: the text input.
        share: of its tokens that are asked for.
        span: mean length of what is hidden at once, in tokens (Joshi et al. 2020, https://arxiv.org/abs/1907.10529); 1 hides single tokens.
    """

    share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    span: Annotated[float, Field(ge=1)] = 1.0

    def learn_from(self, facts: Facts) -> Facts:
        """`mask`, the number of the mask token, `special` ones that are never hidden, how many `words` there are, and whether the backbone `says`
        them by layers of its own.

        Raises:
            Mistake: the backbone has no mask token, or reads from left to right.
        """
        if facts["mask"] is None or facts["causal"]:
            wrong = f"the backbone of {self.of!r} " + ("reads from left to right" if facts["causal"] else "knows no mask token")
            raise Mistake("masked_text", wrong, "Choose a BERT or another encoder, or ask generate of this one")
        return {"mask": facts["mask"], "special": facts["special"], "words": facts["words"], "says": facts["says"]}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch with words hidden; `labels` (B, L): what they were, -1 elsewhere; `y` (B, 2): their number, and 0; `weight` (B,): the number."""
        import numpy as np
        import torch

        from omnitune.nn.language import NOT_ASKED

        inputs = batch.inputs[self.of]
        ids_BL = inputs["input_ids"].numpy()
        free_BL = inputs["attention_mask"].numpy().astype(bool) & ~np.isin(ids_BL, facts["special"]) & inputs["present"].numpy()[:, None]
        hidden_BL, labels_BL = ids_BL.copy(), np.full_like(ids_BL, NOT_ASKED)
        for i, row in enumerate(batch.rows.tolist()):
            luck = rng or np.random.default_rng([row, len(ids_BL[i][free_BL[i]])])
            places = self._chosen(np.flatnonzero(free_BL[i]), luck)
            labels_BL[i, places] = ids_BL[i, places]
            dice, other = luck.random(len(places)), luck.integers(facts["words"], size=len(places))
            hidden_BL[i, places] = np.where(dice < MASKED, facts["mask"], np.where(dice < MASKED + RANDOM, other, ids_BL[i, places]))
        asked_B = torch.from_numpy((labels_BL != NOT_ASKED).sum(1))
        seen = replace(batch, inputs=batch.inputs | {self.of: inputs | {"input_ids": torch.from_numpy(hidden_BL)}})
        y_B2 = torch.stack([asked_B, torch.zeros_like(asked_B)], 1)
        return seen, {"labels": torch.from_numpy(labels_BL), "y": y_B2, "weight": asked_B.float()}

    def _chosen(self, places: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
        """Which of the tokens at these places are asked for: a share of them, at least one, in spans whose length is geometric."""
        import numpy as np

        wanted = min(len(places), max(1, round(self.share * len(places))))
        if self.span == 1.0:
            return np.sort(rng.choice(places, wanted, replace=False))
        chosen: set[int] = set()
        while len(chosen) < wanted:
            start, length = int(rng.integers(len(places))), int(rng.geometric(1 / self.span))
            chosen.update(range(start, min(len(places), start + length, start + wanted - len(chosen))))
        return places[sorted(chosen)]

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `LanguageHead` as the checkpoint was trained with; with BERT's transform, new, before its words where it has none."""
        from omnitune.nn.language import LanguageHead

        return LanguageHead(self.of, backbones[self.of], transform=not facts.get("says", False))

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Accuracy and perplexity of a hidden token; they say nothing of how well the text could be written."""
        from omnitune.nn.metrics import token_metrics

        return {name: metric for name, metric in token_metrics().items() if name != "bits_per_byte"}
