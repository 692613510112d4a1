"""BERT to and from transformers' BertModel, BertForMaskedLM and BertForPreTraining: the same numbers under other names."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omnitune.errors import Mistake
from omnitune.nn.bert_config import BERTConfig

if TYPE_CHECKING:
    from omnitune.nn.bert import BERT, BERTForMaskedLM

CLASSES = {"BERT": "BertModel", "BERTForMaskedLM": "BertForMaskedLM", "BERTForPreTraining": "BertForPreTraining"}
"""Our classes, and theirs."""
_STEM = {
    "embeddings.tokens": "embeddings.word_embeddings", "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.types": "embeddings.token_type_embeddings", "embeddings.norm": "embeddings.LayerNorm", "pooler.dense": "pooler.dense",
}  # fmt: skip
_BLOCK = {
    "attention.out": "attention.output.dense", "norm1": "attention.output.LayerNorm", "mlp.up": "intermediate.dense", "mlp.down": "output.dense",
    "norm2": "output.LayerNorm",
}  # fmt: skip
_HEADS = {
    "words.dense": "cls.predictions.transform.dense", "words.norm": "cls.predictions.transform.LayerNorm", "words.decoder": "cls.predictions.decoder",
    "follows": "cls.seq_relationship",
}  # fmt: skip
_BIAS = "cls.predictions.bias"  # of the decoder, by a second name
_PARTS = {"query": 0, "key": 1, "value": 2}


def to_transformers(model: "BERT | BERTForMaskedLM", state: Mapping[str, Tensor] | None = None) -> Any:
    """The model of transformers with the same weights (or with those of `state`), copied; with heads and pooler as `model` has them."""
    import transformers

    config = transformers.BertConfig(**_values(model.config))
    made = getattr(transformers, CLASSES[type(model).__name__])
    twin = _empty(made, config, model.dtype, **({"add_pooling_layer": model.pooler is not None} if made is transformers.BertModel else {}))
    twin.load_state_dict(_theirs(state or model.state_dict()))
    return twin.train(model.training)


def from_transformers(twin: Any) -> "BERT | BERTForMaskedLM":
    """The BERT with the weights of a BertModel, BertForMaskedLM or BertForPreTraining, copied.

    Raises:
        Mistake: `twin` is of another kind, or has something that BERT lacks.
    """
    from omnitune.nn import bert

    kinds = {theirs: ours for ours, theirs in CLASSES.items()}
    name = type(twin).__name__
    if name not in kinds:
        raise Mistake(f"model {twin.config.name_or_path}".rstrip(), f"{name} is no BERT of this library", f"There are: {', '.join(kinds)}")
    config = BERTConfig(**_values(twin.config), name_or_path=twin.config.name_or_path)
    made = _empty(getattr(bert, kinds[name]), config, twin.dtype, **({"pooled": twin.pooler is not None} if name == "BertModel" else {}))
    made.load_state_dict(_ours(twin.state_dict()))
    return made.train(twin.training)  # type: ignore[no-any-return]


def _values(config: Any) -> dict[str, Any]:
    """All settings of a configuration but those that say who wrote it."""
    return {name: value for name, value in config.to_dict().items() if name not in ("architectures", "transformers_version", "model_type", "dtype")}


def _empty(made: Any, config: Any, dtype: torch.dtype, **options: Any) -> Any:
    """A model whose weights are whatever memory held: made without a random number, so that saving changes no training."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        model = made._from_config(config, dtype=dtype, **options)
    model.tie_weights()  # which transformers leaves out with the initialisation
    return model


def _theirs(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under their names."""
    made: dict[str, Tensor] = {}
    headed = any(name.startswith("model.") for name in state)
    for name, weight in state.items():
        module, _, leaf = name.removeprefix("model.").rpartition(".")
        block = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
        prefix = "bert." if name.startswith("model.") else ""
        if block and block[2] == "attention.qkv":
            for part, third in zip(_PARTS, weight.chunk(3), strict=True):
                made[f"{prefix}encoder.layer.{block[1]}.attention.self.{part}.{leaf}"] = third
        elif block:
            made[f"{prefix}encoder.layer.{block[1]}.{_BLOCK[block[2]]}.{leaf}"] = weight
        else:
            made[f"{prefix}{(_STEM | _HEADS)[module]}.{leaf}"] = weight
    return made | ({_BIAS: state["words.decoder.bias"]} if headed else {})


def _ours(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their weights under our names."""
    names = {theirs: ours for ours, theirs in (_STEM | _BLOCK | _HEADS).items()}
    made: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor]] = {}
    for name, weight in state.items():
        module, _, leaf = name.removeprefix("bert.").rpartition(".")
        block = re.fullmatch(r"encoder\.layer\.(\d+)\.(.+)", module)
        prefix = "model." if name.startswith("bert.") else ""
        if block and block[2].startswith("attention.self."):
            thirds = parts.setdefault(f"{prefix}blocks.{block[1]}.attention.qkv.{leaf}", [weight] * 3)
            thirds[_PARTS[block[2].rpartition(".")[2]]] = weight
        elif block:
            made[f"{prefix}blocks.{block[1]}.{names[block[2]]}.{leaf}"] = weight
        elif name != _BIAS:
            made[f"{prefix}{names[module]}.{leaf}"] = weight
    return made | {name: torch.cat(thirds) for name, thirds in parts.items()}
