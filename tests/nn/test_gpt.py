import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import DynamicCache

import gpts
from omnitune.errors import Mistake
from omnitune.nn import attention, checkpoints, flat
from omnitune.nn.encoder import Encoder
from omnitune.nn.gpt import GPT, GPTConfig, GPTForCausalLM
from omnitune.nn.gpt_config import PRESETS
from omnitune.tuning.full import Full

every = pytest.mark.parametrize("generation", gpts.GENERATIONS)


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# sizes


def test_the_dial() -> None:
    config = GPTConfig.of("gpt2", 6)
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (384, 6, 1536)
    assert (config.max_position_embeddings, config.vocab_size, config.tie_word_embeddings) == (1024, 50_257, True)
    modern = GPTConfig.of("modern", 32, width=4096)
    assert (modern.num_attention_heads, modern.num_key_value_heads, modern.intermediate_size) == (64, 16, 11_008)
    third = GPTConfig.of("gpt3", 3, window=7)
    assert [third.window(i) for i in range(3)] == [None, 7, None]
    assert [config.window(i) for i in range(6)] == [None] * 6


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        *[("gpt1", 116.5), ("gpt2", 124.4), ("gpt2-medium", 354.8), ("gpt2-large", 774.0), ("gpt2-xl", 1557.6)],
        *[("gpt3-small", 125.2), ("gpt3-medium", 355.9), ("gpt3-large", 760.3), ("gpt3-xl", 1315.7), ("gpt3-2.7b", 2651.5)],
        *[("gpt3-6.7b", 6658.4), ("gpt3-13b", 12_853.4), ("gpt3-175b", 174_604.3), ("llama-7b", 6738.4), ("smollm2-135m", 134.5)],
    ],
)
def test_published_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = GPTForCausalLM(GPTConfig.preset(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_every_published_size_is_tested() -> None:
    (mark,) = (mark for mark in test_published_sizes.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [name for name, _ in mark.args[1]] == list(PRESETS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GPTConfig.of("gpt4", 2), "no GPT called 'gpt4'"),  # type: ignore[arg-type]
        (lambda: GPTConfig.of("gpt2", 2, heads=3), "3 heads with 3 of keys do not divide width 128"),
        (lambda: GPTConfig.of("modern", 2, heads=2, kv_heads=3), "do not divide"),
        (lambda: GPTConfig.of("modern", 2, width=6, heads=2), "a head of 3 is odd"),
        (lambda: GPTConfig.of("gpt2", 2, window=9), "no layer of gpt2 is banded"),
        (lambda: GPTConfig.of("gpt2", 0), "are no model"),
        (lambda: GPTConfig.preset("gpt2-huge"), "no published size called 'gpt2-huge'"),
    ],
)
def test_wrong_sizes_are_refused(make: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        make()


# initialisation and training


@every
def test_initialisation(generation: str) -> None:
    torch.manual_seed(0)
    model = GPTForCausalLM(gpts.config(generation, width=128, inner=512))
    small = 0.02 / math.sqrt(8) if generation in ("gpt2", "gpt3") else 0.02
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            wanted = small if name.endswith(("out.weight", "down.weight")) else 0.02
            assert float(weight.detach().std()) == pytest.approx(wanted, rel=0.05), name
        else:
            assert torch.equal(weight, torch.full_like(weight, 0.0 if name.endswith("bias") else 1.0)), name
    ids, _ = gpts.rows([40] * 4)
    assert float(model(ids, labels=ids).loss.detach()) == pytest.approx(math.log(gpts.VOCAB), abs=0.15)


@every
def test_nothing_is_dropped_unless_asked_for(generation: str) -> None:
    ids, _ = gpts.rows([9, 9])
    plain, dropping = gpts.base(generation).train(), gpts.base(generation, dropout=0.5).train()
    assert torch.equal(plain(ids).last_hidden_state, plain(ids).last_hidden_state)
    assert not torch.equal(dropping(ids).last_hidden_state, dropping(ids).last_hidden_state)
    dropping.eval()
    assert torch.equal(dropping(ids).last_hidden_state, plain(ids).last_hidden_state)


@every
def test_blocks_computed_again_give_the_same_gradients(generation: str) -> None:
    model, (ids, mask), runs = gpts.language_model(generation).train(), gpts.rows([9, 5]), []
    model.model.blocks[1].attention.register_forward_hook(lambda *_: runs.append(1))

    def gradients() -> list[Any]:
        model.zero_grad()
        model(ids, mask, labels=ids).loss.backward()
        return [p.grad for p in model.parameters()]

    wanted = gradients()
    assert len(runs) == 1
    Encoder(model.model, "last").recompute()
    model.train()
    runs.clear()
    for found, want in zip(gradients(), wanted, strict=True):
        assert torch.equal(found, want)
    assert len(runs) == 2


def test_labels_of_padding_count_for_nothing_and_logits_may_be_few() -> None:
    model, (ids, mask) = gpts.language_model("gpt2"), gpts.rows([9, 5])
    out = model(ids, mask, labels=ids.masked_fill(mask == 0, -100))
    losses = [model(ids[i : i + 1, :n], labels=ids[i : i + 1, :n]).loss * (n - 1) for i, n in enumerate([9, 5])]
    close(out.loss, sum(losses) / 12)
    close(model(ids, mask, logits_to_keep=2).logits, out.logits[:, -2:])


@every
def test_attention_without_padding_has_no_mask(generation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, bool]] = []
    real = attention.scaled_dot_product_attention

    def watched(q: Any, k: Any, v: Any, mask: Any, dropout: float, causal: bool, enable_gqa: bool) -> Any:
        seen.append((mask, causal))
        return real(q, k, v, mask, dropout, causal, enable_gqa=enable_gqa)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", watched)
    ids, mask = gpts.rows([gpts.WINDOW, gpts.WINDOW])
    gpts.base(generation)(ids, mask)
    assert seen == [(None, True)] * 4


# flat rows


@every
def test_flat_rows_are_padded_rows(generation: str) -> None:
    model, (ids, mask) = gpts.language_model(generation), gpts.rows([5, 20, 9, 1, 20, 13])
    layout, real = flat.Layout.of(mask.bool()), mask.bool()

    def gradients(**inputs: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        model.zero_grad()
        out = model(**inputs)
        out.loss.backward()
        return out, {name: p.grad for name, p in model.named_parameters()}

    padded, wanted = gradients(input_ids=ids, attention_mask=mask, labels=ids.masked_fill(~real, -100))
    places, row = layout.positions[None], layout.flatten(ids)
    flat_out, found = gradients(input_ids=row, attention_mask=layout.mask, position_ids=places, labels=row)
    close(flat_out.loss, padded.loss)
    close(layout.pad(flat_out.logits)[real], padded.logits[real])
    for name, gradient in found.items():
        close(gradient, wanted[name])


@every
def test_flat_rows_are_proved_without_touching_the_model(generation: str) -> None:
    model = gpts.base(generation)
    before = model.config._attn_implementation
    assert flat.prepare(model) == 0
    assert model.config._attn_implementation == before


def test_a_model_that_only_says_it_reads_flat_rows_is_found_out() -> None:
    class Deaf(GPT):
        def forward(self, input_ids: Any = None, attention_mask: Any = None, position_ids: Any = None) -> Any:
            return super().forward(input_ids, None if attention_mask.ndim == 4 else attention_mask, position_ids)

    assert flat.prepare(gpts.randomised(Deaf(gpts.config("gpt2")))) is None


# cache and generation


@every
@torch.no_grad()
@pytest.mark.parametrize("sized", [True, False])
def test_pieces_with_a_cache_are_the_whole(generation: str, sized: bool) -> None:
    model, (ids, _) = gpts.base(generation), gpts.rows([19, 19])
    cache = DynamicCache(config=model.config) if sized else DynamicCache()
    parts = []
    for piece in ids.split([7, 1, 4, 1, 1, 5], dim=1):
        parts.append(model(piece, past_key_values=cache, use_cache=True).last_hidden_state)
    close(torch.cat(parts, 1), model(ids).last_hidden_state)
    kept = cache.layers[1].keys.shape[2]
    assert kept == (gpts.WINDOW - 1 if sized and generation == "gpt3" else 19)


def talker(generation: str) -> GPTForCausalLM:
    """A model whose answers vary: one that repeats itself proves little."""
    torch.manual_seed(0)
    config = gpts.config(generation, eos=None, tie=False)
    config.initializer_range = 0.2
    return GPTForCausalLM(config).eval()


@torch.no_grad()
def greedy(model: GPTForCausalLM, ids: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
    """The whole row anew for every token."""
    for _ in range(tokens):
        logits = model(ids, mask, (mask.cumsum(1) - 1).clamp(min=0)).logits
        ids, mask = torch.cat([ids, logits[:, -1:].argmax(-1)], 1), torch.cat([mask, torch.ones_like(mask[:, :1])], 1)
    return ids


@every
@pytest.mark.parametrize("lengths", [[8, 8, 8], [8, 3, 6]])
def test_generate_is_greedy_decoding_without_a_cache(generation: str, lengths: list[int]) -> None:
    model, (ids, mask) = talker(generation), gpts.rows(lengths, left=True)
    found = model.generate(ids, attention_mask=mask, max_new_tokens=16, do_sample=False)
    assert found.tolist() == greedy(model, ids, mask, 16).tolist()
    assert len(set(found[:, 8:].flatten().tolist())) > 3
    for i, length in enumerate(lengths):
        alone = model.generate(ids[i : i + 1, 8 - length :], max_new_tokens=16, do_sample=False)
        assert alone[0, length:].tolist() == found[i, 8:].tolist()


@every
def test_generate_with_beams_and_from_ready_vectors(generation: str) -> None:
    model, (ids, mask) = talker(generation), gpts.rows([8, 3], left=True)
    asked: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": 12, "do_sample": False}
    cached, anew = (model.generate(ids, num_beams=3, use_cache=cache, **asked) for cache in (True, False))
    assert cached.tolist() == anew.tolist()
    vectors = model.get_input_embeddings()(ids)
    assert model.generate(inputs_embeds=vectors, **asked).tolist() == model.generate(ids, **asked)[:, 8:].tolist()


def test_generation_stops_at_the_end_token() -> None:
    model, (ids, _) = gpts.language_model("gpt2", eos=None), gpts.rows([5])
    free = model.generate(ids, max_new_tokens=9, do_sample=False)[0, 5:].tolist()
    again = gpts.language_model("gpt2", eos=free[3])
    assert again.generate(ids, max_new_tokens=9, do_sample=False)[0, 5:].tolist() == free[: free.index(free[3]) + 1]


# the tools around it


@every
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks by the older name
def test_more_tokens_and_adapters_of_peft(generation: str) -> None:
    model, (ids, mask) = gpts.language_model(generation), gpts.rows([9, 5])
    wanted = model(ids, mask).logits
    model.resize_token_embeddings(gpts.VOCAB + 3, mean_resizing=False)
    close(model(ids, mask).logits[..., : gpts.VOCAB], wanted)
    assert model.config.vocab_size == model.lm_head.out_features == gpts.VOCAB + 3
    adapted = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["qkv", "out", "up", "down"]))
    adapted(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
    learning = {name.split(".")[-4] for name, p in adapted.named_parameters() if p.grad is not None}
    assert learning == {"qkv", "out", "up", "down"}
    with pytest.raises(Mistake, match="keeps no weights"):
        model(ids, output_attentions=True)


def encoder(generation: str, **more: Any) -> Encoder:
    return Encoder(gpts.base(generation, **more), "last")


def inputs(lengths: list[int]) -> dict[str, torch.Tensor]:
    ids, mask = gpts.rows(lengths)
    return {"input_ids": ids, "attention_mask": mask}


@every
def test_an_encoder_finds_the_blocks_and_reads_flat_rows(generation: str) -> None:
    made = encoder(generation)
    assert made.names == [f"blocks.{i}" for i in range(4)] and made.width == 32
    assert made.depth("model.embeddings.tokens.weight") == 0 and made.depth("model.blocks.2.mlp.up.weight") == 3
    assert generation == "gpt1" or made.depth("model.norm.weight") == 5
    assert made.path()["texts"] == "flat rows, no padding"
    rows = inputs([9, 3, 14])
    seen: list[Any] = []
    made.blocks[0].register_forward_hook(lambda block, args, output: seen.append(args[0].shape[:2]))
    found = made(**rows)
    assert seen == [(1, 26)]
    close(found.x_BLD[found.mask_BL], made.model(**rows).last_hidden_state[found.mask_BL])


@every
@pytest.mark.parametrize("flat_rows", [True, False])
@torch.no_grad()
def test_replay_from_every_cut(generation: str, flat_rows: bool) -> None:
    rows = inputs([9, 3, 14])
    for k in range(1, 5):
        made = encoder(generation)
        made.padding.flat = flat_rows
        made.cut_after(k)
        wanted = made(**rows)
        assert made.cut is not None
        found = made.replay(made.cut.seen, rows["attention_mask"].bool())
        assert torch.equal(found.x_BLD[found.mask_BL], wanted.x_BLD[wanted.mask_BL])


@every
def test_the_last_block_makes_only_the_token_that_is_read(generation: str) -> None:
    made, rows, seen = encoder(generation), inputs([9, 3, 14]), []
    wanted = made(**rows).pooled()
    made.narrow = True
    made.blocks[-1].mlp.register_forward_hook(lambda block, args, output: seen.append(output.shape[1]))
    close(made(**rows).pooled(), wanted)
    assert seen[-1] == 3 and made.path()["last block"] == "the last token alone"


@every
def test_a_frozen_prefix_learns_nothing_and_drops_nothing(generation: str) -> None:
    made = encoder(generation, dropout=0.5)
    Full().apply(made)
    for name, weight in made.named_parameters():
        weight.requires_grad_(made.depth(name) > 2)
    made.cut_after(2)
    made.train()
    kept = []
    for _ in range(2):
        out = made(**inputs([9, 5]))
        assert made.cut is not None
        kept.append((made.cut.seen, out.x_BLD))
    assert torch.equal(kept[0][0], kept[1][0]) and not torch.equal(kept[0][1], kept[1][1])
    kept[0][1].square().sum().backward()
    assert all((p.grad is not None) == (made.depth(name) > 2) for name, p in made.named_parameters())


@every
def test_lora_goes_into_every_product_and_folds_back(generation: str, tmp_path: Path) -> None:
    made, rows = encoder(generation), inputs([9, 5])
    made.adapt(LoraConfig(r=2, target_modules=["qkv", "out", "up", "down"]))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    assert sum("lora_A" in name for name, p in made.named_parameters() if p.requires_grad) == 16
    wanted = made(**rows).x_BLD
    plain = encoder(generation)(**rows).x_BLD
    made.save(tmp_path, weights=True)
    with torch.no_grad():
        made.merge()
    close(made(**rows).x_BLD, wanted)
    assert not torch.allclose(wanted, plain, atol=0.1)
    (tmp_path / "adapter_config.json").rename(tmp_path / "away")
    assert torch.equal(Encoder(GPT.from_pretrained(tmp_path), "last")(**rows).x_BLD, plain), "the adapter is in files of its own"


def test_an_encoder_of_gpt3_is_saved_and_loaded(tmp_path: Path) -> None:
    made, rows = encoder("gpt3"), inputs([9, 5])
    made.save(tmp_path, weights=True)
    again = Encoder(checkpoints.skeleton(tmp_path, "there"), "last", filled=False)
    again.load(tmp_path)
    assert type(again.model) is GPT
    assert torch.equal(again(**rows).x_BLD, made(**rows).x_BLD)


@pytest.mark.parametrize(("generation", "theirs"), [("gpt1", "OpenAIGPTModel"), ("gpt2", "GPT2Model"), ("modern", "LlamaModel")])
def test_an_encoder_of_another_generation_is_saved_as_the_model_of_transformers(generation: str, theirs: str, tmp_path: Path) -> None:
    made, rows = encoder(generation), inputs([9, 5])
    made.save(tmp_path, weights=True)
    again = Encoder(checkpoints.read(tmp_path, "there"), "last")
    assert type(again.model).__name__ == theirs
    found, wanted = again(**rows), made(**rows)
    close(found.x_BLD[found.mask_BL], wanted.x_BLD[found.mask_BL])
