"""BERT (Devlin et al. 2019, https://arxiv.org/abs/1810.04805): every token sees every other, norms stand behind each half of a block.

Shape letters: B rows, L tokens, D width, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM, AutoModelForPreTraining, PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, MaskedLMOutput
from transformers.models.bert.modeling_bert import BertForPreTrainingOutput
from transformers.utils import can_return_tuple

from omnitune.nn import bert_files
from omnitune.nn.attention import seen
from omnitune.nn.bert_config import BERTConfig
from omnitune.nn.block import Block
from omnitune.nn.dropout import Dropout

NO_LABEL = -100
"""What transformers writes where nothing is asked."""


class Embeddings(nn.Module):
    """Words, learned positions and types as one sum of vectors, normed."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.tokens = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.types = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, position_ids: Tensor, token_type_ids: Tensor | None) -> Tensor:
        """(B, L, D), from token ids (B, L) or ready vectors (B, L, D); types are all 0 where left out."""
        x_BLD = ids if ids.is_floating_point() else self.tokens(ids)
        x_BLD = x_BLD + (self.types.weight[0] if token_type_ids is None else self.types(token_type_ids)) + self.positions(position_ids)
        dropped: Tensor = self.dropout(self.norm(x_BLD))
        return dropped


class Layer(GradientCheckpointingLayer, Block):  # type: ignore[misc]
    """A block that transformers may tell to compute its activations again in the backward pass."""


class Pooler(nn.Module):
    """The first token, through a layer: what stands for a whole row in BERT's own heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, D)."""
        pooled: Tensor = self.dense(x_BLD[:, 0]).tanh()
        return pooled


class Words(nn.Module):
    """Which word stands at a place: a layer, GELU and norm, then the table of words, which the embeddings share, and a bias for each."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, V)."""
        logits_BLV: Tensor = self.decoder(self.norm(gelu(self.dense(x_BLD))))
        return logits_BLV


class _Saved(PreTrainedModel):  # type: ignore[misc]
    """How every BERT is initialised (normal with `initializer_range`), written and read: as the model of transformers that it equals."""

    config_class = BERTConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("Layer",)
    _supports_sdpa = True

    def save_pretrained(self, save_directory: Any, **options: Any) -> None:
        """Writes a folder as transformers writes that of its BertModel, BertForMaskedLM or BertForPreTraining."""
        bert_files.to_transformers(self, options.pop("state_dict", None)).save_pretrained(save_directory, **options)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *, config: Any = None, **options: Any) -> Any:
        """Reads a checkpoint of transformers' BERT. Raises `Mistake` where it is of another kind."""
        config = config or AutoConfig.from_pretrained(pretrained_model_name_or_path)
        auto = {BERT: AutoModel, BERTForMaskedLM: AutoModelForMaskedLM, BERTForPreTraining: AutoModelForPreTraining}[cls]
        return bert_files.from_transformers(auto.from_pretrained(pretrained_model_name_or_path, config=config, **options))


