"""Transformer-XL: a language model that reads a text in segments and remembers those before (Dai et al. 2019, https://arxiv.org/abs/1901.02860).

Each block attends to its segment and to what entered it of the tokens before, which is kept without gradient: the memory. So positions are
relative, no segment is computed twice, and evaluation may remember more than training did. Norms come behind each half, as in the paper.

Shape letters: B rows, L tokens of a segment, M tokens of the memory, S = M + L, D width, V vocabulary, N tokens that are asked about.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, GenerationMixin, PreTrainedModel, initialization
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput, can_return_tuple

from omnitune.errors import Mistake
from omnitune.nn import flat
from omnitune.nn.adaptive import AdaptiveEmbedding, AdaptiveSoftmax
from omnitune.nn.dropout import Dropout
from omnitune.nn.memory import Memory, Segment
from omnitune.nn.relative_attention import RelativeAttention, distances
from omnitune.nn.transformer_xl_config import TransformerXLConfig

NO_LABEL = -100
"""What transformers writes where there is nothing to predict."""


@dataclass
class TransformerXLOutput(ModelOutput):  # type: ignore[misc]
    """What a `TransformerXL` gives.

    Args:
        last_hidden_state: (B, L, D).
        mems: the memory for the next segment; None with `use_cache=False`.
        hidden_states: what entered each block and what left the last, 1 + blocks of (B, L, D), where asked for.
    """

    last_hidden_state: Tensor | None = None
    mems: Memory | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class TransformerXLLMOutput(ModelOutput):  # type: ignore[misc]
    """What a `TransformerXLForCausalLM` gives.

    Args:
        loss: the mean of `losses` over the tokens that were asked about; zero of none.
        losses: (B, L), -log of the probability of each target, zero where there is none.
        logits: log-probabilities (B, tokens, V); None where there are targets.
        mems, hidden_states: as of `TransformerXLOutput`.
    """

    loss: Tensor | None = None
    losses: Tensor | None = None
    logits: Tensor | None = None
    mems: Memory | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class Embeddings(nn.Module):
    """Tokens as vectors, as large as positions are: times the root of D (Vaswani et al. 2017, section 3.4)."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__()
        self.words = AdaptiveEmbedding(config.vocab_size, config.hidden_size, config.cutoffs, config.divisor)
        self.scale = config.hidden_size**0.5
        self.dropout = Dropout(config.dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """(B, L, D)."""
        x_BLD: Tensor = self.dropout(self.words(ids) * self.scale)
        return x_BLD


class Layer(GradientCheckpointingLayer):  # type: ignore[misc]
    """Attention over segment and memory, then a perceptron, each added to its input and normed."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.attention = RelativeAttention(width, config.num_attention_heads, config.attention_dropout)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.ReLU(), Dropout(config.dropout), nn.Linear(inner, width))
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=config.norm_eps), nn.LayerNorm(width, eps=config.norm_eps)
        self.dropout = Dropout(config.dropout)

    def forward(self, x_BLD: Tensor, r_SD: Tensor, unseen: Tensor, memory_BMD: Tensor | None, rows: Tensor | None) -> Tensor:
        """(B, L, D); arguments as in `RelativeAttention`."""
        x_BLD = self.norm1(x_BLD + self.dropout(self.attention(x_BLD, r_SD, unseen, memory_BMD, rows)))
        y_BLD: Tensor = self.norm2(x_BLD + self.dropout(self.mlp(x_BLD)))
        return y_BLD


class _Saved(PreTrainedModel):  # type: ignore[misc]
    """How every Transformer-XL is initialised, written and read."""

    config_class = TransformerXLConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("Layer",)
    _supports_sdpa = True

    def _init_weights(self, module: nn.Module) -> None:
        """Normal with `initializer_range`, u and v too."""
        super()._init_weights(module)
        if isinstance(module, RelativeAttention):
            initialization.normal_(module.u, std=self.config.initializer_range)
            initialization.normal_(module.v, std=self.config.initializer_range)


class TransformerXL(_Saved):
    """A stack of causal blocks over embedded tokens and a memory."""

    reads_flat, flat_on = True, ("cpu",)  # its attention by distances is no kernel of torch

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.dropout = Dropout(config.dropout)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        mems: Memory | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        starts: Tensor | None = None,
        memory: int | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
    ) -> TransformerXLOutput:
        """`last_hidden_state` (B, L, D), and in `mems` the memory for the next segment.

        Args:
            input_ids: (B, L), the next segment of each row's text.
            mems: what the segment before gave; None at the beginning.
            attention_mask: (B, L), 1 where a token is real, padded on the right, or on the left where there is no memory yet; or
                (1, 1, L, rows) int64, the lengths of flat rows (see `flat`), without a memory.
            position_ids: not read, since positions are relative; taken because readers of flat rows give it.
            starts: (B, L) bool, True where a document begins. Its tokens see none before it, in the memory or in the segment.
            memory: how many tokens the new memory holds at most; `config.memory`, or outside training `config.eval_memory`, where left out.
            use_cache: False makes no memory; `config.use_cache` where left out.
            output_hidden_states: also gives what enters each block.

        Raises:
            Mistake: the memory is of other rows or of another model; `attention_mask` or `starts` are not of these tokens; padding parts
                tokens from their memory.
        """
        config, memory = self.config, self.config.remembered(self.training) if memory is None else memory
        rows = attention_mask if attention_mask is not None and attention_mask.ndim == 4 else None
        if mems is not None:
            mems.check(len(input_ids), len(self.blocks), config.hidden_size)
        segment = _segment(input_ids, mems, attention_mask, starts)
        unseen = segment.unseen(memory if config.same_length else None, input_ids.device)
        x_BLD, entered = self.embeddings(input_ids), []
        r_SD = self.dropout(distances(segment.past + segment.length, config.hidden_size, config.clamp, x_BLD))
        for i, block in enumerate(self.blocks):
            entered.append(x_BLD)
            x_BLD = block(x_BLD, r_SD, unseen, mems.layers[i] if mems else None, rows)
        keeps = (config.use_cache if use_cache is None else use_cache) and rows is None
        newer = segment.remember(entered, mems, memory) if keeps else None
        x_BLD = self.dropout(x_BLD)
        return TransformerXLOutput(x_BLD, newer, (*entered, x_BLD) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Module:
        """The table of token vectors; of several tables, what looks them up."""
        words = self.embeddings.words
        table: nn.Module = words.tables[0] if len(words.tables) == 1 else words
        return table

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the table of token vectors. Raises `Mistake` where there are several."""
        if len(self.embeddings.words.tables) > 1:
            raise Mistake("vocab", "words in clusters are numbered by frequency, which leaves no place for more", "Build a model without cutoffs")
        self.embeddings.words.tables[0] = value
        self.embeddings.words.edges = [0, value.num_embeddings]


class TransformerXLForCausalLM(_Saved, GenerationMixin):  # type: ignore[misc]
    """A `TransformerXL` that tells the next token, by the vectors that tokens come in with."""

    def __init__(self, config: TransformerXLConfig) -> None:
        super().__init__(config)
        self.model = TransformerXL(config)
        self.softmax = AdaptiveSoftmax(config.hidden_size, len(config.cutoffs))
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor,
        mems: Memory | None = None,
        attention_mask: Tensor | None = None,
        starts: Tensor | None = None,
        labels: Tensor | None = None,
        targets: Tensor | None = None,
        memory: int | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        logits_to_keep: int = 0,
    ) -> TransformerXLLMOutput:
        """Where there are `targets` or `labels` the losses, else `logits`.

        Args:
            labels: (B, L), the input ids themselves, -100 where nothing is to be predicted. They are shifted here, not across starts of
                documents, and so nothing is asked of a segment's last token.
            targets: (B, L), the token behind each, that of the next segment included; -100 where nothing is to be predicted.
            logits_to_keep: makes log-probabilities of so many last tokens; 0 of all.

        The other arguments are those of `TransformerXL`.

        Raises:
            Mistake: both `labels` and `targets` are given, or the memory does not fit.
        """
        if labels is not None and targets is not None:
            raise Mistake("targets", "labels say what to predict already", "Give one of them")
        out = self.model(input_ids, mems, attention_mask, None, starts, memory, use_cache, output_hidden_states)
        words, x_BLD = self.model.embeddings.words, out.last_hidden_state
        targets = targets if labels is None else _next(labels, starts, attention_mask)
        if targets is None:
            few_BKD = x_BLD[:, -logits_to_keep:]  # 0 keeps all
            logits = self.softmax.log_probabilities(few_BKD.flatten(0, 1), words).view(*few_BKD.shape[:2], -1)
            return TransformerXLLMOutput(logits=logits, mems=out.mems, hidden_states=out.hidden_states)
        asked_BL = targets != NO_LABEL
        losses_N = self.softmax.losses(x_BLD[asked_BL], targets[asked_BL], words)
        losses_BL = losses_N.new_zeros(targets.shape).masked_scatter(asked_BL, losses_N)
        return TransformerXLLMOutput(losses_N.sum() / max(len(losses_N), 1), losses_BL, None, out.mems, out.hidden_states)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Memory | None = None,
        attention_mask: Tensor | None = None,
        is_first_iteration: bool = False,
        mems: Memory | None = None,
        memory: int | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        tokenizer: Any = None,
    ) -> dict[str, Any]:
        """What one step of `generate` reads: the tokens that are new, and the memory of those before, which it calls `past_key_values`.

        A prompt is read as training reads a text, in segments of `config.context` tokens, all but the last of them here. `mems` is the memory
        that `generate` itself was given: of what came before the prompt; `tokenizer` is handed on to here with strings to stop at, and not read.
        """
        length, mems = next_sequence_length or input_ids.shape[1], mems if past_key_values is None else past_key_values
        ids_BL, mask_BL = input_ids[:, -length:], None if attention_mask is None else attention_mask[:, -length:]
        while use_cache and ids_BL.shape[1] > self.config.context:
            first, ids_BL = ids_BL.tensor_split([self.config.context], 1)
            of_first, mask_BL = (None, None) if mask_BL is None else mask_BL.tensor_split([self.config.context], 1)
            mems = self.model(first, mems, of_first, memory=memory).mems
        return {
            "input_ids": ids_BL, "mems": mems, "attention_mask": mask_BL, "memory": memory, "use_cache": use_cache, "logits_to_keep": logits_to_keep,
        }  # fmt: skip

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """No: the memory is not one of keys and values."""
        return False

    @staticmethod
    def _reorder_cache(mems: Memory, beams: Tensor) -> Memory:
        """The memory of the beams that go on."""
        return mems.of_rows(beams)


