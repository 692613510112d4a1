"""The layers with which a checkpoint says words: transformers' logits, of every kind of head there is; read, saved and merged."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import cross_entropy, linear
from transformers import AutoModelForCausalLM

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.errors import Mistake
from omnitune.nn.encoder import Encoder
from omnitune.nn.language import LanguageHead
from omnitune.nn.linear_cross_entropy import capped
from omnitune.nn.tokens import View
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA

FOLDERS = {"gpt2": checkpoints.tiny_gpt2, "llama": checkpoints.tiny_llama, "qwen3": checkpoints.tiny_qwen3}
KINDS = [*FOLDERS, *(kind for kind, (made, _) in checkpoints.SPEAKING.items() if made.endswith("CausalLM"))]


def folder_of(kind: str) -> Path:
    return FOLDERS[kind]() if kind in FOLDERS else checkpoints.tiny_speaking(kind)


def theirs(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def rows(folder: Path) -> dict[str, Tensor]:
    made = Pretrained(str(folder)).tokenizer()(checkpoints.SENTENCES, padding=True, return_tensors="pt")
    return {key: made[key] for key in ("input_ids", "attention_mask")}


def logits(encoder: Encoder, inputs: dict[str, Tensor]) -> Tensor:
    """Of the real tokens, (N, V)."""
    head = encoder.speak()
    assert head is not None
    x_ND = encoder(**inputs).x_BLD[inputs["attention_mask"].bool()]
    return capped(linear(head(x_ND), head.table(encoder.model.get_input_embeddings().weight), head.out.bias), head.cap)


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_loss_are_those_of_transformers(kind: str) -> None:
    folder = folder_of(kind)
    inputs, encoder = rows(folder), Pretrained(str(folder)).encoder()
    with torch.no_grad():
        wanted = theirs(folder)(**inputs).logits
        torch.testing.assert_close(logits(encoder, inputs), wanted[inputs["attention_mask"].bool()], rtol=1e-4, atol=1e-4)
    ids, real = inputs["input_ids"], inputs["attention_mask"].bool()
    labels = torch.where(real, ids.roll(-1, 1), -1)
    head = LanguageHead("text", encoder)
    tokens = encoder(**inputs)
    loss = head.loss(View({"text": tokens}, tokens), {"labels": labels, "weight": (labels >= 0).sum(1).float()})
    torch.testing.assert_close(loss.mean, cross_entropy(wanted.flatten(0, 1), labels.flatten(), ignore_index=-1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "phi", "gemma2", "granite"])
def test_gradients_are_those_of_transformers(kind: str) -> None:
    folder = folder_of(kind)
    inputs, encoder, whole = rows(folder), Pretrained(str(folder)).encoder(), theirs(folder)
    head = LanguageHead("text", encoder)
    Full().apply(encoder)
    labels = torch.where(inputs["attention_mask"].bool(), inputs["input_ids"].roll(-1, 1), -1)
    tokens = encoder(**inputs)
    head.loss(View({"text": tokens}, tokens), {"labels": labels, "weight": (labels >= 0).sum(1).float()}).mean.backward()
    cross_entropy(whole(**inputs).logits.flatten(0, 1), labels.flatten(), ignore_index=-1).backward()
    assert encoder.lm_head is not None
    pairs = [(encoder.model.get_input_embeddings().weight, whole.get_input_embeddings().weight)]
    pairs += [(p, whole.get_parameter(name)) for name, p in encoder.lm_head.state().items()]
    for ours, other in pairs:
        torch.testing.assert_close(ours.grad, other.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_saved_gives_transformers_the_same_logits(kind: str, tmp_path: Path) -> None:
    folder = folder_of(kind)
    inputs, encoder = rows(folder), Pretrained(str(folder)).encoder()
    encoder.speak()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(0.01 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
        Pretrained(str(folder)).save_processor(tmp_path)
        encoder.save(tmp_path, weights=True)
        wanted = logits(encoder, inputs)
        saved, told = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
        assert not told["missing_keys"] and not told["unexpected_keys"]
        torch.testing.assert_close(saved.eval()(**inputs).logits[inputs["attention_mask"].bool()], wanted, rtol=1e-4, atol=1e-4)
        again = Pretrained(str(folder)).skeleton()
        again.speak()
        again.load(tmp_path)
        assert torch.equal(logits(again, inputs), wanted)
        assert torch.equal(logits(Pretrained(str(tmp_path)).encoder(), inputs), wanted)


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_adapters_leave_it_frozen_and_merge(kind: str, tmp_path: Path) -> None:
    folder = folder_of(kind)
    inputs, encoder = rows(folder), Pretrained(str(folder)).encoder()
    before = logits(encoder, inputs).detach()
    LoRA(rank=2).apply(encoder)
    learning = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    assert learning and all("lora_" in name for name in learning)
    with torch.no_grad():
        for weight in learning.values():
            weight.normal_(std=0.1)
        wanted = logits(encoder, inputs)
        assert not torch.allclose(wanted, before)
        encoder.save(tmp_path, weights=True)
        again = Pretrained(str(folder)).skeleton()
        again.speak()
        again.load(tmp_path)
        again.merge()
        torch.testing.assert_close(logits(again, inputs), wanted, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(theirs(tmp_path)(**inputs).logits[inputs["attention_mask"].bool()], wanted, rtol=1e-4, atol=1e-4)


def test_it_is_the_tail(tmp_path: Path) -> None:
    encoder = Pretrained(str(checkpoints.tiny_llama())).encoder()
    assert encoder.speak() is encoder.speak()
    names = [name for name, _ in encoder.weights() if name.startswith("lm_head.")]
    assert len(names) == 1 and encoder.depth(names[0]) == len(encoder.blocks) + 1
    assert all(not name.startswith("lm_head.") for name, _ in Pretrained(str(checkpoints.tiny_llama())).encoder().named_parameters())


def test_a_table_in_the_file_that_differs_is_not_tied(tmp_path: Path) -> None:
    folder = shutil.copytree(checkpoints.tiny_speaking("llama_tied"), tmp_path / "own")
    state = load_file(folder / "model.safetensors")
    save_file(state | {"lm_head.weight": state["model.embed_tokens.weight"] + 1}, folder / "model.safetensors", {"format": "pt"})
    encoder = Pretrained(str(folder)).encoder()
    head = encoder.speak()
    assert head is not None and not head.tied
    with torch.no_grad():
        inputs = rows(folder)
        torch.testing.assert_close(logits(encoder, inputs), theirs(folder)(**inputs).logits[inputs["attention_mask"].bool()], rtol=1e-4, atol=1e-4)


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    bare = shutil.copytree(checkpoints.tiny_llama(), tmp_path / "bare")
    state = load_file(bare / "model.safetensors")
    save_file({k: v for k, v in state.items() if k != "lm_head.weight"}, bare / "model.safetensors", {"format": "pt"})
    assert not Pretrained(str(bare)).says() and Pretrained(str(checkpoints.tiny_llama())).says()
    with pytest.raises(Mistake, match=r"holds no lm_head\.weight"):
        Pretrained(str(bare)).encoder().speak()
    cut = shutil.copytree(checkpoints.tiny_llama(), tmp_path / "cut")
    save_file(state | {"lm_head.weight": state["lm_head.weight"][:-1].clone()}, cut / "model.safetensors", {"format": "pt"})
    with pytest.raises(Mistake, match=r"lm_head\.weight is"):
        Pretrained(str(cut)).encoder().speak()
