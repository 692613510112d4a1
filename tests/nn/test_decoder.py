"""The decoder of a checkpoint: transformers' logits, whatever stands between decoder and words; saved, loaded, frozen, and refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import linear
from transformers import AutoModelForSeq2SeqLM

import checkpoints
from gpts import randomised
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.nn.encoder import Encoder
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA
from omnitune.tuning.probe import Probe

T5 = {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4, "decoder_start_token_id": 0}
HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
BART = HEADS | {"encoder_layers": 2, "decoder_layers": 3, "d_model": 32, "max_position_embeddings": 64}
FAMILIES: dict[str, dict[str, Any]] = {
    "T5": T5, "MT5": T5, "UMT5": T5, "LongT5": T5 | {"local_radius": 4}, "Bart": BART,
    "MBart": BART | {"scale_embedding": True}, "Pegasus": BART, "Blenderbot": BART, "PLBart": BART,
}  # fmt: skip
OTHERS = {"SwitchTransformers": T5 | {"num_experts": 2}}
WORDS = 61


def folder(name: str, out: Path, **changes: Any) -> Path:
    """A checkpoint of this family with random weights."""
    config = getattr(transformers, f"{name}Config")(**((FAMILIES | OTHERS)[name] | {"vocab_size": WORDS, "pad_token_id": 0} | changes))
    model = randomised(AutoModelForSeq2SeqLM.from_config(config))
    if hasattr(model, "final_logits_bias"):
        model.final_logits_bias.copy_(torch.linspace(-1, 1, WORDS))
    model.save_pretrained(out)
    return out


def rows() -> tuple[dict[str, Tensor], Tensor]:
    """Two texts, one shorter than the other, and what stands before what is written of them."""
    ids = torch.randint(3, WORDS, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 6:] = 0
    return {"input_ids": ids, "attention_mask": mask}, torch.randint(3, WORDS, (2, 5), generator=torch.Generator().manual_seed(1))


def ours(encoder: Encoder) -> Tensor:
    (inputs, written), decoder, read = rows(), encoder.decode(), encoder.model.get_input_embeddings()
    tokens = encoder(**inputs)
    return linear(decoder(tokens.x_BLD, tokens.mask_BL, read(written)), decoder.table(read.weight), decoder.bias)


def theirs(folder: Path) -> Tensor:
    inputs, written = rows()
    found: Tensor = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()(**inputs, decoder_input_ids=written).logits
    return found


def backbone(folder: Path) -> Encoder:
    return Pretrained(str(folder)).encoder()


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(FAMILIES))
@torch.no_grad()
def test_logits_are_those_of_transformers_and_it_is_saved_whole(name: str, tmp_path: Path) -> None:
    encoder = backbone(folder(name, tmp_path / "theirs"))
    close(ours(encoder), theirs(tmp_path / "theirs"))
    randomised(encoder, seed=1)
    state = torch.get_rng_state()
    encoder.save(tmp_path / "ours", weights=True)
    assert torch.equal(torch.get_rng_state(), state), "saving draws no random number"
    close(theirs(tmp_path / "ours"), ours(encoder))
    classes = [type(AutoModelForSeq2SeqLM.from_pretrained(tmp_path / which)) for which in ("theirs", "ours")]
    assert classes[0] is classes[1]
    files = [load_file(tmp_path / which / "model.safetensors").keys() for which in ("theirs", "ours")]
    assert files[0] == files[1]
    assert torch.equal(ours(backbone(tmp_path / "ours")), ours(encoder))


@torch.no_grad()
def test_a_table_of_its_own_is_read_and_saved(tmp_path: Path) -> None:
    folder("T5", tmp_path / "own", feed_forward_proj="gated-gelu", tie_word_embeddings=False)
    path = tmp_path / "own" / "model.safetensors"
    state = load_file(path)
    path.unlink()
    save_file(state | {"lm_head.weight": state["shared.weight"].flip(0)}, path, {"format": "pt"})
    encoder = backbone(tmp_path / "own")
    assert not encoder.decode().tied
    close(ours(encoder), theirs(tmp_path / "own"))
    encoder.save(tmp_path / "again", weights=True)
    close(theirs(tmp_path / "again"), ours(encoder))
    assert torch.equal(ours(backbone(tmp_path / "again")), ours(encoder))


@torch.no_grad()
def test_a_skeleton_is_filled_with_its_decoder(tmp_path: Path) -> None:
    made = folder("T5", tmp_path / "t5")
    empty = Pretrained(str(made)).skeleton()
    empty.decode()
    empty.load(made)
    close(ours(empty), theirs(made))


@pytest.mark.parametrize(("tuning", "learns"), [(Full(), True), (Freeze(1), True), (Probe(), False), (LoRA(2), False)])
def test_it_is_the_end_of_its_backbone(tuning: Any, learns: bool, tmp_path: Path) -> None:
    encoder = backbone(folder("T5", tmp_path / "t5"))
    decoder = encoder.decode()
    assert encoder.decode() is decoder
    assert {encoder.depth(name) for name, _ in encoder.named_parameters() if name.startswith("lm_head.")} == {len(encoder.blocks) + 1}
    tuning.apply(encoder)
    assert all(p.requires_grad == (learns or "lora_" in name) for name, p in decoder.named_parameters())
    encoder.train()
    assert {module.training for module in decoder.whole.get_decoder().modules()} == {any(p.requires_grad for p in decoder.parameters())}


@pytest.mark.parametrize("name", ["T5", "Bart"])
def test_dropout_and_recomputed_activations_reach_it(name: str, tmp_path: Path) -> None:
    encoder = backbone(folder(name, tmp_path / "made"))
    encoder.decode()
    Full().apply(encoder)
    encoder.train()
    torch.manual_seed(0)
    assert not torch.equal(ours(encoder), ours(encoder))
    encoder.set_dropout(0.0, 0.0)
    close(ours(encoder), theirs(tmp_path / "made"))
    gradients = []
    for _ in range(2):
        encoder.zero_grad()
        ours(encoder).square().sum().backward()
        gradients.append({key: p.grad.clone() for key, p in encoder.named_parameters() if p.grad is not None})
        encoder.recompute()
    assert gradients[0].keys() == gradients[1].keys()
    for key, grad in gradients[0].items():
        close(gradients[1][key], grad)


def test_an_encoder_alone_has_none(tmp_path: Path) -> None:
    made = folder("T5", tmp_path / "t5")
    backbone(made).save(tmp_path / "alone", weights=True)
    assert Pretrained(str(made)).says() and not Pretrained(str(tmp_path / "alone")).says()
    with pytest.raises(Mistake, match=r"the checkpoint holds no decoder\..*saved with its decoder"):
        backbone(tmp_path / "alone").decode()


def test_what_hands_more_than_tokens_to_its_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Mistake, match=r"SwitchTransformersForConditionalGeneration makes its logits in a way that is not known here.*Choose a T5"):
        backbone(folder("SwitchTransformers", tmp_path / "switch")).decode()


def test_what_reads_words_by_two_tables_is_refused(tmp_path: Path) -> None:
    made = shutil.copytree(folder("Bart", tmp_path / "bart"), tmp_path / "two")
    state = load_file(made / "model.safetensors")
    (made / "model.safetensors").unlink()
    shared = state.pop("model.shared.weight")
    apart = {"model.shared.weight": shared, "model.encoder.embed_tokens.weight": shared.clone(), "model.decoder.embed_tokens.weight": shared.flip(0)}
    save_file(state | apart, made / "model.safetensors", {"format": "pt"})
    with pytest.raises(Mistake, match="reads words by another table than its encoder"):
        backbone(made).decode()


@torch.no_grad()
def test_tables_grow_with_their_tokenizer(tmp_path: Path) -> None:
    made = shutil.copytree(checkpoints.tiny_sentinel_t5("1.1"), tmp_path / "more")
    state = load_file(made / "model.safetensors")
    (made / "model.safetensors").unlink()
    save_file(state | {"lm_head.weight": state["shared.weight"].flip(0)}, made / "model.safetensors", {"format": "pt"})
    tokenizer = transformers.AutoTokenizer.from_pretrained(made)
    tokenizer.add_tokens([f"new{i}" for i in range(304 - len(tokenizer))])
    tokenizer.save_pretrained(made)
    encoder = Pretrained(str(made), resize=True).encoder()
    decoder, read = encoder.decode(), encoder.model.get_input_embeddings().weight
    for table, old in ((read, state["shared.weight"]), (decoder.table(read), state["shared.weight"].flip(0))):
        assert len(table) == 304 and torch.equal(table[:300], old)
        close(table[300:], old.mean(0).expand(4, -1))
    encoder.save(tmp_path / "saved", weights=True)
    again = AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "saved")
    assert again.config.vocab_size == len(again.get_input_embeddings().weight) == len(again.get_output_embeddings().weight) == 304
