"""Sizes of the GPT models: one dial for each generation, and the sizes that were published."""

from typing import Any, Literal, Self, get_args

from transformers import PreTrainedConfig

from omnitune.errors import Mistake, did_you_mean

Generation = Literal["gpt1", "gpt2", "gpt3", "modern"]
HEAD = 64  # width of a head in GPT-1, GPT-2 and most of what came after
WINDOW = 256  # of local bands; the GPT-3 paper tells none, this is GPT-Neo's (https://github.com/EleutherAI/gpt-neo)
CONTEXTS = {"gpt1": 512, "gpt2": 1024, "gpt3": 2048, "modern": 2048}
VOCABULARIES = {"gpt1": 40_478, "gpt2": 50_257, "gpt3": 50_257, "modern": 32_000}


class GPTConfig(PreTrainedConfig):  # type: ignore[misc]  # transformers is not read by mypy
    """What a `GPT` is built from. `GPTConfig.of` derives it from a depth, `GPTConfig.preset` knows published sizes.

    The fields are those of transformers. `generation` decides norms, positions, activation and biases (see `GPT`); `sliding_window` is how
    many tokens the banded layers of GPT-3 see, and `layer_types` which layers those are. Dropout is 0 unless asked for.

    Raises:
        Mistake: the generation is unknown, or sizes do not divide.
    """

    model_type = "gpt3"  # the one generation that transformers lacks; the others are saved as its own models
    generation: str = "gpt3"
    vocab_size: int = 50_257
    max_position_embeddings: int = 2048
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    num_key_value_heads: int | None = None
    intermediate_size: int | None = None
    sliding_window: int | None = None
    layer_types: list[str] | None = None
    norm_eps: float = 1e-5
    rope_theta: float = 10_000.0
    dropout: float = 0.0
    attention_dropout: float = 0.0
    initializer_range: float = 0.02
    tie_word_embeddings: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None

    def __post_init__(self, **rest: Any) -> None:
        self.num_key_value_heads = self.num_key_value_heads or self.num_attention_heads
        self.intermediate_size = self.intermediate_size or 4 * self.hidden_size
        if self.generation == "gpt3":
            self.sliding_window = self.sliding_window or WINDOW
            self.layer_types = self.layer_types or ["sliding_attention" if i % 2 else "full_attention" for i in range(self.num_hidden_layers)]
        self._check()
        super().__post_init__(**rest)

    def _check(self) -> None:
        width, heads, shared = self.hidden_size, self.num_attention_heads, self.num_key_value_heads
        if self.generation not in get_args(Generation):
            raise Mistake("generation", f"no GPT called {self.generation!r}", did_you_mean(self.generation, list(get_args(Generation))))
        if min(width, heads, self.num_hidden_layers) < 1:
            raise Mistake("depth", f"{self.num_hidden_layers} blocks of width {width} with {heads} heads are no model", "Choose numbers above 0")
        if width % heads or heads % (shared or heads):
            raise Mistake("heads", f"{heads} heads with {shared} of keys do not divide width {width}", "Choose numbers that divide")
        if self.generation != "gpt3" and (self.sliding_window or self.layer_types):
            raise Mistake("window", f"no layer of {self.generation} is banded", "Leave it out, or choose generation gpt3")
        if self.generation == "modern" and width // heads % 2:
            raise Mistake("heads", f"rotary positions turn pairs, and a head of {width // heads} is odd", "Choose heads of even width")

    def window(self, layer: int) -> int | None:
        """How many tokens this layer sees, itself included; None for all before it."""
        return self.sliding_window if self.layer_types and self.layer_types[layer] == "sliding_attention" else None

    @classmethod
    def of(
        cls,
        generation: Generation,
        depth: int,
        *,
        width: int | None = None,
        heads: int | None = None,
        kv_heads: int | None = None,
        inner: int | None = None,
        context: int | None = None,
        vocab: int | None = None,
        window: int | None = None,
        dropout: float = 0.0,
        tie: bool | None = None,
        rope_base: float = 10_000.0,
        eps: float | None = None,
        bos: int | None = None,
        eos: int | None = None,
        pad: int | None = None,
    ) -> Self:
        """One dial: what is left out follows from `depth`, the number of blocks.

        Args:
            generation: `gpt1` (Radford et al. 2018), `gpt2` (Radford et al. 2019), `gpt3` (Brown et al. 2020, https://arxiv.org/abs/2005.14165) or
                `modern` (as Llama; Touvron et al. 2023, https://arxiv.org/abs/2302.13971).
            depth: blocks.
            width: 64 a block: one aspect ratio for all sizes (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, find it matters little).
            heads: one for each 64 of the width.
            kv_heads: of `modern`, a quarter of the heads where four divides them, as in Llama 3 8B (https://arxiv.org/abs/2407.21783).
            inner: 4 widths; of `modern` 8/3, whose three matrices hold as much (Shazeer 2020, https://arxiv.org/abs/2002.05202), in steps of 256.
            context: tokens at most: 512, 1024, 2048, 2048.
            vocab: tokens known: 40,478, 50,257, 50,257, 32,000.
            window: of the banded layers of `gpt3`, 256.
            dropout: of layers and attention weights.
            tie: one matrix for what goes in and what comes out (Press and Wolf 2017, https://arxiv.org/abs/1608.05859); not in `modern`.
            rope_base, eps: of rotary positions and of norms.
            bos, eos, pad: numbers of the tokens that begin, end and fill a row.
        """
        modern = generation == "modern"
        width = width or HEAD * depth
        heads = heads or max(1, width // HEAD)
        return cls(
            generation=generation,
            num_hidden_layers=depth,
            hidden_size=width,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads or (heads // 4 if modern and heads % 4 == 0 else heads),
            intermediate_size=inner or (-(-8 * width // (3 * 256)) * 256 if modern else 4 * width),
            max_position_embeddings=context or CONTEXTS.get(generation),
            vocab_size=vocab or VOCABULARIES.get(generation),
            sliding_window=window,
            dropout=dropout,
            attention_dropout=dropout,
            tie_word_embeddings=not modern if tie is None else tie,
            rope_theta=rope_base,
            norm_eps=eps or (1e-6 if modern else 1e-5),
            bos_token_id=bos,
            eos_token_id=eos,
            pad_token_id=pad,
        )

    @classmethod
    def preset(cls, name: str) -> Self:
        """A published size, by its name in `PRESETS`. Raises `Mistake` where there is none."""
        if name not in PRESETS:
            raise Mistake("preset", f"no published size called {name!r}", did_you_mean(name, list(PRESETS)))
        return cls.of(**PRESETS[name])

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes config.json: that of transformers' own model where it has one."""
        from omnitune.nn.gpt_files import to_config

        if self.generation == "gpt3":
            super().save_pretrained(save_directory, **options)
        else:
            to_config(self).save_pretrained(save_directory, **options)


def _gpt2(depth: int, width: int) -> dict[str, Any]:
    return {"generation": "gpt2", "depth": depth, "width": width, "bos": 50_256, "eos": 50_256}


def _gpt3(depth: int, width: int, heads: int) -> dict[str, Any]:
    return {"generation": "gpt3", "depth": depth, "width": width, "heads": heads, "bos": 50_256, "eos": 50_256}


PRESETS: dict[str, dict[str, Any]] = {
    "gpt1": {"generation": "gpt1", "depth": 12},  # 117M parameters
    "gpt2": _gpt2(12, 768),  # 124M; the paper says 117M and counts wrongly
    "gpt2-medium": _gpt2(24, 1024),  # 355M
    "gpt2-large": _gpt2(36, 1280),  # 774M
    "gpt2-xl": _gpt2(48, 1600),  # 1,558M
    # GPT-3, table 2.1 (https://arxiv.org/abs/2005.14165)
    "gpt3-small": _gpt3(12, 768, 12),  # 125M
    "gpt3-medium": _gpt3(24, 1024, 16),  # 350M
    "gpt3-large": _gpt3(24, 1536, 16),  # 760M, heads of 96
    "gpt3-xl": _gpt3(24, 2048, 16),  # 1.3B; the table's 24 heads of 128 make 3072, not 2048
    "gpt3-2.7b": _gpt3(32, 2560, 32),
    "gpt3-6.7b": _gpt3(32, 4096, 32),
    "gpt3-13b": _gpt3(40, 5120, 40),  # the table's width 5140 is not 40 heads of 128
    "gpt3-175b": _gpt3(96, 12_288, 96),
    # Llama 7B (https://arxiv.org/abs/2302.13971) and SmolLM2 135M (https://arxiv.org/abs/2502.02737)
    "llama-7b": {"generation": "modern", "depth": 32, "width": 4096, "heads": 32, "kv_heads": 32, "bos": 1, "eos": 2},
    "smollm2-135m": {
        **{"generation": "modern", "depth": 30, "width": 576, "kv_heads": 3, "vocab": 49_152, "context": 8192},
        **{"tie": True, "rope_base": 100_000.0, "eps": 1e-5, "bos": 0, "eos": 0},
    },
}
