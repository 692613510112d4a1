import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch import nn
from torch.nn import functional as F

from omnitune.nn.heads import ClassifyHead, Head, LabelHead, OrdinalHead
from omnitune.nn.number_heads import CountHead, QuantileHead, RegressHead
from omnitune.nn.tokens import Tokens, View


def view(rows: int = 6, width: int = 5) -> View:
    torch.manual_seed(1)
    return View({}, Tokens(torch.randn(rows, 1, width), torch.ones(rows, 1, dtype=torch.bool), "first"))


def output(head: Head, seen: View) -> torch.Tensor:
    """What the linear layer gives, computed apart."""
    linear = next(m for m in head.modules() if isinstance(m, nn.Linear))
    return seen.fused.x_BLD[:, 0] @ linear.weight.T + linear.bias


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_cross_entropy_with_weights_and_smoothing(smoothing: float) -> None:
    seen, y, weight = view(), torch.tensor([0, 1, 2, -1, 1, 0]), torch.tensor([1.0, 2.0, 0.5, 0.0, 2.0, 1.0])
    head = ClassifyHead(5, 3, smoothing).eval()
    loss = head.loss(seen, {"y": y, "weight": weight})
    known = y >= 0
    rows = F.cross_entropy(output(head, seen)[known], y[known], reduction="none", label_smoothing=smoothing)
    torch.testing.assert_close(loss.sum, (rows * weight[known]).sum())
    torch.testing.assert_close(loss.mean, (rows * weight[known]).sum() / weight.sum())


def test_class_weights_are_those_of_torch() -> None:
    seen, y, by_class = view(), torch.tensor([0, 1, 2, 2, 1, 0]), torch.tensor([0.5, 1.0, 3.0])
    head = ClassifyHead(5, 3).eval()
    loss = head.loss(seen, {"y": y, "weight": by_class[y]})
    torch.testing.assert_close(loss.mean, F.cross_entropy(output(head, seen), y, by_class))


def test_temperature_divides_the_logits_of_predictions_alone() -> None:
    seen, target = view(), {"y": torch.tensor([0, 1, 2, 0, 1, 2]), "weight": torch.ones(6)}
    head = ClassifyHead(5, 3).eval()
    torch.testing.assert_close(head.predict(seen), output(head, seen).softmax(1))
    before = head.loss(seen, target).sum
    head.temperature.fill_(2.0)
    torch.testing.assert_close(head.predict(seen), (output(head, seen) / 2).softmax(1))
    assert torch.equal(head.loss(seen, target).sum, before)
    again = ClassifyHead(5, 3)
    again.load_state_dict(head.state_dict())
    assert again.temperature == 2.0


def test_labels_that_are_not_known_are_left_out_of_a_row() -> None:
    seen = view(3)
    y = torch.tensor([[1, 0, 1], [1, -1, 0], [-1, -1, -1]])
    head = LabelHead(5, 3).eval()
    loss = head.loss(seen, {"y": y, "weight": torch.tensor([1.0, 1.0, 0.0])})
    logits = output(head, seen)
    first = F.binary_cross_entropy_with_logits(logits[0], y[0].float())
    second = F.binary_cross_entropy_with_logits(logits[1, [0, 2]], y[1, [0, 2]].float())
    torch.testing.assert_close(loss.sum, first + second)
    assert loss.count == 2
    torch.testing.assert_close(head.predict(seen), torch.sigmoid(logits))


def test_regression_is_standard_inside_and_in_units_outside() -> None:
    seen, z, weight = view(), torch.tensor([3.0, -2.0, 0.1, 0.0, 1.0, -0.3]), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 2.0])
    for kind, error in (("huber", F.huber_loss), ("mse", F.mse_loss)):
        head = RegressHead(5, mean=1e4, std=50.0, kind=kind).eval()  # type: ignore[arg-type]
        standard = output(head, seen)[:, 0]
        loss = head.loss(seen, {"z": z, "weight": weight})
        torch.testing.assert_close(loss.sum, (error(standard, z, reduction="none") * weight).sum())
        torch.testing.assert_close(head.predict(seen), standard * 50 + 1e4)


