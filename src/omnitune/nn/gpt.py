"""GPT, from the first to today's: one model, whose generation is an argument.

| | gpt1 | gpt2 | gpt3 | modern |
|---|---|---|---|---|
| norm | LayerNorm behind each half | LayerNorm before each half, and a last one | as gpt2 | RMSNorm, as gpt2 |
| positions | learned | learned | learned | rotary |
| perceptron | GELU by tanh | GELU by tanh | GELU by tanh | SwiGLU |
| attention | dense | dense | dense and banded by turns | dense, keys shared by queries |
| bias | yes | yes | yes | no |

Shape letters: B rows, L tokens, S tokens that are attended to, D width, V vocabulary.
"""

import math
from collections.abc import Set
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, DynamicCache, GenerationMixin, PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from omnitune.errors import Mistake
from omnitune.nn import flat, gpt_files
from omnitune.nn.attention import seen, turns
from omnitune.nn.block import Block, make_norm
from omnitune.nn.dropout import Dropout
from omnitune.nn.gpt_config import GPTConfig

NO_LABEL = -100
"""What transformers writes where there is nothing to predict."""


class Embeddings(nn.Module):
    """Tokens as vectors, with learned positions added where the generation has them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.positions = None if config.generation == "modern" else nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor, position_ids: Tensor) -> Tensor:
        """(B, L, D), from token ids (B, L) or ready vectors (B, L, D)."""
        x_BLD = ids if ids.is_floating_point() else self.tokens(ids)
        dropped: Tensor = self.dropout(x_BLD if self.positions is None else x_BLD + self.positions(position_ids))
        return dropped


class Layer(GradientCheckpointingLayer, Block):  # type: ignore[misc]
    """A block that transformers may tell to compute its activations again in the backward pass."""


class _Saved(PreTrainedModel):  # type: ignore[misc]
    """How every GPT is initialised, written and read."""

    config_class = GPTConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("Layer",)
    _supports_sdpa = True
    _adds: Set[nn.Module] = frozenset()

    def _init_weights(self, module: nn.Module) -> None:
        """Normal with `initializer_range`; smaller for what GPT-2 adds to its residual stream, so that depth does not widen it."""
        super()._init_weights(module)
        if module in self._adds:
            initialization.normal_(module.weight, std=self.config.initializer_range / math.sqrt(2 * self.config.num_hidden_layers))

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes a folder as transformers does: of its own model where it has one (OpenAIGPT, GPT2, Llama), else of model type gpt3."""
        if self.config.generation == "gpt3":
            super().save_pretrained(save_directory, **options)
        else:
            gpt_files.to_transformers(self, options.pop("state_dict", None)).save_pretrained(save_directory, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *, config: Any = None, **options: Any) -> Any:
        """Reads what `save_pretrained` wrote, or a checkpoint of OpenAIGPT, GPT2 or Llama. Raises `Mistake` where it is of another kind."""
        config = config or AutoConfig.from_pretrained(pretrained_model_name_or_path)
        if isinstance(config, GPTConfig):
            return super().from_pretrained(pretrained_model_name_or_path, config=config, **options)
        auto = AutoModelForCausalLM if issubclass(cls, GenerationMixin) else AutoModel
        return gpt_files.from_transformers(auto.from_pretrained(pretrained_model_name_or_path, config=config, **options))


