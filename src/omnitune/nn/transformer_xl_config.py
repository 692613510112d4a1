"""Sizes of Transformer-XL: one dial, and the sizes that were published."""

from collections.abc import Sequence
from typing import Any, Self

from transformers import PreTrainedConfig

from omnitune.errors import Mistake, did_you_mean
from omnitune.nn.clusters import check_clusters

HEAD = 64  # width of a head, of the published models 41 to 128


class TransformerXLConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not read by mypy
    """What a `TransformerXL` is built from. `TransformerXLConfig.of` derives it from a depth, `preset` knows published sizes.

    `context` is how many tokens a segment has in training, for whoever cuts texts into segments: the model itself has no longest text.
    `memory` is how many tokens before its segment it is told of, `eval_memory` the same outside training (None for as many), `clamp` the
    largest distance that it tells from larger ones, and with `same_length` each token sees `memory` tokens, itself included, wherever it lies
    in its segment. These four may be changed on a trained model, as the paper does for evaluation. The other fields are those of
    transformers, or see `of`.

    Raises:
        Mistake: sizes do not divide, or cutoffs do not cut the vocabulary.
    """

    model_type = "transformer_xl"
    vocab_size: int = 267_735
    context: int = 150
    hidden_size: int = 410
    num_hidden_layers: int = 16
    num_attention_heads: int = 10
    intermediate_size: int = 2100
    memory: int = 150
    eval_memory: int | None = None
    clamp: int | None = None
    same_length: bool = False
    cutoffs: list[int] | tuple[int, ...] = ()
    divisor: int = 1
    dropout: float = 0.0
    attention_dropout: float = 0.0
    norm_eps: float = 1e-5
    initializer_range: float = 0.02
    use_cache: bool = True
    tie_word_embeddings: bool = True  # words go out by the vectors they come in with, always
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **rest: Any) -> None:
        self.cutoffs = list(self.cutoffs)
        self._check()
        super().__post_init__(**rest)

    def _check(self) -> None:
        width, heads = self.hidden_size, self.num_attention_heads
        if min(width, heads, self.num_hidden_layers) < 1:
            raise Mistake("depth", f"{self.num_hidden_layers} blocks of width {width} with {heads} heads are no model", "Choose numbers above 0")
        if width % heads:
            raise Mistake("heads", f"{heads} heads do not divide width {width}", "Choose numbers that divide")
        if width % 2:
            raise Mistake("width", f"positions are pairs of sine and cosine, and {width} is odd", "Choose an even width")
        if min(self.memory, self.eval_memory or 0) < 0:
            raise Mistake("memory", f"{min(self.memory, self.eval_memory or 0)} tokens are no memory", "Choose 0 for none")
        check_clusters(self.vocab_size, width, self.cutoffs, self.divisor)

    @classmethod
    def of(
        cls,
        depth: int,
        *,
        width: int | None = None,
        heads: int | None = None,
        inner: int | None = None,
        context: int = 150,
        memory: int | None = None,
        eval_memory: int | None = None,
        vocab: int = 50_257,
        cutoffs: Sequence[int] = (),
        divisor: int = 1,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        bos: int | None = None,
        eos: int | None = None,
        pad: int | None = None,
    ) -> Self:
        """One dial: what is left out follows from `depth`, the number of blocks.

        Args:
            depth: blocks.
            width: 64 a block, as in `GPTConfig.of`.
            heads: one for each 64 of the width.
            inner: width of the perceptron, 4 widths.
            context: tokens of a segment.
            memory: tokens before the segment that are seen, as many as `context`.
            eval_memory: the same outside training.
            vocab: tokens known; GPT-2's where left out.
            cutoffs, divisor: see `AdaptiveEmbedding`; they ask for tokens numbered by frequency.
            dropout, attention_dropout: of layers and attention weights.
            bos, eos, pad: numbers of the tokens that begin, end and fill a row.
        """
        width = width or HEAD * depth
        return cls(
            num_hidden_layers=depth,
            hidden_size=width,
            num_attention_heads=heads or max(1, width // HEAD),
            intermediate_size=inner or 4 * width,
            context=context,
            memory=context if memory is None else memory,
            eval_memory=eval_memory,
            vocab_size=vocab,
            cutoffs=list(cutoffs),
            divisor=divisor,
            dropout=dropout,
            attention_dropout=attention_dropout,
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=pad,
        )

    def remembered(self, training: bool) -> int:
        """How many tokens before its segment the model is told of."""
        return self.memory if training or self.eval_memory is None else self.eval_memory

    @property
    def remembers(self) -> bool:
        """Whether there is a memory, in training or outside."""
        return max(self.memory, self.eval_memory or 0) > 0

    @classmethod
    def preset(cls, name: str) -> Self:
        """A published size, by its name in `PRESETS`. Raises `Mistake` where there is none."""
        if name not in PRESETS:
            raise Mistake("preset", f"no published size called {name!r}", did_you_mean(name, list(PRESETS)))
        return cls.of(**PRESETS[name])


WIKITEXT_103: dict[str, Any] = {"vocab": 267_735, "cutoffs": (20_000, 40_000, 200_000)}
ENWIK8: dict[str, Any] = {"vocab": 204}  # bytes that occur
PRESETS: dict[str, dict[str, Any]] = {
    # sizes of the paper, and settings of its code (https://github.com/kimiyoung/transformer-xl)
    "transformer-xl-base": {"depth": 16, "width": 410, "heads": 10, "inner": 2100, "dropout": 0.1, **WIKITEXT_103},
    "transformer-xl-large": {
        **{"depth": 18, "width": 1024, "heads": 16, "inner": 4096, "context": 384, "divisor": 4},
        **{"dropout": 0.2, "attention_dropout": 0.2, **WIKITEXT_103},
    },
    "transformer-xl-enwik8": {"depth": 12, "width": 512, "heads": 8, "inner": 2048, "context": 512, "dropout": 0.1, **ENWIK8},
    "transformer-xl-enwik8-large": {
        **{"depth": 24, "width": 1024, "heads": 8, "inner": 3072, "context": 768},
        **{"dropout": 0.15, "attention_dropout": 0.15, **ENWIK8},
    },
}
