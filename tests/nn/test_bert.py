import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from torch import nn

import berts
from omnitune.errors import Mistake
from omnitune.nn import attention, checkpoints, flat
from omnitune.nn.bert import BERT, BERTForMaskedLM, BERTForPreTraining
from omnitune.nn.bert_config import PRESETS, BERTConfig
from omnitune.nn.encoder import Encoder
from omnitune.tuning.full import Full

KINDS = [berts.masked, berts.pretraining]
both = pytest.mark.parametrize("made", KINDS, ids=["masked", "pretraining"])


def close(found: torch.Tensor, wanted: torch.Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


# sizes


def test_the_dial() -> None:
    config = BERTConfig.of(6)
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (384, 6, 1536)
    assert (config.max_position_embeddings, config.vocab_size, config.type_vocab_size, config.model_type) == (512, 30_522, 2, "bert")
    small = BERTConfig.of(1, width=48, inner=100, context=16, vocab=99, types=1, dropout=0.1, eps=1e-5, pad=3)
    assert (small.num_attention_heads, small.intermediate_size, small.hidden_dropout_prob, small.pad_token_id) == (1, 100, 0.1, 3)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("bert-tiny", 4.4), ("bert-mini", 11.2), ("bert-small", 28.8), ("bert-medium", 41.4), ("bert-base", 109.5), ("bert-large", 335.1)],
)
def test_published_sizes(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = BERT(BERTConfig.preset(name), pooled=True)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_every_published_size_is_tested() -> None:
    (mark,) = (mark for mark in test_published_sizes.pytestmark if mark.name == "parametrize")  # type: ignore[attr-defined]
    assert [name for name, _ in mark.args[1]] == list(PRESETS)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: BERTConfig.of(2, heads=3), "3 heads do not divide width 128"),
        (lambda: BERTConfig.of(0), "are no model"),
        (lambda: BERTConfig.preset("bert-huge"), "no published size called 'bert-huge'"),
        (lambda: BERTConfig(hidden_act="relu"), "its hidden_act is 'relu'"),
    ],
)
def test_wrong_sizes_are_refused(make: Any, words: str) -> None:
    with pytest.raises(Mistake, match=words):
        make()


# initialisation and training


def test_initialisation() -> None:
    torch.manual_seed(0)
    model = BERTForPreTraining(berts.config(width=128, inner=512))
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            rows = weight[1:] if name.endswith("tokens.weight") else weight  # the padding token's is 0
            assert float(rows.detach().std()) == pytest.approx(0.02, rel=0.1), name
        else:
            assert torch.equal(weight, torch.full_like(weight, 0.0 if name.endswith("bias") else 1.0)), name
    rows = berts.rows([40] * 4)
    loss = model(**rows, labels=berts.labels(rows["input_ids"], rows["attention_mask"]), next_sentence_label=torch.tensor([0, 1, 0, 1])).loss
    assert float(loss.detach()) == pytest.approx(math.log(berts.VOCAB) + math.log(2), abs=0.15)


def test_nothing_is_dropped_unless_asked_for() -> None:
    rows = berts.rows([9, 9])
    plain, dropping = berts.base().train(), berts.base(dropout=0.5).train()
    assert torch.equal(plain(**rows).last_hidden_state, plain(**rows).last_hidden_state)
    assert not torch.equal(dropping(**rows).last_hidden_state, dropping(**rows).last_hidden_state)
    assert torch.equal(dropping.eval()(**rows).last_hidden_state, plain(**rows).last_hidden_state)


def test_blocks_computed_again_give_the_same_gradients() -> None:
    model, rows, runs = berts.masked().train(), berts.rows([9, 5]), []
    model.model.blocks[1].attention.register_forward_hook(lambda *_: runs.append(1))

    def gradients() -> list[Any]:
        model.zero_grad()
        model(**rows, labels=berts.labels(rows["input_ids"], rows["attention_mask"])).loss.backward()
        return [p.grad for p in model.parameters()]

    wanted = gradients()
    assert len(runs) == 1
    Encoder(model.model, "mean").recompute()
    model.train()
    runs.clear()
    for found, want in zip(gradients(), wanted, strict=True):
        assert torch.equal(found, want)
    assert len(runs) == 2


