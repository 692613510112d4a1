"""GGUF, the one file of llama.cpp: the Llama in it becomes a Hugging Face folder, its weights plain numbers again.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = {  # of transformers' LlamaConfig: what GGUF calls it, behind `llama.`
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "max_position_embeddings": "context_length",
    "rms_norm_eps": "attention.layer_norm_rms_epsilon",
}
WORD, CONTROL, UNUSED = 1, 3, 5
"""Types of tokens; the unused make the table's size a round number."""


def llama(path: Path, folder: Path) -> None:
    """Writes the model in bfloat16, and its tokenizer with its chat template, so that `from_pretrained(folder)` reads both."""
    import torch
    from gguf import GGUFReader
    from transformers import LlamaForCausalLM

    reader = GGUFReader(path)
    values = {name: field.contents() for name, field in reader.fields.items()}
    assert values["general.architecture"] == "llama", values["general.architecture"]
    state = weights(reader.tensors, values)
    with torch.device("meta"):  # no number is drawn, so a run that makes the sample starts from the same seed as one that has it
        model = LlamaForCausalLM(_config(values, state))
    model.load_state_dict(state, strict=False, assign=True)
    model.tie_weights()
    left = [name for name, weight in model.named_parameters() if weight.is_meta]
    assert not left and state.keys() <= model.state_dict().keys(), left
    model.save_pretrained(folder)
    tokenizer(values).save_pretrained(str(folder))


def weights(tensors: Any, values: dict[str, Any]) -> dict[str, Tensor]:
    """Every tensor of the file in bfloat16 under the name it has in transformers' Llama."""
    import torch
    from gguf import dequantize

    blocks = values["llama.block_count"]
    heads = {"attn_q": values["llama.attention.head_count"], "attn_k": values["llama.attention.head_count_kv"]}
    called, made = _names(blocks), dict[str, torch.Tensor]()
    for tensor in tensors:
        stem, _, leaf = tensor.name.rpartition(".")
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type), dtype=torch.float32)
        turned = heads.get(stem.rpartition(".")[2])
        made[f"{called[stem]}.{leaf}"] = (halves(weight, turned) if turned else weight).to(torch.bfloat16)
    return made


def halves(weight: Tensor, heads: int) -> Tensor:
    """Rows of queries or keys, in the order that transformers wants.

    Rotary positions turn pairs of rows: in GGUF row 2i of a head with row 2i + 1, in transformers row i of its first half with row i of its second
    (`permute` of llama.cpp's convert_hf_to_gguf.py, undone).
    """
    return weight.reshape(heads, -1, 2, *weight.shape[1:]).transpose(1, 2).reshape(weight.shape)


def tokenizer(values: dict[str, Any]) -> Any:
    """The byte-level BPE of the file. It splits as llama.cpp's `smollm` does: every digit by itself, the rest like GPT-2."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    field = {name.removeprefix("tokenizer.").removeprefix("ggml."): value for name, value in values.items()}
    words, types = field["tokens"], field["token_type"]
    assert (field["model"], field["pre"]) == ("gpt2", "smollm") and set(types) <= {WORD, CONTROL, UNUSED}
    used = {word: i for i, (word, type_) in enumerate(zip(words, types, strict=True)) if type_ != UNUSED}
    core = Tokenizer(models.BPE(vocab=used, merges=[tuple(merge.split(" ")) for merge in field["merges"]]))
    core.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([AddedToken(words[i], normalized=False, special=True) for i, type_ in enumerate(types) if type_ == CONTROL])
    ends = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    return PreTrainedTokenizerFast(
        tokenizer_object=core, chat_template=field["chat_template"], model_max_length=values["llama.context_length"],
        **{name: words[field[f"{called}_token_id"]] for name, called in ends.items()},
    )  # fmt: skip


def _config(values: dict[str, Any], state: dict[str, Tensor]) -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        **{ours: values[f"llama.{theirs}"] for ours, theirs in CONFIG.items()},
        vocab_size=len(state["model.embed_tokens.weight"]), tie_word_embeddings="lm_head.weight" not in state, dtype="bfloat16",
        rope_parameters={"rope_type": "default", "rope_theta": values["llama.rope.freq_base"]},
        **{f"{name}_token_id": values[f"tokenizer.ggml.{called}_token_id"] for name, called in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))},
    )  # fmt: skip


def _names(blocks: int) -> dict[str, str]:
    """Modules of transformers' Llama by what GGUF calls them; the library knows the way back alone."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    table = get_tensor_name_map(MODEL_ARCH.LLAMA, blocks)
    parts = [
        "input_layernorm",
        "post_attention_layernorm",
        *(f"self_attn.{x}_proj" for x in "qkvo"),
        *(f"mlp.{x}_proj" for x in ("gate", "up", "down")),
    ]
    modules = ["model.embed_tokens", "model.norm", "lm_head", *(f"model.layers.{i}.{part}" for i in range(blocks) for part in parts)]
    return {table[module]: module for module in modules}
