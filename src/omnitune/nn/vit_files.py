"""ViT to and from transformers' ViT: the same numbers under other names."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omnitune.errors import Mistake
from omnitune.nn.vit_config import VisionTransformerConfig

if TYPE_CHECKING:
    from omnitune.nn.vit import ViT, ViTForImageClassification

CLASSES = ("ViTModel", "ViTForImageClassification")
SAME = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size", "patch_size", "num_channels")
FIELDS = {name: name for name in (*SAME, "initializer_range")} | {
    "layer_norm_eps": "norm_eps", "hidden_dropout_prob": "dropout", "attention_probs_dropout_prob": "attention_dropout",
}  # fmt: skip
"""Their names of configuration fields, and ours."""
FIXED: dict[str, Any] = {"hidden_act": "gelu", "qkv_bias": True}
"""Settings of theirs that a ViT has no other value of."""
NAMES = {
    **{"embeddings.project": "embeddings.patch_embeddings.projection", "embeddings.class_token": "embeddings.cls_token"},
    **{"embeddings.positions": "embeddings.position_embeddings", "blocks": "layers", "norm": "layernorm"},
}
BLOCK = {"attention.out": "attention.o_proj", "mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2", "norm1": "layernorm_before", "norm2": "layernorm_after"}
"""Our names of modules and of their parts, and theirs."""
ADDED = {"class_token": 2, "positions": 1, "hidden": 2}
"""So many first dimensions of one their tables have and ours lack."""
OUTSIDE = ("classifier.", "decoder.")
"""What lies beside the body, not in it."""


def to_transformers(model: "ViT | ViTForImageClassification", state: Mapping[str, Tensor] | None = None) -> Any:
    """The ViT of transformers with the same weights (or with those of `state`), copied, with a classifier where `model` has one.

    Raises:
        Mistake: the model has no class token.
    """
    import transformers

    headed = hasattr(model, "classifier")
    options = {} if headed else {"add_pooling_layer": False}
    twin = empty(getattr(transformers, CLASSES[headed]), to_config(model.config), model.dtype, **options)
    twin.load_state_dict(theirs(state or model.state_dict(), NAMES, "vit." if headed else ""))
    return twin.train(model.training)


def from_transformers(twin: Any) -> "ViT | ViTForImageClassification":
    """The ViT with the weights of one of transformers, copied, with a classifier where `twin` has one. Its pooler is left behind.

    Raises:
        Mistake: `twin` is of another kind, or has something that ViT lacks.
    """
    from omnitune.nn.vit import ViT, ViTForImageClassification

    name = type(twin).__name__
    if name not in CLASSES:
        raise Mistake(f"model {twin.config.name_or_path}".rstrip(), f"{name} is no ViT of this library", f"There are: {', '.join(CLASSES)}")
    headed = hasattr(twin, "classifier")
    made = empty(ViTForImageClassification if headed else ViT, from_config(twin.config), twin.dtype)
    state = {name: weight for name, weight in twin.state_dict().items() if not name.startswith("pooler.") and not name.endswith("mask_token")}
    made.load_state_dict(ours(state, NAMES, "vit." if headed else ""))
    return made.train(twin.training)  # type: ignore[no-any-return]


def empty(made: Any, config: Any, dtype: torch.dtype, **options: Any) -> Any:
    """A model whose weights are whatever memory held: made without a random number of the run's, so that saving changes no training."""
    from transformers.initialization import no_init_weights

    with no_init_weights(), torch.random.fork_rng(devices=[]):  # transformers' tables are noise all the same
        return made._from_config(config, dtype=dtype, **options)


def to_config(config: VisionTransformerConfig) -> Any:
    """The configuration of transformers' ViT. Raises `Mistake` where there is no class token."""
    from transformers import ViTConfig

    if not config.class_token:
        raise Mistake("class_token", "a ViT of transformers always has one", "Save it instead: it is read again as model type vit_pooled")
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    made = ViTConfig(**{theirs: getattr(config, ours) for theirs, ours in FIELDS.items()}, **labels, encoder_stride=config.patch_size)
    made.architectures = config.architectures
    return made


def from_config(theirs: Any) -> VisionTransformerConfig:
    """Ours from that of a ViT. Raises `Mistake` where it asks for what ViT lacks."""
    known(theirs)
    values = {ours: getattr(theirs, name) for name, ours in FIELDS.items()}
    return VisionTransformerConfig(**values, id2label=theirs.id2label, label2id=theirs.label2id, name_or_path=theirs.name_or_path)


def known(theirs: Any) -> None:
    """Raises `Mistake` where a configuration asks for what ViT lacks."""
    wrong = {name: value for name, value in FIXED.items() if getattr(theirs, name) != value}
    wrong |= {name: "squares" for name in ("image_size", "patch_size") if not isinstance(getattr(theirs, name), int)}
    for name, value in wrong.items():
        where = f"model {theirs.name_or_path}".rstrip()
        raise Mistake(where, f"its {name} is {getattr(theirs, name)!r}, and ViT knows {value} alone", "Use the model of transformers as it is")


def theirs(state: Mapping[str, Tensor], names: Mapping[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Our weights under their names; what belongs to the body has `prefix` instead of `model.`."""
    made: dict[str, Tensor] = {}
    for name, weight in state.items():
        renamed = _rename(name.removeprefix("model."), names, BLOCK)
        renamed = renamed if renamed.startswith(OUTSIDE) else prefix + renamed
        if ".attention.qkv." in renamed:  # one product of queries, keys and values here, three there
            made |= {renamed.replace("qkv", f"{letter}_proj"): part for letter, part in zip("qkv", weight.chunk(3), strict=True)}
        else:
            made[renamed] = weight[(None,) * ADDED.get(name.rpartition(".")[2], 0)]
    return made


def ours(state: Mapping[str, Tensor], names: Mapping[str, str], prefix: str = "") -> dict[str, Tensor]:
    """Their weights under our names; the reverse of `theirs`."""
    modules, parts = ({theirs: ours for ours, theirs in table.items()} for table in (names, BLOCK))
    made: dict[str, Tensor] = {}
    for name, weight in state.items():
        renamed = _rename(name.removeprefix(prefix), modules, parts)
        renamed = "model." + renamed if prefix and not name.startswith(OUTSIDE) else renamed
        made[renamed] = weight[(0,) * ADDED.get(renamed.rpartition(".")[2], 0)]
    for name in [name for name in made if ".attention.q_proj." in name]:
        three = [made.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        made[name.replace("q_proj", "qkv")] = torch.cat(three)
    return made


def _rename(name: str, names: Mapping[str, str], parts: Mapping[str, str]) -> str:
    """`blocks.3.mlp.up.weight` to `layers.3.mlp.fc1.weight`, part by part."""
    if name in names:
        return names[name]
    module, _, leaf = name.rpartition(".")
    block = re.fullmatch(r"(.+)\.(\d+)\.(.+)", module)
    if block:
        return f"{names[block[1]]}.{block[2]}.{parts.get(block[3], block[3])}.{leaf}"
    return f"{names.get(module, module)}.{leaf}"
