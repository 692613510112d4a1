"""GGUF: a Llama written in llama.cpp's layout comes back as it was, and goes on learning."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter, TokenType
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

import checkpoints
from omnitune import Sampling, fit, generate, load
from omnitune.recipe import read
from omnitune.samples import gguf_files

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output", "model.layers": "blk", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip
CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
TEXT = "the fabric is soft, size 38\n  but très jolie 服"


def llama(tied: bool) -> Any:
    """4 heads of 16 dimensions, 2 of keys; 300 rows, the tokenizer knows 299 words; numbers that 16 bits hold."""
    config = LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5,
        max_position_embeddings=96, tie_word_embeddings=tied, rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).eval()
        for weight in model.parameters():
            weight.data = (weight.data + 0.3 * torch.randn_like(weight)).to(torch.bfloat16).float()
    return model


def in_pairs(values: Any, heads: int) -> Any:
    """`permute` of llama.cpp's convert_hf_to_gguf.py."""
    return values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:]).swapaxes(1, 2).reshape(values.shape)


def write(model: Any, path: Path, raw: dict[str, tuple[Any, Type]] | None = None) -> Path:
    """The model in one file, with the tokenizer of the tiny checkpoints; `raw` tensors as bytes in place of its own."""
    out, config = GGUFWriter(path, "llama"), model.config
    out.add_block_count(config.num_hidden_layers)
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_rope_freq_base(config.rope_parameters["rope_theta"])
    _write_tokenizer(out)
    for name, weight in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        heads = {"q": config.num_attention_heads, "k": config.num_key_value_heads}.get(name.partition("attn.")[2][:1])
        values = in_pairs(weight.numpy(), heads) if heads else weight.numpy()
        for theirs, short in NAMES.items():
            name = name.replace(theirs, short)
        content, kind = (raw or {}).get(name, (values, Type.F32))
        out.add_tensor(name, content, raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()
    return path


def _write_tokenizer(out: Any) -> None:
    core = json.loads((checkpoints.tiny_llama() / "tokenizer.json").read_text())["model"]
    words = sorted(core["vocab"], key=core["vocab"].get)
    assert len(words) == 299
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("smollm")
    out.add_token_list([*words, "[PAD299]"])
    out.add_token_types([TokenType.CONTROL, *[TokenType.NORMAL] * 298, TokenType.UNUSED])
    out.add_token_merges([" ".join(merge) for merge in core["merges"]])
    for add in (out.add_bos_token_id, out.add_eos_token_id, out.add_unk_token_id, out.add_pad_token_id):
        add(0)
    out.add_chat_template(CHAT)


@pytest.mark.parametrize("tied", [True, False])
def test_a_llama_says_what_it_said_before(tied: bool, tmp_path: Path) -> None:
    model, folder = llama(tied), tmp_path / "made"
    before = torch.get_rng_state()
    gguf_files.llama(write(model, tmp_path / "model.gguf"), folder)
    assert torch.equal(before, torch.get_rng_state())
    made = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    assert made.config.tie_word_embeddings == tied and made.config.num_key_value_heads == 2
    ids = torch.arange(60).reshape(2, 30) * 4
    with torch.no_grad():
        torch.testing.assert_close(made(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-5)
    for name, weight in model.state_dict().items():
        assert torch.equal(made.state_dict()[name], weight), name


def test_blocks_of_few_bits_are_read_as_the_format_says(tmp_path: Path) -> None:
    """Q4_1: scale, smallest, 16 bytes whose low halves come first; Q8_0: scale, 32 signed bytes. Written here byte by byte, 32 numbers a block."""
    nibbles, signed = np.arange(16, dtype=np.uint8), np.arange(-16, 16, dtype=np.int8)
    fours = np.concatenate([np.array([0.5, -1.0], np.float16).view(np.uint8), nibbles | (15 - nibbles) << 4])
    eights = np.concatenate([np.array([0.25], np.float16).view(np.uint8), signed.view(np.uint8)])
    model, rising = llama(tied=True), torch.arange(16) * 0.5 - 1
    raw = {"blk.1.ffn_up.weight": (np.tile(fours, (96, 2)), Type.Q4_1), "token_embd.weight": (np.tile(eights, (300, 2)), Type.Q8_0)}
    gguf_files.llama(write(model, tmp_path / "model.gguf", raw=raw), tmp_path / "made")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "made").state_dict()
    assert torch.equal(found["model.layers.1.mlp.up_proj.weight"].float(), torch.cat([rising, rising.flip(0)]).repeat(96, 2))
    assert torch.equal(found["model.embed_tokens.weight"].float(), (torch.arange(-16, 16) * 0.25).repeat(300, 2))


def test_the_tokenizer_splits_every_digit_and_knows_its_template(tmp_path: Path) -> None:
    gguf_files.llama(write(llama(tied=True), tmp_path / "model.gguf"), tmp_path / "made")
    ours, plain = AutoTokenizer.from_pretrained(tmp_path / "made"), AutoTokenizer.from_pretrained(checkpoints.tiny_llama())
    ids = ours(TEXT + "<|endoftext|>").input_ids
    assert ids == plain(TEXT + "<|endoftext|>").input_ids and ids[-1] == ours.eos_token_id == ours.pad_token_id == 0
    assert ours.decode(ids, skip_special_tokens=True) == TEXT and ours.model_max_length == 96
    assert ours.tokenize("4711") == list("4711") and "[PAD299]" not in ours.get_vocab() and len(ours) == 299
    assert ours.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False) == "<user>Hi"


@pytest.mark.parametrize("tied", [True, False])
def test_it_goes_on_learning_and_writes_as_transformers_does(tied: bool, tmp_path: Path) -> None:
    model, folder = llama(tied), tmp_path / "made"
    gguf_files.llama(write(model, tmp_path / "model.gguf"), folder)
    rows = [{"text": f"{line} {i}"} for i in range(6) for line in checkpoints.SENTENCES]
    values = {
        "data": {"from": rows}, "tasks": {"language": {"kind": "generate", "of": "text"}}, "train": {"epochs": 2, "batch": 4},
        "inputs": {"text": {"kind": "text", "backbone": str(folder), "max_tokens": 16, "pieces": True}}, "tuning": {"kind": "lora", "rank": 2},
    }  # fmt: skip
    made = fit(read(values), tmp_path / "run")
    models = made.report.tasks["language"]["metrics"]["models"]
    assert models["after"]["bits_per_byte"]["value"] < models["before"]["bits_per_byte"]["value"]
    saved = AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "inputs" / "text_")
    assert saved.config.tie_word_embeddings == tied and torch.equal(saved.get_output_embeddings().weight, model.get_output_embeddings().weight)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / "inputs" / "text_")
    asked = tokenizer("the fabric", return_tensors="pt")
    wanted = saved.eval().generate(**asked, max_new_tokens=8, do_sample=False, suppress_tokens=[299])[0, asked.input_ids.shape[1] :]
    written = generate(load(tmp_path / "run"), "the fabric", Sampling(max_new_tokens=8, temperature=0))
    assert written == [tokenizer.decode(wanted, skip_special_tokens=True)] != [""]
