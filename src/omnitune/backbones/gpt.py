"""gpt: a GPT that starts from nothing: GPT-1, GPT-2, GPT-3 or what came after, with a tokenizer learned from the training rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from omnitune.backbones import TOKENIZER, Architecture, Backbone, Facts, _tokenizer
from omnitune.component import component

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder

HEAD = 64


@component
class GPT(Backbone):
    """A decoder from scratch, for pre-training with the task `generate`; one dial, `depth`, and the rest derived.

    It is saved as transformers' own OpenAIGPT, GPT2 or Llama (GPT-3 as a kind of its own), so that any recipe takes the run as a `backbone`.

    Args:
        generation: `gpt1` (norms behind), `gpt2` (norms before), `gpt3` (every second block sees a band), `modern` (rotary, RMSNorm, SwiGLU).
        depth: blocks.
        width: D; 64 a block where left out.
        heads: of attention; one for each 64 of the width where left out.
        context: tokens it can read at once.
        window: tokens that every second block of `gpt3` sees; 256 where left out.
        vocabulary: tokens of the byte-level tokenizer that is learned; the 256 bytes are among them.
        dropout: of layers and attention weights.
    """

    generation: Literal["gpt1", "gpt2", "gpt3", "modern"] = "gpt2"
    depth: Annotated[int, Field(ge=1)] = 4
    width: Annotated[int, Field(ge=2)] | None = None
    heads: Annotated[int, Field(ge=1)] | None = None
    context: Annotated[int, Field(ge=4)] = 256
    window: Annotated[int, Field(ge=1)] | None = None
    vocabulary: Annotated[int, Field(ge=257)] = 8192
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def learn(self, texts: Iterable[str]) -> Facts:
        """The tokenizer; it marks where a text begins and where it ends."""
        return {TOKENIZER: _tokenizer.learn_marked(texts, self.vocabulary)}

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """A model with new weights."""
        from omnitune.nn.encoder import Encoder
        from omnitune.nn.gpt import GPT as Model
        from omnitune.nn.gpt_config import GPTConfig

        tokenizer = self.tokenizer(facts)
        end = tokenizer.eos_token_id
        config = GPTConfig.of(
            self.generation, self.depth, width=self._width, heads=self.heads, context=self.context, vocab=len(tokenizer), window=self.window,
            dropout=self.dropout, tie=True, bos=end, eos=end, pad=end,
        )  # fmt: skip
        return Encoder(Model(config), "last")

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """The same: there is nothing to read."""
        return self.encoder(facts)

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """The one that was learned."""
        assert facts is not None, "it is learned from the training rows"
        return _tokenizer.fast_tokenizer(facts[TOKENIZER], self.context)

    def picture(self) -> dict[str, Any]:
        """It reads no pictures."""
        raise AssertionError("a GPT reads texts")

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        return Architecture(self._width, attention=True, causal=True, pretrained=False, post_norm=self.generation == "gpt1")

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        self.tokenizer(facts).save_pretrained(str(folder))

    def check(self) -> str | None:
        """Heads must divide the width, and only GPT-3 has bands."""
        if self.window and self.generation != "gpt3":
            return f"no block of {self.generation} sees a window. Leave it out, or choose generation: gpt3"
        heads = self.heads or max(1, self._width // HEAD)
        return f"{heads} heads do not divide the width {self._width}. Choose numbers that divide" if self._width % heads else None

    @property
    def _width(self) -> int:
        return self.width or HEAD * self.depth
