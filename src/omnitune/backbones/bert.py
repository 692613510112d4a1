"""bert: a BERT that starts from nothing, with a tokenizer learned from the training rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from omnitune.backbones import TOKENIZER, Architecture, Backbone, Facts, _tokenizer
from omnitune.component import component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

HEAD = 64
TYPES = 2


@component
class BERT(Backbone):
    """An encoder from scratch (Devlin et al. 2019), for pre-training with the task `masked_text`; one dial, `depth`, and the rest derived.

    It is saved as transformers' own BERT, so that any recipe takes the run as a `backbone`.

    Args:
        depth: blocks.
        width: D; 64 a block where left out.
        heads: of attention; one for each 64 of the width where left out.
        context: tokens it can read at once.
        vocabulary: WordPieces that are learned; special ones are among them.
        lowercase: whether capitals are read as small letters and accents are dropped.
        dropout: of layers and attention weights.
    """

    depth: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=2)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    context: Annotated[int, Field(ge=4)] = 256
    vocabulary: Annotated[int, Field(ge=16)] = 8192
    lowercase: bool = True
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def learn(self, texts: Iterable[str]) -> Facts:
        """The tokenizer."""
        return {TOKENIZER: _tokenizer.learn_tokenizer(texts, "wordpiece", self.vocabulary, self.lowercase)}

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """A model with new weights."""
        from omnitune.nn.bert import BERT as Model
        from omnitune.nn.bert_config import BERTConfig
        from omnitune.nn.encoder import Encoder

        tokenizer = self.tokenizer(facts)
        config = BERTConfig.of(
            self.depth, width=self._width, heads=self.heads, context=self.context, vocab=len(tokenizer), types=TYPES, dropout=self.dropout,
            pad=tokenizer.pad_token_id,
        )  # fmt: skip
        return Encoder(Model(config), "mean")

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The same: there is nothing to read."""
        return self.encoder(facts)

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """The one that was learned."""
        assert facts is not None, "it is learned from the training rows"
        return _tokenizer.fast_tokenizer(facts[TOKENIZER], self.context)

    def picture(self) -> dict[str, Any]:
        """It reads no pictures."""
        raise AssertionError("a BERT reads texts")

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        return Architecture(self._width, attention=True, types=TYPES, pretrained=False)

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        self.tokenizer(facts).save_pretrained(str(folder))

    def check(self) -> str | None:
        """Heads must divide the width."""
        heads = self.heads or max(1, self._width // HEAD)
        return f"{heads} heads do not divide the width {self._width}. Choose numbers that divide" if self._width % heads else None

    @property
    def _width(self) -> int:
        return self.width or HEAD * self.depth
