"""generate: which word comes next?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Generate(SelfSupervised):
    """The next word at every place of a text: autoregressive pre-training (Radford et al. 2018), or more of it for a checkpoint.

    The backbone must read from left to right (GPT, Llama). Words beyond `max_tokens` are not asked for, and where a text is cut there, its end
    is not either; of a text that is read in pieces every word is asked for once, the first of a piece by the piece before it.

    Args:
        of: the text input that is continued.
    """

    def learn_from(self, facts: Facts) -> Facts:
        """`ends`: whether the tokenizer marks the end of a text.

        Raises:
            Mistake: the backbone reads texts as a whole, or was saved without the table that it says words by.
        """
        if not facts["causal"]:
            wrong = f"the backbone of {self.of!r} sees the words that it would be asked for"
            raise Mistake("generate", wrong, "Choose a GPT or another decoder, or ask masked_text of this one")
        if not facts["tied"] and not facts["says"]:
            wrong = f"the backbone of {self.of!r} says words by a table of its own, and its files do not hold it"
            raise Mistake("generate", wrong, "Choose a checkpoint that was saved with its language head")
        return {"ends": facts["ends"]}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`labels` (B, L): the next token, -1 where there is none; `y` (B, 2): their number and their UTF-8 bytes; `weight` (B,): the number."""
        import torch

        from omnitune.nn.language import NOT_ASKED

        inputs = batch.inputs[self.of]
        ids_BL, real_BL, rows = inputs["input_ids"], inputs["attention_mask"].bool(), torch.arange(batch.size)
        labels_BL = torch.full_like(ids_BL, NOT_ASKED)
        labels_BL[:, :-1] = torch.where(real_BL[:, 1:], ids_BL[:, 1:], NOT_ASKED)
        if facts["ends"]:
            before_last_B = (real_BL.sum(1) - 2).clamp(min=0)
            labels_BL[rows, before_last_B] = torch.where(inputs["cut"], NOT_ASKED, labels_BL[rows, before_last_B])
        last_B = (real_BL.sum(1) - 1).clamp(min=0)
        labels_BL[rows, last_B] = torch.where(inputs["next"] >= 0, inputs["next"], labels_BL[rows, last_B])
        labels_BL = torch.where(inputs["present"][:, None], labels_BL, NOT_ASKED)
        asked_B = (labels_BL != NOT_ASKED).sum(1)
        y_B2 = torch.stack([asked_B, torch.where(inputs["present"], inputs["bytes"], 0)], 1)
        return batch, {"labels": labels_BL, "y": y_B2, "weight": asked_B.float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `LanguageHead` with the words of the backbone."""
        from omnitune.nn.language import LanguageHead

        return LanguageHead(self.of, backbones[self.of])

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Bits per byte, which compares models of any tokenizer; perplexity and accuracy of a token, which do not."""
        from omnitune.nn.metrics import token_metrics

        return token_metrics()
