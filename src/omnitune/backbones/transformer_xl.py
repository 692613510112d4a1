"""transformer_xl: a Transformer-XL that starts from nothing, with a tokenizer learned from the training rows."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.backbones import TOKENIZER, Architecture, Backbone, Facts, _tokenizer
from omnitune.backbones._frequency import by_frequency
from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn.clusters import check_clusters

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

HEAD = 64
DIVISOR = 4
"""Of both papers on clusters."""


@component
class TransformerXL(Backbone):
    """A decoder from scratch that reads texts in segments and remembers those before (Dai et al. 2019), for pre-training with the task `generate`;
    one dial, `depth`, and the rest derived.

    The run is the `backbone` of any recipe. transformers loads it by its Auto classes once `omnitune.nn.transformer_xl` is imported.

    Args:
        depth: blocks.
        width: D; 64 a block where left out.
        heads: of attention; one for each 64 of the width where left out.
        segment: tokens it reads at once.
        memory: tokens before its segment that it is told of in training; as many as `segment` where left out, 0 for none.
        eval_memory: the same where it is measured, or writes; as in training where left out. More is of use (section 4.1).
        vocabulary: tokens of the byte-level tokenizer that is learned; the 256 bytes are among them.
        cutoffs: the first token of each cluster of rarer ones, rising. Clusters have narrower vectors, and are scored only for tokens that ask for
            one of theirs (Grave et al. 2017; Baevski and Auli 2019); worth it with a large vocabulary. The tokenizer then numbers its tokens by
            how often they stand in the training rows. None for one table.
        divisor: the vectors of each cluster are so many times narrower than those before; 4 where left out, 1 keeps the width.
        dropout: of layers and attention weights.
    """

    depth: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=2)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    segment: Annotated[int, Field(ge=4)] = 128
    memory: Annotated[int, Field(ge=0)] | None = None
    eval_memory: Annotated[int, Field(ge=0)] | None = None
    vocabulary: Annotated[int, Field(ge=257)] = 8192
    cutoffs: tuple[int, ...] = ()
    divisor: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def learn(self, texts: Iterable[str]) -> Facts:
        """The tokenizer; it marks where a text begins and where it ends.

        Raises:
            Mistake: the texts hold fewer tokens than `cutoffs` cut.
        """
        learned = _tokenizer.learn_marked(texts, self.vocabulary)
        if not self.cutoffs:
            return {TOKENIZER: learned}
        tokens = len(json.loads(learned)["model"]["vocab"])
        if self.cutoffs[-1] >= tokens:
            wrong = f"{list(self.cutoffs)} do not cut the {tokens:,} tokens that were learned from the training rows"
            raise Mistake("backbone.cutoffs", wrong, f"Choose rising numbers between 1 and {tokens - 1}")
        return {TOKENIZER: by_frequency(learned, texts)}

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """A model with new weights."""
        from omnitune.nn.encoder import Encoder
        from omnitune.nn.transformer_xl import TransformerXL as Model
        from omnitune.nn.transformer_xl_config import TransformerXLConfig

        tokenizer = self.tokenizer(facts)
        end = tokenizer.eos_token_id
        config = TransformerXLConfig.of(
            self.depth, width=self._width, heads=self.heads, context=self.segment, memory=self.memory, eval_memory=self.eval_memory,
            vocab=len(tokenizer), cutoffs=self.cutoffs, divisor=self._divisor, dropout=self.dropout, attention_dropout=self.dropout,
            bos=end, eos=end, pad=end,
        )  # fmt: skip
        return Encoder(Model(config), "last")

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The same: there is nothing to read."""
        return self.encoder(facts)

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """The one that was learned."""
        assert facts is not None, "it is learned from the training rows"
        return _tokenizer.fast_tokenizer(facts[TOKENIZER], self.segment)

    def picture(self) -> dict[str, Any]:
        """It reads no pictures."""
        raise AssertionError("a Transformer-XL reads texts")

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        remembers = bool(self.segment if self.memory is None else self.memory) or bool(self.eval_memory)
        return Architecture(self._width, attention=True, causal=True, pretrained=False, post_norm=True, remembers=remembers)

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        self.tokenizer(facts).save_pretrained(str(folder))

    def check(self) -> str | None:
        """Heads must divide the width, positions need an even one, and clusters must cut the vocabulary."""
        if self._width % 2:
            return f"positions are pairs of sine and cosine, and the width {self._width} is odd. Choose an even width"
        heads = self.heads or max(1, self._width // HEAD)
        if self._width % heads:
            return f"{heads} heads do not divide the width {self._width}. Choose numbers that divide"
        if self.divisor and not self.cutoffs:
            return "divisor is of clusters, and there are none. Leave it out, or set cutoffs"
        try:
            check_clusters(self.vocabulary, self._width, self.cutoffs, self._divisor)
        except Mistake as wrong:
            return f"{wrong.where} {wrong.what}. {wrong.fix}"
        return None

    @property
    def _width(self) -> int:
        return self.width or HEAD * self.depth

    @property
    def _divisor(self) -> int:
        """Without clusters there is nothing to divide."""
        return (self.divisor or DIVISOR) if self.cutoffs else 1