class BERT(_Saved):
    """A stack of blocks over embedded tokens.

    Args:
        config: its sizes.
        pooled: whether it has the layer that BERT's own heads read rows by.
    """

    reads_flat = True

    def __init__(self, config: BERTConfig, pooled: bool = False) -> None:
        super().__init__(config)
        self.embeddings = Embeddings(config)
        self.blocks = nn.ModuleList(_layer(config, i) for i in range(config.num_hidden_layers))
        self.pooler = Pooler(config.hidden_size) if pooled else None
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BaseModelOutputWithPooling:
        """`last_hidden_state` (B, L, D), and `pooler_output` (B, D) where there is a pooler.

        Args:
            input_ids: (B, L).
            attention_mask: (B, L), 1 where a token is real; or (1, 1, L, rows) int64, the lengths of flat rows.
            token_type_ids: (B, L), 1 for tokens of a second text; all 0 where left out.
            position_ids: (B, L) or (1, L); counted from the left where left out.
            inputs_embeds: (B, L, D), in the place of `input_ids`.
            output_hidden_states: also gives what enters each block and what leaves the model, 1 + blocks of (B, L, D).
        """
        ids = input_ids if inputs_embeds is None else inputs_embeds
        assert ids is not None, "input_ids or inputs_embeds"
        if position_ids is None:
            position_ids = torch.arange(ids.shape[1], device=ids.device)[None]
        mask, entered = seen(attention_mask), []
        x_BLD = self.embeddings(ids, position_ids, token_type_ids)
        for block in self.blocks:
            entered += [x_BLD] if output_hidden_states else []
            x_BLD = block(x_BLD, mask)
        pooled_BD = self.pooler(x_BLD) if self.pooler else None
        return BaseModelOutputWithPooling(x_BLD, pooled_BD, (*entered, x_BLD) if output_hidden_states else None)

    def get_input_embeddings(self) -> nn.Module:
        """The table of token vectors."""
        return self.embeddings.tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replaces the table of token vectors."""
        self.embeddings.tokens = value


class _Speaking(_Saved):
    """A `BERT` with the layer that says words."""

    _tied_weights_keys = {"words.decoder.weight": "model.embeddings.tokens.weight"}  # noqa: RUF012 (the name is that of transformers)

    def __init__(self, config: BERTConfig, pooled: bool) -> None:
        super().__init__(config)
        self.model, self.words = BERT(config, pooled), Words(config)

    def get_output_embeddings(self) -> nn.Module:
        """The layer that says words."""
        return self.words.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replaces the layer that says words."""
        self.words.decoder = value


class BERTForMaskedLM(_Speaking):
    """A `BERT` that tells hidden words, for the tools of transformers."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__(config, pooled=False)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> MaskedLMOutput:
        """`logits` (B, L, V), and where there are `labels` the mean `loss`.

        Args:
            labels: (B, L), the words that were there, -100 where nothing is asked.

        The other arguments are those of `BERT`.
        """
        out = self.model(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, output_hidden_states)
        logits_BLV = self.words(out.last_hidden_state)
        return MaskedLMOutput(None if labels is None else _loss(logits_BLV, labels), logits_BLV, out.hidden_states)


class BERTForPreTraining(_Speaking):
    """A `BERT` that tells hidden words and whether a second text follows the first, as it was pre-trained."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__(config, pooled=True)
        self.follows = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        output_hidden_states: bool | None = None,
    ) -> BertForPreTrainingOutput:
        """`prediction_logits` (B, L, V) and `seq_relationship_logits` (B, 2); `loss`, the sum of both means, where there are both labels.

        Args:
            labels: as in `BERTForMaskedLM`.
            next_sentence_label: (B,), 0 where the second text follows the first, 1 where it is another.

        The other arguments are those of `BERT`.
        """
        out = self.model(input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, output_hidden_states)
        logits_BLV, follows_B2 = self.words(out.last_hidden_state), self.follows(out.pooler_output)
        loss = None
        if labels is not None and next_sentence_label is not None:
            loss = _loss(logits_BLV, labels) + cross_entropy(follows_B2.float(), next_sentence_label)
        return BertForPreTrainingOutput(loss, logits_BLV, follows_B2, out.hidden_states)


def _layer(config: BERTConfig, number: int) -> Layer:
    return Layer(
        config.hidden_size,
        config.num_attention_heads,
        config.hidden_dropout_prob,
        attention_dropout=config.attention_probs_dropout_prob,
        inner=config.intermediate_size,
        norm_first=False,
        eps=config.layer_norm_eps,
        layer=number,
    )


def _loss(logits_BLV: Tensor, labels_BL: Tensor) -> Tensor:
    return cross_entropy(logits_BLV.flatten(0, 1).float(), labels_BL.flatten(), ignore_index=NO_LABEL)


AutoModel.register(BERTConfig, BERT)
AutoModelForMaskedLM.register(BERTConfig, BERTForMaskedLM)