def test_rising_classes_lie_between_borders() -> None:
    seen, y, shares = view(), torch.tensor([0, 2, 1, -1, 2, 0]), [0.2, 0.5, 0.3]
    head = OrdinalHead(5, shares).eval()
    with torch.no_grad():
        head.logits.linear.weight.zero_()
        torch.testing.assert_close(head.predict(seen), torch.tensor([shares] * 6))  # nothing but what training rows show is claimed
        head.logits.linear.weight.normal_()
        head.gaps.sub_(0.3)
    borders = torch.stack([head.lowest[0], head.lowest[0] + head.gaps[0].exp()])
    below = torch.sigmoid(borders - output(head, seen))
    wanted = torch.stack([below[:, 0], below[:, 1] - below[:, 0], 1 - below[:, 1]], 1)
    torch.testing.assert_close(head.predict(seen), wanted)
    loss = head.loss(seen, {"y": y, "weight": torch.tensor([1.0, 2.0, 1.0, 0.0, 1.0, 1.0])})
    known = [0, 1, 1, 2, 4, 5]
    torch.testing.assert_close(loss.sum, -wanted[known, y[known]].log().sum())


def test_counts_are_poisson() -> None:
    seen, y, weight = view(), torch.tensor([0.0, 3.0, 1.0, torch.nan, 7.0, 2.0]), torch.tensor([1.0, 1.0, 1.0, 0.0, 1.0, 2.0])
    head = CountHead(5, mean=2.0).eval()
    rate = head.predict(seen)
    torch.testing.assert_close(rate, output(head, seen)[:, 0].exp() * 2)
    surprise = F.poisson_nll_loss(rate, y, log_input=False, reduction="none", eps=0)
    least = F.poisson_nll_loss(y.clamp(min=1e-30), y, log_input=False, reduction="none", eps=0)
    wanted = ((surprise - least) / 2)[weight > 0] @ weight[weight > 0]
    torch.testing.assert_close(head.loss(seen, {"y": y, "weight": weight}).sum, wanted)


def test_quantiles_never_cross_and_their_loss_is_scikit_learns() -> None:
    seen, z = view(), torch.tensor([3.0, -2.0, 0.1, 0.0, 1.0, -0.3])
    head = QuantileHead(5, 10.0, 2.0, (0.1, 0.5, 0.9), (7.0, 10.0, 13.0)).eval()
    with torch.no_grad():
        torch.testing.assert_close(head.standard.linear.bias, torch.tensor([-1.5, 0.0, 1.5]))
        head.standard.linear.weight.normal_(std=3)
    standard = output(head, seen).detach()
    assert (standard.diff(dim=1) < 0).any() and (head.predict(seen).diff(dim=1) >= 0).all()
    torch.testing.assert_close(head.predict(seen), standard.sort(1).values * 2 + 10)
    losses = [mean_pinball_loss(z, standard[:, i], alpha=level) for i, level in enumerate((0.1, 0.5, 0.9))]
    assert head.loss(seen, {"z": z, "weight": torch.ones(6)}).mean.item() == pytest.approx(np.mean(losses), rel=1e-5)


def test_dropout_works_in_training_alone() -> None:
    seen = view()
    for head in (ClassifyHead(5, 3, dropout=0.5), LabelHead(5, 3, 0.5), RegressHead(5, 0.0, 1.0, dropout=0.5)):
        assert not torch.equal(head.predict(seen), head.predict(seen))
        head.eval()
        assert torch.equal(head.predict(seen), head.predict(seen))


def test_heads_read_the_pooled_tokens() -> None:
    torch.manual_seed(0)
    x, mask = torch.randn(2, 4, 5), torch.tensor([[True, True, False, False], [True] * 4])
    head = ClassifyHead(5, 3).eval()
    pooled = torch.stack([x[0, :2].mean(0), x[1].mean(0)])
    one = View({}, Tokens(pooled[:, None], torch.ones(2, 1, dtype=torch.bool), "first"))
    torch.testing.assert_close(head.predict(View({}, Tokens(x, mask))), head.predict(one))
