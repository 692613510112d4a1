"""next_sentence: does the second part of a text belong to the first?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

    Ids = np.ndarray[Any, Any]

LEAST = 8
"""Tokens of a text that is parted; shorter ones say too little."""
KEPT = 0.75
"""Of the shorter of two second parts so much is kept, so that neither shows its end."""
CLASSES = ["next", "other"]


@component
class NextSentence(SelfSupervised):
    """Whether the second part of a text is its own or that of another row (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).

    A text is parted where a sentence ends, else between two words, somewhere in its middle half. Which second parts are put in question is a
    matter of chance, and both a row's own and the other one are cut to the same length before, so that lengths and endings tell nothing. The
    other row is one of the same batch; on validation and test rows always the same, as long as batches are. A text of less than eight tokens,
    and a row without another, is not asked about.

    Args:
        of: the text input.
    """

    form: ClassVar[Literal["classes"]] = "classes"

    def learn_from(self, facts: Facts) -> Facts:
        """`classes`, what stands around a `pair` of texts, how many `more` tokens that is than around one, the tokens that end a sentence (`stops`),
        `padding`, and whether tokens have `types`.

        Raises:
            Mistake: the backbone reads from left to right, or its tokenizer sets texts apart by nothing.
        """
        types = facts["types"] > 1
        if facts["causal"] or not (types or facts["pair"]["between"]):
            wrong = "reads from left to right" if facts["causal"] else "puts nothing between two texts"
            raise Mistake("next_sentence", f"the backbone of {self.of!r} {wrong}", "Choose a BERT or another encoder")
        more = sum(map(len, facts["pair"].values())) - facts["single"]
        return {"classes": CLASSES, "pair": facts["pair"], "more": more, "padding": facts["padding"], "stops": facts["stops"], "types": types}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch of pairs; `y` (B,): 0 where the second text follows, 1 where it is another's, -1 where nothing is asked; `weight` (B,)."""
        import numpy as np
        import torch

        inputs = batch.inputs[self.of]
        ids_BL, words_BL = inputs["input_ids"].numpy(), inputs["words"].numpy()
        texts = [(ids[words >= 0], words[words >= 0]) for ids, words in zip(ids_BL, words_BL, strict=True)]
        lucks = [rng or np.random.default_rng([row, len(ids)]) for row, (ids, _) in zip(batch.rows.tolist(), texts, strict=True)]
        long = [i for i, (ids, _) in enumerate(texts) if len(ids) >= LEAST and inputs["present"][i]]
        parts = {i: np.split(texts[i][0], [_cut(*texts[i], facts["stops"], lucks[i])]) for i in (rng.permutation(long).tolist() if rng else long)}
        whole = [ids[mask > 0] for ids, mask in zip(ids_BL, inputs["attention_mask"].numpy(), strict=True)]
        pairs, y = [(ids, ids[:0]) for ids in whole], np.full(batch.size, -1)
        for i, other in zip(parts, [*parts][1:] + [*parts][:1], strict=True):
            shorter = min(len(parts[i][1]), len(parts[other][1]))
            kept = min(int(KEPT * shorter), shorter - facts["more"])  # never longer than the text was
            if other != i and kept > 0:
                y[i] = lucks[i].integers(2)
                pairs[i] = _around(parts[i][0], parts[other if y[i] else i][1][:kept], facts["pair"])
        rest = {name: tensor for name, tensor in inputs.items() if name != "words"}
        seen = replace(batch, inputs=batch.inputs | {self.of: rest | _padded(pairs, facts)})
        return seen, {"y": torch.from_numpy(y), "weight": torch.from_numpy(y >= 0).float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `NextSentenceHead`."""
        from omnitune.nn.language import NextSentenceHead

        return NextSentenceHead(self.of, backbones[self.of].width)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`, next or other, and `probabilities`."""
        classes = facts["classes"]
        return [{"value": classes[int(p[1] > p[0])], "probabilities": dict(zip(classes, p, strict=True))} for p in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of one class out of two."""
        from omnitune.nn.metrics import class_metrics

        return class_metrics(len(facts["classes"]))


def _cut(ids: Ids, words: Ids, stops: list[int], rng: np.random.Generator) -> int:
    """Where a text is parted: in its middle half, behind a sentence if one ends there, else between two words, else within one."""
    import numpy as np

    starts = np.flatnonzero(np.diff(words)) + 1
    starts = starts[(4 * starts >= len(ids)) & (4 * starts <= 3 * len(ids))]
    sentences = starts[np.isin(ids[starts - 1], stops)]
    chosen = next((places for places in (sentences, starts) if len(places)), [len(ids) // 2])
    return int(rng.choice(chosen))


def _around(first: Ids, second: Ids, pair: dict[str, list[int]]) -> tuple[Ids, Ids]:
    """Both texts with the tokens around them: those of type 0, and those of type 1."""
    import numpy as np

    return np.array([*pair["start"], *first, *pair["between"]]), np.array([*second, *pair["end"]])


def _padded(pairs: list[tuple[Ids, Ids]], facts: Facts) -> dict[str, Tensor]:
    """`input_ids` and `attention_mask` (B, L), and `token_type_ids` (B, L) where the backbone has types."""
    import numpy as np
    import torch

    lengths, firsts = (np.array(sizes)[:, None] for sizes in zip(*((len(a) + len(b), len(a)) for a, b in pairs), strict=True))
    place = np.arange(lengths.max())
    mask_BL = place < lengths
    ids_BL = np.full(mask_BL.shape, facts["padding"])
    ids_BL[mask_BL] = np.concatenate([part for pair in pairs for part in pair])
    found = {"input_ids": ids_BL, "attention_mask": mask_BL.astype(np.int64)}
    if facts["types"]:
        found["token_type_ids"] = ((place >= firsts) & mask_BL).astype(np.int64)
    return {name: torch.from_numpy(values) for name, values in found.items()}
