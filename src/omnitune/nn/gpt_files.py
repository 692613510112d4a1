"""GPT to and from transformers' OpenAIGPT, GPT2 and Llama: the same numbers under other names."""

import re
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omnitune.errors import Mistake
from omnitune.nn.gpt_config import GPTConfig

if TYPE_CHECKING:
    from omnitune.nn.gpt import GPT, GPTForCausalLM

CLASSES = {
    "gpt1": ("OpenAIGPTModel", "OpenAIGPTLMHeadModel"),
    "gpt2": ("GPT2Model", "GPT2LMHeadModel"),
    "modern": ("LlamaModel", "LlamaForCausalLM"),
}
SHARED = ("vocab_size", "initializer_range", "tie_word_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
OLD_SIZES = {"n_positions": "max_position_embeddings", "n_embd": "hidden_size", "n_layer": "num_hidden_layers", "n_head": "num_attention_heads"}
OLD_REST = {"layer_norm_epsilon": "norm_eps", "resid_pdrop": "dropout", "embd_pdrop": "dropout", "attn_pdrop": "attention_dropout"}
SAME_SIZES = (*OLD_SIZES.values(), "num_key_value_heads", "intermediate_size", "attention_dropout")
FIELDS = {
    "gpt1": OLD_SIZES | OLD_REST,
    "gpt2": OLD_SIZES | OLD_REST | {"n_inner": "intermediate_size"},
    "modern": {name: name for name in SAME_SIZES} | {"rms_norm_eps": "norm_eps"},
}
"""Their names of configuration fields, and ours; those that are called alike are in SHARED."""
FIXED: dict[str, dict[str, tuple[Any, ...]]] = {
    "gpt1": {"afn": ("gelu",)},
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast"),
        **{"scale_attn_weights": (True,), "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)},
    },
    "modern": {"hidden_act": ("silu", "swish"), "attention_bias": (False,), "mlp_bias": (False,)},
}
"""Settings of theirs that a GPT has no other value of."""
_OLD_BLOCK = {
    "attention.qkv": "attn.c_attn",
    "attention.out": "attn.c_proj",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
    "norm1": "ln_1",
    "norm2": "ln_2",
}
_NAMES = {
    "gpt1": {"embeddings.tokens": "tokens_embed", "embeddings.positions": "positions_embed", "blocks": "h", **_OLD_BLOCK},
    "gpt2": {"embeddings.tokens": "wte", "embeddings.positions": "wpe", "blocks": "h", "norm": "ln_f", **_OLD_BLOCK},
    "modern": {
        **{"embeddings.tokens": "embed_tokens", "blocks": "layers", "norm": "norm", "attention.out": "self_attn.o_proj"},
        **{"mlp.up": "mlp.up_proj", "mlp.gate": "mlp.gate_proj", "mlp.down": "mlp.down_proj"},
        **{"norm1": "input_layernorm", "norm2": "post_attention_layernorm"},
    },
}
_TURNED = re.compile(r"\.c_\w+\.weight$")  # transformers' Conv1D keeps (inputs, outputs)


def to_transformers(model: "GPT | GPTForCausalLM", state: Mapping[str, Tensor] | None = None) -> Any:
    """The model of transformers with the same weights (or with those of `state`), copied: OpenAIGPT, GPT2 or Llama, with a head as `model` has one.

    Raises:
        Mistake: transformers has no such model.
    """
    import transformers

    headed = hasattr(model, "lm_head")
    config = to_config(model.config)
    twin = _empty(getattr(transformers, CLASSES[model.config.generation][headed]), config, model.dtype)
    twin.load_state_dict(_theirs(model.config, state or model.state_dict(), twin.base_model_prefix + "." if headed else ""))
    _same_generation(model, twin)
    return twin.train(model.training)


def from_transformers(twin: Any) -> "GPT | GPTForCausalLM":
    """The GPT with the weights of an OpenAIGPT, GPT2 or Llama, copied, with a head where `twin` has one.

    Raises:
        Mistake: `twin` is of another kind, or has something that GPT lacks.
    """
    from omnitune.nn.gpt import GPT, GPTForCausalLM

    kinds = {name: generation for generation, names in CLASSES.items() for name in names}
    name = type(twin).__name__
    if name not in kinds:
        raise Mistake(f"model {twin.config.name_or_path}".rstrip(), f"{name} is no GPT of this library", f"There are: {', '.join(kinds)}")
    headed = hasattr(twin, "lm_head")
    made = _empty(GPTForCausalLM if headed else GPT, from_config(twin.config), twin.dtype)
    made.load_state_dict(_ours(made.config, twin.state_dict(), twin.base_model_prefix + "." if headed else ""))
    _same_generation(twin, made)
    return made.train(twin.training)  # type: ignore[no-any-return]


def _empty(made: Any, config: Any, dtype: torch.dtype) -> Any:
    """A model whose weights are whatever memory held: made without a random number, so that saving changes no training."""
    from transformers.initialization import no_init_weights

    with no_init_weights():
        model = made._from_config(config, dtype=dtype)
    model.tie_weights()  # which transformers leaves out with the initialisation
    return model


def _same_generation(one: Any, other: Any) -> None:
    """What `generate` does by default goes along."""
    if one.can_generate():
        other.generation_config = deepcopy(one.generation_config)


def to_config(config: GPTConfig) -> Any:
    """The configuration of the model of transformers, where Llama's has no place for `dropout`. Raises `Mistake` where there is none."""
    import transformers

    generation = config.generation
    if generation not in CLASSES:
        raise Mistake(f"generation {generation}", "transformers has no such model", "Save it instead: it is read again as model type gpt3")
    if generation == "gpt1" and config.intermediate_size != 4 * config.hidden_size:
        raise Mistake("inner", f"{config.intermediate_size} is not 4 * {config.hidden_size}, which OpenAIGPT always has", "Leave inner out")
    values = {theirs: getattr(config, ours) for theirs, ours in FIELDS[generation].items()} | {name: getattr(config, name) for name in SHARED}
    if generation == "modern":
        values["rope_parameters"] = {"rope_type": "default", "rope_theta": config.rope_theta}
    made = getattr(transformers, CLASSES[generation][0]).config_class(**values)
    made.architectures = config.architectures
    return made


def from_config(theirs: Any) -> GPTConfig:
    """Ours from that of an OpenAIGPT, GPT2 or Llama. Raises `Mistake` where it asks for what GPT lacks."""
    kinds = {"openai-gpt": "gpt1", "gpt2": "gpt2", "llama": "modern"}
    generation = kinds[theirs.model_type]
    rope = getattr(theirs, "rope_parameters", None) or {}
    for name, known in FIXED[generation].items():
        _only(theirs, name, getattr(theirs, name), known)
    if generation == "modern":
        _only(theirs, "rope_type", rope.get("rope_type", "default"), ("default",))
        _only(theirs, "head_dim", theirs.head_dim, (theirs.hidden_size // theirs.num_attention_heads,))
    values = {ours: getattr(theirs, name) for name, ours in FIELDS[generation].items()} | {name: getattr(theirs, name) for name in SHARED}
    return GPTConfig(generation=generation, rope_theta=rope.get("rope_theta", 10_000.0), name_or_path=theirs.name_or_path, **values)


def _only(theirs: Any, name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        where = f"model {theirs.name_or_path}".rstrip()
        raise Mistake(where, f"its {name} is {value!r}, and GPT knows {known[0]!r} alone", "Use the model of transformers as it is")


def _theirs(config: GPTConfig, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Our weights under their names, those of the body behind `prefix`."""
    made: dict[str, Tensor] = {}
    for name, weight in state.items():
        renamed = _rename(name.removeprefix("model."), _NAMES[config.generation])
        renamed = renamed if name == "lm_head.weight" else prefix + renamed
        if config.generation == "modern" and "attention.qkv" in renamed:
            shared = (len(weight) - config.hidden_size) // 2
            for letter, part in zip("qkv", torch.split(weight, [config.hidden_size, shared, shared]), strict=True):
                made[renamed.replace("attention.qkv", f"self_attn.{letter}_proj")] = part
        else:
            made[renamed] = weight.T if _TURNED.search(renamed) else weight
    return made


def _ours(config: GPTConfig, state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Their weights under our names."""
    made, names = {}, {theirs: ours for ours, theirs in _NAMES[config.generation].items()}
    for name, weight in state.items():
        renamed = _rename(name.removeprefix(prefix), names)
        renamed = renamed if name == "lm_head.weight" or not prefix else "model." + renamed
        made[renamed] = weight.T if _TURNED.search(name) else weight
    for name in [name for name in made if "self_attn.q_proj" in name]:
        parts = [made.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        made[name.replace("self_attn.q_proj", "attention.qkv")] = torch.cat(parts)
    return made


def _rename(name: str, names: Mapping[str, str]) -> str:
    """`blocks.3.mlp.up.weight` to `h.3.mlp.c_fc.weight`, part by part."""
    module, _, leaf = name.rpartition(".")
    block = re.fullmatch(r"(\w+)\.(\d+)\.(.+)", module)
    if block:
        return f"{names[block[1]]}.{block[2]}.{names.get(block[3], block[3])}.{leaf}"
    return f"{names.get(module, module)}.{leaf}"