class GPT(_Saved):
    """A stack of causal blocks over embedded tokens (Radford et al. 2018, 2019; Brown et al. 2020, https://arxiv.org/abs/2005.14165)."""

    reads_flat = True

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(_layer(config, i) for i in range(config.num_hidden_layers))
        if config.generation in ("gpt2", "gpt3"):
            self._adds = {module for name, module in self.blocks.named_modules() if name.endswith((".attention.out", ".mlp.down"))}
        self.norm = None if config.generation == "gpt1" else make_norm(_norm(config), config.hidden_size, config.norm_eps)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """`last_hidden_state` (B, L, D), after the last norm.

        Args:
            input_ids: (B, L).
            attention_mask: (B, S), 1 where a token is real, those in the cache included; or (1, 1, L, rows) int64, the lengths of flat rows.
            position_ids: (B, L) or (1, L); counted from the cache on where left out, as if no row were padded on the left.
            past_key_values: keys and values of the tokens before these, a `transformers.DynamicCache`.
            inputs_embeds: (B, L, D), in the place of `input_ids`.
            use_cache: gives back a cache, a new one where none came in.
            output_hidden_states: also gives what enters each block and what leaves the model, 1 + blocks of (B, L, D).
        """
        ids = input_ids if inputs_embeds is None else inputs_embeds
        assert ids is not None, "input_ids or inputs_embeds"
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            past = 0 if past_key_values is None else past_key_values.get_seq_length()
            position_ids = torch.arange(past, past + ids.shape[1], device=ids.device)[None]
        mask, entered = seen(attention_mask), []
        head = self.config.hidden_size // self.config.num_attention_heads
        turn = turns(position_ids, head, self.config.rope_theta) if self.config.generation == "modern" else None
        x_BLD = self.embeddings(ids, position_ids)
        for block in self.blocks:
            entered += [x_BLD] if output_hidden_states else []
            x_BLD = block(x_BLD, mask, turn, past_key_values)
        x_BLD = x_BLD if self.norm is None else self.norm(x_BLD)
        return BaseModelOutputWithPast(x_BLD, past_key_values, (*entered, x_BLD) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Module:
        """The table of token vectors."""
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the table of token vectors."""
        self.embeddings.tokens = value


class GPTForCausalLM(_Saved, GenerationMixin):  # type: ignore[misc]
    """A `GPT` that tells the next token, for the tools of transformers: `generate`, Trainer, pipelines."""

    _tied_weights_keys = {"lm_head.weight": "model.embeddings.tokens.weight"}  # noqa: RUF012 (the name is that of transformers)

    def __init__(self, config: GPTConfig) -> None:
        super().__init__(config)
        self.model = GPT(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        logits_to_keep: int = 0,
    ) -> CausalLMOutputWithPast:
        """`logits` (B, L, V), and where there are `labels` the mean `loss`.

        Args:
            labels: (B, L), the input ids themselves, -100 where nothing is to be predicted. They are shifted here, and not across flat rows.
            output_attentions: False or None, which `peft` hands in.
            logits_to_keep: makes logits of so many last tokens; 0 of all.

        The other arguments are those of `GPT`.

        Raises:
            Mistake: attention weights are wanted.
        """
        if output_attentions:
            raise Mistake(
                "output_attentions", "attention is one step here and keeps no weights", "Ask the model that gpt_files.to_transformers gives"
            )
        out = self.model(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache, output_hidden_states)
        logits_BLV = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])  # 0 keeps all
        loss = None if labels is None else cross_entropy(logits_BLV.flatten(0, 1).float(), _next(labels, attention_mask).flatten())
        return CausalLMOutputWithPast(loss, logits_BLV, out.past_key_values, out.hidden_states)


def _norm(config: GPTConfig) -> Any:
    return "rms" if config.generation == "modern" else "layer"


def _layer(config: GPTConfig, number: int) -> Layer:
    modern = config.generation == "modern"
    return Layer(
        config.hidden_size,
        config.num_attention_heads,
        config.dropout,
        attention_dropout=config.attention_dropout,
        inner=config.intermediate_size,
        norm_first=config.generation != "gpt1",
        norm=_norm(config),
        eps=config.norm_eps,
        activation="swiglu" if modern else "gelu_tanh",
        bias=not modern,
        causal=True,
        window=config.window(number),
        kv_heads=config.num_key_value_heads,
        layer=number,
    )


def _next(labels_BL: Tensor, attention_mask: Tensor | None) -> Tensor:
    """The label of the token behind each, (B, L)."""
    if attention_mask is not None and attention_mask.ndim == 4:
        starts = flat.lengths(attention_mask).cumsum(0)[:-1]
        labels_BL = labels_BL.index_fill(1, starts, NO_LABEL)
    return nn.functional.pad(labels_BL[:, 1:], (0, 1), value=NO_LABEL)


AutoConfig.register("gpt3", GPTConfig)
AutoModel.register(GPTConfig, GPT)
AutoModelForCausalLM.register(GPTConfig, GPTForCausalLM)
