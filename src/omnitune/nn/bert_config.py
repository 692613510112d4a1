"""Sizes of BERT: one dial, and the sizes that were published."""

from typing import Any, Self

from transformers import BertConfig

from omnitune.errors import Mistake, did_you_mean

HEAD = 64  # width of a head in every published size
CONTEXT = 512
VOCABULARY = 30_522  # WordPieces of the uncased checkpoints


class BERTConfig(BertConfig):  # type: ignore[misc]  # transformers is not read by mypy
    """What a `BERT` is built from: the fields of transformers' own configuration, which is what is saved.

    `BERTConfig.of` derives it from a depth, `BERTConfig.preset` knows published sizes. Dropout is 0 unless asked for.

    Raises:
        Mistake: sizes do not divide, or it asks for what BERT lacks.
    """

    def __post_init__(self, **rest: Any) -> None:
        self._check()
        super().__post_init__(**rest)

    def _check(self) -> None:
        width, heads = self.hidden_size, self.num_attention_heads
        if min(width, heads, self.num_hidden_layers) < 1:
            raise Mistake("depth", f"{self.num_hidden_layers} blocks of width {width} with {heads} heads are no model", "Choose numbers above 0")
        if width % heads:
            raise Mistake("heads", f"{heads} heads do not divide width {width}", "Choose numbers that divide")
        for name, known in FIXED.items():
            if getattr(self, name) not in known:
                where, value = f"model {self.name_or_path}".rstrip(), getattr(self, name)
                raise Mistake(where, f"its {name} is {value!r}, and BERT knows {known[0]!r} alone", "Use the model of transformers as it is")

    @classmethod
    def of(
        cls,
        depth: int,
        *,
        width: int | None = None,
        heads: int | None = None,
        inner: int | None = None,
        context: int = CONTEXT,
        vocab: int = VOCABULARY,
        types: int = 2,
        dropout: float = 0.0,
        eps: float = 1e-12,
        pad: int = 0,
    ) -> Self:
        """One dial: what is left out follows from `depth`, the number of blocks.

        Args:
            depth: blocks.
            width: 64 a block: BERT base is 12 x 768 (Devlin et al. 2019, https://arxiv.org/abs/1810.04805).
            heads: one for each 64 of the width.
            inner: width of the perceptrons, 4 widths.
            context: tokens at most.
            vocab: tokens known.
            types: kinds of tokens: those of a first and of a second text.
            dropout: of layers and attention weights; the published models were trained with 0.1.
            eps: of norms.
            pad: number of the token that fills a row.
        """
        width = width or HEAD * depth
        return cls(
            num_hidden_layers=depth,
            hidden_size=width,
            num_attention_heads=heads or max(1, width // HEAD),
            intermediate_size=inner or 4 * width,
            max_position_embeddings=context,
            vocab_size=vocab,
            type_vocab_size=types,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            layer_norm_eps=eps,
            pad_token_id=pad,
        )

    @classmethod
    def preset(cls, name: str) -> Self:
        """A published size, by its name in `PRESETS`. Raises `Mistake` where there is none."""
        if name not in PRESETS:
            raise Mistake("preset", f"no published size called {name!r}", did_you_mean(name, list(PRESETS)))
        return cls.of(**PRESETS[name])


FIXED: dict[str, tuple[Any, ...]] = {
    "hidden_act": ("gelu", "gelu_python"),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
}
"""Settings of transformers' BERT that this one has no other value of."""
PRESETS: dict[str, dict[str, Any]] = {
    # Turc et al. 2019 (https://arxiv.org/abs/1908.08962), table 1
    "bert-tiny": {"depth": 2, "width": 128},  # 4.4M parameters
    "bert-mini": {"depth": 4, "width": 256},  # 11.2M
    "bert-small": {"depth": 4, "width": 512},  # 28.8M
    "bert-medium": {"depth": 8, "width": 512},  # 41.4M
    # Devlin et al. 2019 (https://arxiv.org/abs/1810.04805)
    "bert-base": {"depth": 12, "width": 768},  # 110M
    "bert-large": {"depth": 24, "width": 1024},  # 340M in the paper, which counts generously
}