def test_every_token_sees_every_other_and_no_padding() -> None:
    model, rows = berts.base(), berts.rows([9, 5])
    whole = model(**rows).last_hidden_state
    changed = {name: tensor.clone() for name, tensor in rows.items()}
    changed["input_ids"][0, 8] = 1 + changed["input_ids"][0, 8] % 50
    changed["input_ids"][1, 5:] = 7
    again = model(**changed).last_hidden_state
    assert (again[0] - whole[0]).abs().amax(-1).min() > 1e-3
    assert torch.equal(again[1, :5], whole[1, :5])
    alone = model(**{name: tensor[1:, :5] for name, tensor in rows.items()}).last_hidden_state
    close(alone, whole[1:, :5])


def test_attention_without_padding_has_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, bool]] = []
    real = attention.scaled_dot_product_attention

    def watched(q: Any, k: Any, v: Any, mask: Any, dropout: float, causal: bool, enable_gqa: bool) -> Any:
        seen.append((mask, causal))
        return real(q, k, v, mask, dropout, causal, enable_gqa=enable_gqa)

    monkeypatch.setattr(attention, "scaled_dot_product_attention", watched)
    berts.base()(**berts.rows([7, 7]))
    assert seen == [(None, False)] * 4


# flat rows


@both
def test_flat_rows_are_padded_rows(made: Any) -> None:
    model, rows = made(), berts.rows([5, 20, 9, 1, 20, 13])
    real = rows["attention_mask"].bool()
    layout, labels = flat.Layout.of(real), berts.labels(rows["input_ids"], real)
    flat_rows = {name: layout.flatten(rows[name]) for name in ("input_ids", "token_type_ids")}
    flat_rows |= {"attention_mask": layout.mask, "position_ids": layout.positions[None]}

    def gradients(inputs: dict[str, torch.Tensor], labels: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        model.zero_grad()
        out = model(**inputs)
        logits = out["logits" if "logits" in out else "prediction_logits"]
        nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).backward()
        return logits, {name: p.grad for name, p in model.named_parameters()}

    padded, wanted = gradients(rows, labels)
    found_logits, found = gradients(flat_rows, layout.flatten(labels))
    close(layout.pad(found_logits)[real], padded[real])
    for name, gradient in found.items():
        assert (gradient is None) == (wanted[name] is None), name
        if gradient is not None:
            close(gradient, wanted[name])


def test_flat_rows_are_proved_without_touching_the_model() -> None:
    model = berts.base()
    before = model.config._attn_implementation
    assert flat.prepare(model) == 0
    assert model.config._attn_implementation == before


# the tools around it


def encoder(**more: Any) -> Encoder:
    return Encoder(berts.base(**more), "first")


def test_an_encoder_finds_the_blocks_and_reads_flat_rows_of_two_types() -> None:
    made = encoder()
    assert made.names == [f"blocks.{i}" for i in range(4)] and made.width == 32
    assert made.depth("model.embeddings.types.weight") == 0 and made.depth("model.blocks.2.mlp.up.weight") == 3
    assert made.path()["texts"] == "flat rows, no padding"
    rows, seen = berts.rows([9, 3, 14]), []
    made.blocks[0].register_forward_hook(lambda block, args, output: seen.append(args[0].shape[:2]))
    found = made(**rows)
    assert seen == [(1, 26)]
    wanted = made.model(**rows).last_hidden_state
    close(found.x_BLD[found.mask_BL], wanted[found.mask_BL])
    made.padding.flat = False
    padded = made(**rows)
    assert torch.equal(padded.x_BLD, wanted)
    del rows["token_type_ids"]
    assert not torch.allclose(made(**rows).x_BLD, wanted, atol=1e-2)


