"""Faster twins of layers: in place, and the same but for rounding."""

import torch
from torch import nn
from transformers.activations import FastGELUActivation, NewGELUActivation

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.dropout import Dropout
from omnitune.nn.kernels import quicken


def test_dropout_has_cheap_draws() -> None:
    made = Pretrained(str(checkpoints.ALL["bert"]())).encoder()
    assert {type(m) for m in made.modules() if isinstance(m, nn.Dropout)} == {Dropout}


def test_gelu_is_one_operation() -> None:
    made = Pretrained(str(checkpoints.ALL["gpt2"]())).encoder()
    names = {type(m).__name__ for m in made.modules()}
    assert "GELU" in names and "NewGELUActivation" not in names


def test_gelu_is_the_same_with_its_gradient() -> None:
    x = torch.linspace(-6, 6, 4001)
    for composed in (NewGELUActivation(), FastGELUActivation()):
        holder = nn.Sequential(composed)
        quicken(holder)
        results = []
        for gelu in (composed, holder):
            values = x.clone().requires_grad_()
            gelu(values).sum().backward()
            results.append((gelu(x), values.grad))
        torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
