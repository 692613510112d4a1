"""LoRA as one product against peft's two: the same tokens, the same gradients, the same files."""

import copy

import pytest
import torch

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn import lowrank
from omnitune.nn.encoder import Encoder
from omnitune.tuning.lora import LoRA


def encoder(one_product: bool, dropout: float = 0.0) -> Encoder:
    torch.manual_seed(0)
    made = Pretrained(str(checkpoints.ALL["bert"]())).encoder()
    made.set_dropout(0.0, 0.0)
    LoRA(rank=3, dropout=dropout, one_product=one_product).apply(made)
    random = torch.Generator().manual_seed(1)
    for name, p in made.named_parameters():
        if "lora_B" in name:
            p.data.normal_(0, 0.1, generator=random)
    return made.train()


def test_same_tokens_and_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    apply = lowrank.Product.apply
    monkeypatch.setattr(lowrank.Product, "apply", staticmethod(lambda *given: used.append(1) or apply(*given)))
    one, two, inputs = encoder(True), encoder(False), checkpoints.inputs("bert")
    for made in (one, two):
        made(**inputs).pooled().square().sum().backward()
    assert len(used) == 3 * 6, "every layer of every block"
    torch.testing.assert_close(one(**inputs).x_BLD, two(**inputs).x_BLD, rtol=1e-5, atol=1e-5)
    theirs = dict(two.named_parameters())
    assert [name for name, p in one.named_parameters() if p.grad is not None] == [name for name, p in theirs.items() if p.grad is not None]
    for name, p in one.named_parameters():
        if p.grad is not None:
            torch.testing.assert_close(p.grad, theirs[name].grad, rtol=1e-4, atol=1e-5 * float(1 + p.grad.abs().max()))


def test_gradients_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = [(5, 4), (3, 4), (3,), (2, 4), (3, 2)]
    x, weight, bias, a, b = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    for learns in (x, a, b):
        learns.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, a, b: lowrank.Product.apply(x, weight, bias, a, b, 0.7), (x, a, b))


def test_few_tokens_and_dropout_stay_two_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowrank.Product, "apply", None)  # would fail if it were called
    inputs = {key: value[:1, :5] for key, value in checkpoints.inputs("bert").items()}
    encoder(True)(**inputs)
    encoder(True, dropout=0.5)(**checkpoints.inputs("bert"))


@torch.no_grad()
def test_a_copy_has_weights_of_its_own_and_merges() -> None:
    made, inputs = encoder(True).eval(), checkpoints.inputs("bert")
    wanted = made(**inputs).x_BLD
    other = copy.deepcopy(made)
    for name, p in made.named_parameters():
        p.add_(1.0 if "lora_B" in name else 0.0)
    torch.testing.assert_close(other(**inputs).x_BLD, wanted)
    other.merge()
    torch.testing.assert_close(other(**inputs).x_BLD, wanted, rtol=1e-4, atol=1e-4)