@pytest.mark.parametrize("flat_rows", [True, False])
@torch.no_grad()
def test_replay_from_every_cut(flat_rows: bool) -> None:
    rows = berts.rows([9, 3, 14])
    del rows["token_type_ids"]
    for k in range(1, 5):
        made = encoder()
        made.padding.flat = flat_rows
        made.cut_after(k)
        wanted = made(**rows)
        assert made.cut is not None
        found = made.replay(made.cut.seen, rows["attention_mask"].bool())
        assert torch.equal(found.x_BLD[found.mask_BL], wanted.x_BLD[wanted.mask_BL])


def test_the_last_block_makes_only_the_token_that_is_read() -> None:
    made, rows, seen = encoder(), berts.rows([9, 3, 14]), []
    wanted = made(**rows).pooled()
    made.narrow = True
    made.blocks[-1].mlp.register_forward_hook(lambda block, args, output: seen.append(output.shape[1]))
    close(made(**rows).pooled(), wanted)
    assert seen[-1] == 3 and made.path()["last block"] == "the first token alone"


def test_a_frozen_prefix_learns_nothing_and_drops_nothing() -> None:
    made, rows = encoder(dropout=0.5), berts.rows([9, 5])
    Full().apply(made)
    for name, weight in made.named_parameters():
        weight.requires_grad_(made.depth(name) > 2)
    made.cut_after(2)
    made.train()
    kept = []
    for _ in range(2):
        out = made(**rows)
        assert made.cut is not None
        kept.append((made.cut.seen, out.x_BLD))
    assert torch.equal(kept[0][0], kept[1][0]) and not torch.equal(kept[0][1], kept[1][1])
    kept[0][1].square().sum().backward()
    assert all((p.grad is not None) == (made.depth(name) > 2) for name, p in made.named_parameters())


def test_lora_goes_into_every_product_and_folds_back(tmp_path: Path) -> None:
    made, rows = encoder(), berts.rows([9, 5])
    made.adapt(LoraConfig(r=2, target_modules=["qkv", "out", "up", "down"]))
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(weight, std=0.1)
    assert sum("lora_A" in name for name, p in made.named_parameters() if p.requires_grad) == 16
    wanted, plain = made(**rows).x_BLD, encoder()(**rows).x_BLD
    made.save(tmp_path, weights=True)
    with torch.no_grad():
        made.merge()
    close(made(**rows).x_BLD, wanted)
    assert not torch.allclose(wanted, plain, atol=0.1)
    (tmp_path / "adapter_config.json").rename(tmp_path / "away")
    assert torch.equal(Encoder(BERT.from_pretrained(tmp_path), "first")(**rows).x_BLD, plain), "the adapter is in files of its own"


def test_an_encoder_is_saved_as_the_model_of_transformers(tmp_path: Path) -> None:
    made, rows = encoder(), berts.rows([9, 5])
    made.save(tmp_path, weights=True)
    again = Encoder(checkpoints.read(tmp_path, "there"), "first")
    assert type(again.model).__name__ == "BertModel"
    found, wanted = again(**rows), made(**rows)
    close(found.x_BLD[found.mask_BL], wanted.x_BLD[wanted.mask_BL])


def test_more_words_are_tied_to_what_says_them() -> None:
    model, rows = berts.masked(), berts.rows([9, 5])
    wanted = model(**rows).logits
    model.resize_token_embeddings(berts.VOCAB + 3, mean_resizing=False)
    close(model(**rows).logits[..., : berts.VOCAB], wanted)
    assert model.config.vocab_size == model.words.decoder.out_features == berts.VOCAB + 3
    assert model.words.decoder.weight is model.get_input_embeddings().weight
    assert isinstance(model, BERTForMaskedLM)
