"""denoise: what stood where a text has holes?"""

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

    Ids = np.ndarray[Any, Any]

LEAST = 2
"""Tokens of a text with a hole: one that is hidden, and one that is not."""
RATES = {"sentinels": 0.15, "mask": 0.3}
"""Of tokens that are hidden, by what stands for them: T5 (Raffel et al. 2020, section 3.1.4) and BART (Lewis et al. 2020)."""


@component
class Denoise(SelfSupervised):
    """Spans of a text that were hidden, written by the decoder of an encoder-decoder: pre-training of T5 and BART, or more of it. Measured on
    validation and test rows with holes that never change; in training they are others in every epoch.

    Where the tokenizer has sentinels (`<extra_id_0>` and so on), each span is replaced by one of them, and what is asked for is the spans, each
    behind its sentinel, and one sentinel more (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4). Else each span is replaced by
    one mask token, of no token too, and the whole text is asked for (text infilling of Lewis et al. 2020, https://arxiv.org/abs/1910.13461). A text
    of one token cannot hold a span and is not asked about; nor is the end of a text that was cut.

    Args:
        of: the text input.
        rate: share of its tokens that are hidden; 0.15 with sentinels and 0.3 with masks where left out.
        span: mean length of what is hidden at once, in tokens: all in so many spans with sentinels, of lengths drawn from Poisson(span) with masks.
    """

    rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    span: Annotated[float, Field(ge=1)] = 3.0

    def learn_from(self, facts: Facts) -> Facts:
        """The `sentinels` or the `mask` that stand for spans, the token that a target begins with (`start`) and `padding`.

        Raises:
            Mistake: the backbone is no encoder-decoder, its files hold no decoder or do not tell how a target begins, or its tokenizer has nothing
                that stands for a span, or not enough of it.
        """
        from omnitune.nn import spans

        where = f"the backbone of {self.of!r}"
        if not facts["decodes"]:
            fix = f"Choose a T5 or a BART, or ask {'generate' if facts['causal'] else 'masked_text'} of this one"
            raise Mistake("denoise", f"{where} has no decoder that could write what was hidden", fix)
        if not facts["says"]:
            raise Mistake("denoise", f"the files of {where} hold its encoder alone", "Choose a checkpoint that was saved with its decoder")
        if facts["start"] is None:
            fix = "Write it there: T5 begins with its padding token, BART with </s>"
            raise Mistake("denoise", f"config.json of {where} names no decoder_start_token_id", fix)
        if not facts["sentinels"] and facts["mask"] is None:
            fix = "Add them with tokenizer.add_special_tokens and save it, and set resize: true of the backbone"
            raise Mistake("denoise", f"the tokenizer of {where} has no <extra_id_0>, <extra_id_1>, ... and no mask token", fix)
        most = spans.spans(facts["limit"], self._rate("sentinels"), self.span)
        if facts["sentinels"] and most >= len(facts["sentinels"]):
            wrong = (
                f"a text of {facts['limit']:,} tokens has up to {most:,} spans, and the tokenizer of {where} only {len(facts['sentinels'])} sentinels"
            )
            raise Mistake(
                "denoise", f"{wrong}, of which the last ends the target", f"Lower rate or inputs.{self.of}.max_tokens, or set a longer span"
            )
        return {name: facts[name] for name in ("sentinels", "mask", "start", "padding")}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch with holes; `labels` (B, T): what is to be written, -1 behind it; `y` (B, 2): its length, and 0; `weight` (B,): the length."""
        import numpy as np
        import torch

        from omnitune.nn.language import NOT_ASKED

        inputs = batch.inputs[self.of]
        real_BL, cut = inputs["attention_mask"].numpy().astype(bool), inputs["cut"].tolist()
        words_BL = np.where(inputs["present"].numpy()[:, None], inputs["words"].numpy(), -1)
        asked = []
        for i, row in enumerate(batch.rows.tolist()):
            ids, words = inputs["input_ids"][i].numpy()[real_BL[i]], words_BL[i, real_BL[i]]
            asked.append(self._asked(ids, np.flatnonzero(words >= 0), cut[i], facts, rng or np.random.default_rng([row, len(ids)])))
        ids_BL, mask_BL = _padded([shown for shown, _ in asked], facts["padding"])
        labels_BT, told_BT = _padded([target for _, target in asked], NOT_ASKED)
        rest = {name: tensor for name, tensor in inputs.items() if name != "words"}
        made = rest | {"input_ids": torch.from_numpy(ids_BL), "attention_mask": torch.from_numpy(mask_BL)}
        asked_B = torch.from_numpy(told_BT.sum(1))
        y_B2 = torch.stack([asked_B, torch.zeros_like(asked_B)], 1)
        seen = replace(batch, inputs=batch.inputs | {self.of: made})
        return seen, {"labels": torch.from_numpy(labels_BT), "y": y_B2, "weight": asked_B.float()}

    def _asked(self, ids: Ids, own: Ids, cut: bool, facts: Facts, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """What is shown of a text and what is to be written, with the tokens around it; `own` are the places of its own tokens."""
        import numpy as np

        if len(own) < LEAST:
            return ids, ids[:0]
        before, text, after = np.split(ids, [own[0], own[-1] + 1])
        rest, target = self._holes(text, facts, rng)
        around = (before[:0], after) if facts["sentinels"] else (before, after[:0] if cut else after)
        return np.concatenate([before, rest, after]), np.concatenate([around[0], target, around[1]])

    def _holes(self, text: Ids, facts: Facts, rng: np.random.Generator) -> tuple[Ids, Ids]:
        """The text with holes, and what is to be written: what was hidden, with its sentinels, or the whole text."""
        from omnitune.nn import spans

        if marks := facts["sentinels"]:
            places = spans.corrupted(len(text), self._rate("sentinels"), self.span, rng)
            return spans.filled(text, places, marks), spans.spelled(text, places, marks)
        places = spans.infilled(len(text), self._rate("mask"), self.span, rng)
        return spans.filled(text, places, [facts["mask"]] * len(places[0])), text

    def _rate(self, by: str) -> float:
        return RATES[by] if self.rate is None else self.rate

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `DenoiseHead` with the decoder of the backbone's checkpoint."""
        from omnitune.nn.denoise import DenoiseHead

        return DenoiseHead(self.of, backbones[self.of], [facts["start"]], facts["padding"])

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Accuracy and perplexity of a token of the target, sentinels included; of masks most stand in the text and need only be copied. No bits per
        byte: it is not the whole text that is written, or it is not written from nothing."""
        from omnitune.nn.metrics import token_metrics

        return {name: metric for name, metric in token_metrics().items() if name != "bits_per_byte"}


def _padded(rows: Sequence[Ids], padding: int) -> tuple[Ids, Ids]:
    """Rows side by side, and which tokens are real, both (B, L) int64; L is one at least."""
    import numpy as np

    lengths = np.array([len(row) for row in rows])
    mask_BL = np.arange(max(1, *lengths)) < lengths[:, None]
    made_BL = np.full(mask_BL.shape, padding, np.int64)
    made_BL[mask_BL] = np.concatenate(rows)
    return made_BL, mask_BL.astype(np.int64)
