"""GPT against transformers' OpenAIGPT, GPT2 and Llama with the same weights, in both directions; GPT-3 against GPT-2 and against plain bands."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2Model,
    LlamaConfig,
    LlamaModel,
    OpenAIGPTConfig,
    T5Config,
    T5Model,
)

import gpts
from omnitune.errors import Mistake
from omnitune.nn.gpt import GPT, GPTConfig, GPTForCausalLM
from omnitune.nn.gpt_files import CLASSES, from_transformers, to_config, to_transformers

SHARED = list(CLASSES)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def gradients(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    labels = ids.masked_fill(mask == 0, -100)
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    return {"loss": loss.detach()} | {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("generation", SHARED)
def test_hidden_states_of_every_layer(generation: str, padded: bool) -> None:
    ours = gpts.base(generation)
    theirs = to_transformers(ours)
    assert type(theirs).__name__ == CLASSES[generation][0]
    ids, mask = gpts.rows([9, 4, 1] if padded else [9, 9, 9])
    found = ours(ids, mask, output_hidden_states=True)
    wanted = theirs(ids, attention_mask=mask, output_hidden_states=True)
    assert len(found.hidden_states) == len(wanted.hidden_states) == 5
    for x, y in zip([*found.hidden_states, found.last_hidden_state], [*wanted.hidden_states, wanted.last_hidden_state], strict=True):
        close(x[mask.bool()], y[mask.bool()])


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("generation", SHARED)
def test_logits_and_gradients_both_ways(generation: str, tie: bool) -> None:
    ours, (ids, mask) = gpts.language_model(generation, tie=tie), gpts.rows([9, 4, 2])
    theirs = to_transformers(ours)
    assert type(theirs).__name__ == CLASSES[generation][1]
    assert (theirs.lm_head.weight is theirs.get_input_embeddings().weight) == tie
    back = from_transformers(theirs)
    close(ours(ids, mask).logits[mask.bool()], theirs(ids, attention_mask=mask).logits[mask.bool()])
    assert torch.equal(ours(ids, mask).logits, back(ids, mask).logits)

    found, wanted, again = (gradients(model, ids, mask) for model in (ours, theirs, back))
    with torch.no_grad():
        for name, weight in theirs.named_parameters():
            weight.copy_(wanted[name])
    turned = dict(from_transformers(theirs).named_parameters())  # their gradients under our names
    assert found.keys() == again.keys() == turned.keys() | {"loss"}
    close(found["loss"], wanted["loss"])
    for name, weight in turned.items():
        close(found[name], weight)
        close(again[name], weight)


def foreign(generation: str) -> Any:
    """A tiny model that transformers itself made."""
    old = {"vocab_size": 50, "n_positions": 32, "n_embd": 24, "n_layer": 3, "n_head": 3}
    if generation == "gpt1":
        return AutoModelForCausalLM.from_config(OpenAIGPTConfig(**old))
    if generation == "gpt2":
        return AutoModelForCausalLM.from_config(GPT2Config(**old, n_inner=40, resid_pdrop=0.3, embd_pdrop=0.3, attn_pdrop=0.2))
    sizes = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
    rope = {"rope_type": "default", "rope_theta": 777.0}
    return AutoModelForCausalLM.from_config(LlamaConfig(vocab_size=50, **sizes, rms_norm_eps=1e-3, rope_parameters=rope, attention_dropout=0.1))


@pytest.mark.parametrize("generation", SHARED)
def test_a_model_of_transformers_and_back(generation: str) -> None:
    theirs = gpts.randomised(foreign(generation))
    theirs.generation_config.max_new_tokens = 7
    ours, ids = from_transformers(theirs), torch.arange(20).view(2, 10)
    assert isinstance(ours, GPTForCausalLM) and ours.config.generation == generation
    close(ours(ids).logits, theirs(ids).logits)
    back = to_transformers(ours)
    assert ours.generation_config.max_new_tokens == back.generation_config.max_new_tokens == 7
    assert back.state_dict().keys() == theirs.state_dict().keys()
    for name, weight in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], weight), name
    changed = {name: value for name, value in back.config.to_diff_dict().items() if theirs.config.to_diff_dict().get(name) != value}
    assert not changed.keys() - {"architectures", "dtype", "bos_token_id", "eos_token_id"}


@pytest.mark.parametrize("generation", SHARED)
def test_the_folder_is_that_of_transformers(generation: str, tmp_path: Path) -> None:
    ours, (ids, mask) = gpts.language_model(generation), gpts.rows([9, 5])
    state = torch.get_rng_state()
    ours.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state), "saving draws no random number"
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(theirs).__name__ == CLASSES[generation][1] and theirs.config.architectures == [CLASSES[generation][1]]
    close(theirs(ids, attention_mask=mask).logits[mask.bool()], ours(ids, mask).logits[mask.bool()])
    again = GPTForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, GPTForCausalLM) and torch.equal(again(ids, mask).logits, ours(ids, mask).logits)
    assert again.generation_config.eos_token_id == 1

    ours.model.save_pretrained(tmp_path / "base")
    assert type(AutoModel.from_pretrained(tmp_path / "base")).__name__ == CLASSES[generation][0]
    assert torch.equal(GPT.from_pretrained(tmp_path / "base")(ids).last_hidden_state, ours.model(ids).last_hidden_state)
    ours.config.save_pretrained(tmp_path / "config")
    assert type(AutoConfig.from_pretrained(tmp_path / "config")) is type(theirs.config)


def test_gpt3_is_read_again_by_transformers(tmp_path: Path) -> None:
    ours, (ids, mask) = gpts.language_model("gpt3", dropout=0.1), gpts.rows([19, 12])
    ours.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert isinstance(again, GPTForCausalLM) and again.config.model_type == "gpt3"
    assert again.config.sliding_window == gpts.WINDOW and again.config.dropout == 0.1
    assert torch.equal(again(ids, mask).logits, ours(ids, mask).logits)
    base = AutoModel.from_pretrained(tmp_path)
    assert type(base) is GPT and torch.equal(base(ids, mask).last_hidden_state, ours.model(ids, mask).last_hidden_state)


def twins(window: int) -> tuple[GPT, GPT]:
    """GPT-2 and GPT-3 with the same weights."""
    second, third = gpts.base("gpt2"), gpts.base("gpt3", window=window)
    third.load_state_dict(second.state_dict())
    return second, third


def test_gpt3_is_gpt2_where_the_band_covers_the_row() -> None:
    (second, third), (ids, mask) = twins(window=20), gpts.rows([20, 20])
    assert torch.equal(third(ids, mask).last_hidden_state, second(ids, mask).last_hidden_state)
    longer, _ = gpts.rows([21, 21])
    difference = (third(longer).last_hidden_state - second(longer).last_hidden_state).abs()
    close(difference[:, :20], torch.zeros_like(difference[:, :20]))
    assert difference[:, 20].amax(-1).min() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("left", [False, True])
def test_gpt3_is_gpt2_under_a_mask_of_bands(left: bool) -> None:
    (second, third), (ids, mask) = twins(window=3), gpts.rows([20, 14], left=left)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    theirs, L = to_transformers(second), ids.shape[1]
    i, j = torch.arange(L)[:, None], torch.arange(L)
    x = theirs.wte(ids) + theirs.wpe(places)
    for number, block in enumerate(theirs.h):
        seen = (j <= i) & (i - j < 3) if number % 2 else j <= i
        seen = seen & mask[:, None, None].bool() | torch.eye(L, dtype=torch.bool)
        x = block(x, attention_mask=torch.zeros(seen.shape).masked_fill(~seen, -torch.inf))
    close(third(ids, mask, places).last_hidden_state[mask.bool()], theirs.ln_f(x)[mask.bool()])


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (GPT2Config(activation_function="relu"), "activation_function is 'relu'"),
        (GPT2Config(scale_attn_by_inverse_layer_idx=True), "scale_attn_by_inverse"),
        (LlamaConfig(attention_bias=True), "attention_bias is True"),
        (LlamaConfig(head_dim=64), "head_dim is 64"),
        (LlamaConfig(rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}), "rope_type is 'linear'"),
    ],
)
def test_what_gpt_lacks_is_refused(theirs: Any, words: str) -> None:
    with torch.device("meta"):
        twin = (GPT2Model if isinstance(theirs, GPT2Config) else LlamaModel)(theirs)
    with pytest.raises(Mistake, match=words):
        from_transformers(twin)


def test_other_models_are_refused() -> None:
    with torch.device("meta"):
        t5 = T5Model(T5Config(d_model=8, d_ff=8, num_layers=1, num_heads=1))
    with pytest.raises(Mistake, match="T5Model is no GPT of this library"):
        from_transformers(t5)
    with pytest.raises(Mistake, match="transformers has no such model"):
        to_config(gpts.config("gpt3"))
    with pytest.raises(Mistake, match="which OpenAIGPT always has"):
        to_config(GPTConfig.of("gpt1", 2, inner=100))