def _segment(input_ids: Tensor, mems: Memory | None, attention_mask: Tensor | None, starts: Tensor | None) -> Segment:
    """What is real of memory and tokens, and where documents begin; of flat rows, the longest."""
    laid = attention_mask is not None and attention_mask.ndim == 4
    if laid and (mems is not None or starts is not None):
        raise Mistake("attention_mask", "flat rows have no memory, and each is a document", "Give padded rows, (B, L)")
    for name, given in (("attention_mask", None if laid else attention_mask), ("starts", starts)):
        if given is not None and given.shape != input_ids.shape:
            fix = "Give a value for each token of the segment, and none for the memory, which knows its own"
            raise Mistake(name, f"its shape is {tuple(given.shape)}, that of the tokens {tuple(input_ids.shape)}", fix)
    if attention_mask is not None and laid:
        return Segment(0, attention_mask.shape[2])
    if attention_mask is not None and mems is not None and (mems.held_B * attention_mask.any(1) * (attention_mask[:, 0] == 0)).any():
        raise Mistake("attention_mask", "a row has padding between its memory and its tokens, which would count as distance", "Pad on the right")
    return Segment.of(input_ids.shape[1], mems, attention_mask, starts)


def _next(labels_BL: Tensor, starts_BL: Tensor | None, attention_mask: Tensor | None) -> Tensor:
    """The label of the token behind each, (B, L)."""
    if attention_mask is not None and attention_mask.ndim == 4:
        labels_BL = labels_BL.index_fill(1, flat.lengths(attention_mask).cumsum(0)[:-1], NO_LABEL)
    if starts_BL is not None:
        labels_BL = labels_BL.masked_fill(starts_BL.bool(), NO_LABEL)
    return nn.functional.pad(labels_BL[:, 1:], (0, 1), value=NO_LABEL)


AutoConfig.register("transformer_xl", TransformerXLConfig)
AutoModel.register(TransformerXLConfig, TransformerXL)
AutoModelForCausalLM.register(TransformerXLConfig, TransformerXLForCausalLM)
