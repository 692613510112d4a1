"""denoise against the encoder-decoders of transformers: loss and gradients of the same texts with the same holes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForSeq2SeqLM

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.modalities.text import Text
from omnitune.nn.encoder import Encoder
from omnitune.nn.tokens import Batch, Tokens, View
from omnitune.tasks.denoise import Denoise
from omnitune.tuning.full import Full

TEXTS = [*checkpoints.SENTENCES, f"{checkpoints.SENTENCES[0]}, {checkpoints.SENTENCES[1]}", "soft"]
TASK = Denoise("text", rate=0.3)
KINDS = ["t5", "t5-1.1", "bart"]


@pytest.fixture(scope="module")
def own_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 of version 1.1 whose table of words that it says is another one than that of words that it reads."""
    folder = tmp_path_factory.mktemp("t5") / "own"
    shutil.copytree(checkpoints.tiny_sentinel_t5("1.1"), folder)
    state = load_file(folder / "model.safetensors")
    table = torch.randn(state["shared.weight"].shape, generator=torch.Generator().manual_seed(1)) * 0.2
    (folder / "model.safetensors").unlink()
    save_file(state | {"lm_head.weight": table}, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, own_table: Path) -> Path:
    known = {"t5": checkpoints.tiny_sentinel_t5, "bart": checkpoints.tiny_bart}
    return known[request.param]() if request.param in known else own_table


def asked(folder: Path, size: int = len(TEXTS)) -> list[tuple[Batch, dict[str, Tensor]]]:
    """Questions about the texts, `size` at a time."""
    text, facts = Text(str(folder)), {"max_tokens": 96}
    learned = TASK.learn_from(text.language(facts))
    import numpy as np

    parts = [range(start, min(start + size, len(TEXTS))) for start in range(0, len(TEXTS), size)]
    batches = [Batch({"text": text.encode([TEXTS[i] for i in part], facts)}, np.array(part)) for part in parts]
    return [TASK.prepare(batch, {}, learned, None) for batch in batches]


def ours(folder: Path, size: int = len(TEXTS)) -> tuple[Encoder, Tensor, Tensor]:
    """The backbone with its gradients, the sum of losses and their number."""
    encoder = Pretrained(str(folder)).encoder()
    text = Text(str(folder))
    head: Any = TASK.head(encoder.width, TASK.learn_from(text.language({"max_tokens": 96})), {"text": encoder})
    Full().apply(encoder)
    assert not list(head.parameters())
    losses = [head.loss(view(encoder, batch), target) for batch, target in asked(folder, size)]
    total, count = torch.stack([loss.sum for loss in losses]).sum(), torch.stack([loss.count for loss in losses]).sum()
    (total / count).backward()
    return encoder, total.detach(), count


def view(encoder: Encoder, batch: Batch) -> View:
    inputs = batch.inputs["text"]
    tokens: Tokens = encoder(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    return View({"text": tokens}, tokens, batch.inputs)


def theirs(folder: Path) -> tuple[Any, Tensor]:
    """Their model with its gradients, and the loss it tells."""
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    ((batch, target),) = asked(folder)
    inputs = batch.inputs["text"]
    labels = torch.where(target["labels"] < 0, -100, target["labels"])
    loss = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], labels=labels).loss
    loss.backward()
    return model, loss.detach()


def gradients(encoder: Encoder) -> dict[str, Tensor]:
    """By the names of the whole model."""
    decoder = encoder.decode()
    found = {f"{decoder.encoder}.{name}": p.grad for name, p in encoder.model.named_parameters()}
    found |= {name: p.grad for name, p in decoder.whole.named_parameters()}
    return {name: grad for name, grad in found.items() if grad is not None}


def test_loss_and_gradients_are_those_of_transformers(folder: Path) -> None:
    encoder, total, count = ours(folder)
    model, wanted = theirs(folder)
    torch.testing.assert_close(total / count, wanted, rtol=1e-5, atol=1e-5)
    expected = {name: p.grad for name, p in model.named_parameters(remove_duplicate=False) if p.grad is not None}
    found = gradients(encoder)
    different = {id(grad) for grad in expected.values()}
    assert len(found) == len(different) and found.keys() <= expected.keys(), "every weight of theirs is one of ours"
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-5, atol=1e-5, msg=name)


@pytest.mark.parametrize("size", [1, 3])
def test_the_loss_is_exact_however_texts_are_grouped(folder: Path, size: int) -> None:
    (encoder, total, count), (grouped, sums, counts) = ours(folder), ours(folder, size)
    assert count == counts
    torch.testing.assert_close(sums, total, rtol=1e-5, atol=1e-5)
    for name, grad in gradients(encoder).items():
        torch.testing.assert_close(gradients(grouped)[name], grad, rtol=1e-4, atol=1e-5)


def test_a_bias_of_words_counts(tmp_path: Path) -> None:
    shutil.copytree(checkpoints.tiny_bart(), tmp_path / "bart")
    path = tmp_path / "bart" / "model.safetensors"
    state = load_file(path)
    path.unlink()
    save_file(state | {"final_logits_bias": torch.linspace(-3, 3, 300)[None]}, path, {"format": "pt"})
    _, total, count = ours(tmp_path / "bart")
    torch.testing.assert_close(total / count, theirs(tmp_path / "bart")[1], rtol=1e-5, atol=1e-5)
    assert abs(float(total / count) - float(theirs(checkpoints.tiny_bart())[1])) > 0.1
