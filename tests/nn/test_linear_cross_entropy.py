"""The chunked loss is the whole one: value, gradients, and what each token cost."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from omnitune.nn import linear_cross_entropy as module
from omnitune.nn.linear_cross_entropy import linear_cross_entropy


def given(bias: bool) -> list[torch.Tensor]:
    torch.manual_seed(0)
    x, weight, b = torch.randn(50, 8), torch.randn(30, 8), torch.randn(30)
    return [x, weight, b] if bias else [x, weight]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_it_equals_the_whole_product(bias: bool, cap: float | None, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", chunk)
    monkeypatch.setattr(module, "FEWEST", chunk)
    y, scale = torch.randint(30, (50,)), torch.rand(50, requires_grad=True)
    mine, theirs = ([t.clone().requires_grad_() for t in given(bias)] for _ in range(2))
    total, losses, right = linear_cross_entropy(mine[0], mine[1], mine[2] if bias else None, y, scale, cap)
    logits = theirs[0] @ theirs[1].T + (theirs[2] if bias else 0)
    logits = logits if cap is None else cap * torch.tanh(logits / cap)
    each = cross_entropy(logits, y, reduction="none")
    torch.testing.assert_close(losses, each)
    assert torch.equal(right, logits.argmax(1) == y)
    found = torch.autograd.grad(3 * total, [*mine, scale])
    wanted = torch.autograd.grad(3 * (each * scale).sum(), [*theirs, scale])
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_frozen_words_get_no_gradient_and_no_graph_is_built_without_need() -> None:
    x, weight = given(False)
    y, scale = torch.zeros(50, dtype=torch.int64), torch.ones(50)
    total, *_ = linear_cross_entropy(x.requires_grad_(), weight, None, y, scale)
    total.backward()
    assert x.grad is not None and weight.grad is None
    with torch.no_grad():
        assert not linear_cross_entropy(x, weight, None, y, scale)[0].requires_grad


def test_no_token_at_all_costs_nothing() -> None:
    x = torch.zeros(0, 8, requires_grad=True)
    total, losses, _ = linear_cross_entropy(x, given(False)[1], None, torch.zeros(0, dtype=torch.int64), torch.zeros(0))
    total.backward()
    assert total == 0 and not len(losses)
