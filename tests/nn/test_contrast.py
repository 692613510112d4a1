import torch

from omnitune.nn.contrast import ContrastHead
from omnitune.nn.tokens import Tokens, View


def view(n: int = 7) -> View:
    tokens = Tokens(torch.randn(n, 2, 6, generator=torch.Generator().manual_seed(0)), torch.ones(n, 2, dtype=torch.bool))
    return View({"a": tokens}, tokens)


def test_the_loss_is_that_of_the_paper() -> None:
    """Equation 2, written out; row 5 has a label of its own, row 6 none."""
    head, y, weight = ContrastHead("a", 6, 0.2), torch.tensor([0, 1, 0, 1, 0, 2, -1]), torch.tensor([1.0, 1, 1, 1, 1, 1, 0])
    z = head.gather(view())
    total = torch.zeros(())
    for i in range(5):
        others = [a for a in range(6) if a != i]
        right = [p for p in others if y[p] == y[i]]
        below = torch.stack([(z[i] @ z[a] / 0.2).exp() for a in others]).sum()
        total = total - torch.stack([((z[i] @ z[p] / 0.2).exp() / below).log() for p in right]).mean()
    loss = head.loss(view(), {"y": y, "weight": weight})
    torch.testing.assert_close(loss.sum, total)
    assert loss.count == 6


def test_one_row_alone_costs_nothing_and_has_a_gradient_of_zero() -> None:
    head, x = ContrastHead("a", 6, 0.1), torch.randn(1, 2, 6, requires_grad=True)
    tokens = Tokens(x, torch.ones(1, 2, dtype=torch.bool))
    loss = head.loss(View({"a": tokens}, tokens), {"y": torch.tensor([0]), "weight": torch.ones(1)})
    loss.sum.backward()
    assert loss.sum == 0 and x.grad is not None and x.grad.abs().max() == 0
