"""Dropout: the share that it says, unbiased, from torch's generator; and every dropout of a model within reach."""

from typing import Any

import pytest
import torch
from torch import nn

import checkpoints
from omnitune.backbones.pretrained import Pretrained
from omnitune.nn.dropout import Dropout


def test_it_drops_its_share_and_keeps_the_mean_and_the_gradient() -> None:
    torch.manual_seed(0)
    x = torch.ones(401, 503, requires_grad=True)
    y = Dropout(0.1).train()(x)
    y.sum().backward()
    assert float((y == 0).float().mean()) == pytest.approx(0.1, abs=0.005)
    assert float(y.detach().mean()) == pytest.approx(1, abs=0.005)
    assert torch.equal(x.grad, y.detach())
    assert (y == 0).float().mean(0).std() < 0.05 and (y == 0).float().mean(1).std() < 0.05


def test_every_place_is_dropped_alike() -> None:
    """Four draws come from one number: each must be as likely."""
    torch.manual_seed(0)
    drop = Dropout(0.25).train()
    shares = torch.stack([drop(torch.ones(64)) == 0 for _ in range(8000)]).float().mean(0)
    assert float((shares - 0.25).abs().max()) < 0.025


def test_a_seed_gives_the_same_draws_and_evaluation_drops_nothing() -> None:
    x, drop = torch.randn(7, 3), Dropout(0.5)
    torch.manual_seed(1)
    first = drop(x)
    torch.manual_seed(1)
    assert torch.equal(drop(x), first) and not torch.equal(drop(x), first)
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(Dropout(0.0).train()(x), x) and not Dropout(1.0).train()(x).any()


@pytest.mark.parametrize("name", [name for name in checkpoints.ALL if name != "t5"])
def test_attention_and_layers_are_set_apart(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What reaches torch's attention, and what layers drop."""
    made, seen = Pretrained(str(checkpoints.ALL[name]())).encoder(), []
    torch.manual_seed(0)
    original = nn.functional.scaled_dot_product_attention

    def note(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0))
        return original(*args, **kwargs)

    monkeypatch.setattr("omnitune.nn.flat.scaled_dot_product_attention", note)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", note)
    made.set_dropout(0.0, 0.25)
    made.train()(**checkpoints.inputs(name))
    attention = [m for m in made.modules() if "attention" in type(m).__name__.lower()]
    assert set(seen) == ({0.25} if attention else set())
    made.set_dropout(0.5, 0.0)
    seen.clear()
    made(**checkpoints.inputs(name))
    assert set(seen) <= {0.0}
    layers = [m.p for n, m in made.model.named_modules() if isinstance(m, nn.Dropout) and m.p]
    assert all(share == 0.5 for share in layers) and (layers or name not in ("bert", "roberta", "gpt2", "vit"))
