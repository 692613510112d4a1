"""Where the right item stands: against a count by hand, with ties, with candidates left out."""

import numpy as np
import pytest
import torch

from omnitune.nn.rank_head import RankHead
from omnitune.nn.rank_metrics import FIGURES, rank_metrics
from omnitune.nn.ranking import figures
from omnitune.nn.tokens import Tokens, View


def by_hand(scores: np.ndarray, y: int) -> list[float]:
    rank = 1 + int((scores > scores[y]).sum())
    return [1 / np.log2(1 + rank) if rank <= 10 else 0.0, float(rank <= 10), float(rank <= 50), 1 / rank]


def test_figures_are_what_a_count_gives() -> None:
    rng = np.random.default_rng(0)
    scores, y = rng.normal(size=(40, 80)).astype(np.float32), rng.integers(80, size=40)
    found = figures(torch.from_numpy(scores), torch.from_numpy(y)).numpy()
    assert found[:, :FIGURES] == pytest.approx(np.array([by_hand(s, place) for s, place in zip(scores, y, strict=True)]), abs=1e-6)
    assert (found[:, FIGURES:] == np.argsort(-scores, 1)[:, :10]).all()


def test_ties_are_halved() -> None:
    found = figures(torch.zeros(1, 20), torch.tensor([3]))[0]
    gains = [1 / np.log2(1 + rank) for rank in range(1, 11)]
    assert found[:FIGURES].tolist() == pytest.approx([sum(gains) / 20, 0.5, 1.0, np.mean([1 / rank for rank in range(1, 21)])], abs=1e-6)


def test_what_is_left_out_is_not_counted_and_not_found() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0], [5.0, 4.0, 3.0]])
    scores[0, 0] = scores[1, 1] = -torch.inf
    found = figures(scores, torch.tensor([1, 1]))
    assert found[:, 3].tolist() == [1.0, 0.0]
    assert found[:, FIGURES : FIGURES + 3].tolist() == [[1, 2, -1], [0, 2, -1]]
    assert rank_metrics(3)["coverage@10"].compute(np.zeros(2), found.numpy()) == 1.0
    assert rank_metrics(4)["coverage@10"].compute(np.zeros(2), found[:1].numpy()) == 0.5


def test_only_those_that_are_drawn_stand_beside_the_right_one() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0]])
    for drawn, rank in (([3, -1], 1), ([0, 3], 2), ([2, 2], 1), ([0, 1], 2)):
        assert figures(scores, torch.tensor([2]), torch.tensor([drawn]))[0, 3] == pytest.approx(1 / (rank + (1 in drawn)))


def head(**settings: object) -> tuple[RankHead, View, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    made = RankHead(8, [5, 1, 1, 2, 0, 3], None, None, **settings)  # type: ignore[arg-type]
    view = View({}, Tokens(torch.randn(4, 1, 8), torch.ones(4, 1, dtype=torch.bool), "first"))
    return made, view, {"y": torch.tensor([0, 3, 5, -1]), "weight": torch.tensor([1.0, 2.0, 1.0, 0.0])}


@pytest.mark.parametrize("kind", ["softmax", "bpr", "pointwise"])
def test_losses_are_what_their_papers_say(kind: str) -> None:
    made, view, target = head(kind=kind)
    scores = view.fused.x_BLD[:, 0] @ made.items.every().T + made.usual
    expected = 0.0
    for row, (y, weight) in enumerate(zip([0, 3, 5], [1, 2, 1], strict=True)):
        own, others = scores[row, y], scores[row][torch.arange(6) != y]
        losses = {
            "softmax": -scores[row].log_softmax(0)[y], "bpr": -torch.sigmoid(own - others).log().mean(),
            "pointwise": -torch.sigmoid(own).log() - torch.sigmoid(-others).log().mean(),
        }  # fmt: skip
        expected = expected + weight * losses[kind]
    loss = made.loss(view, target)
    torch.testing.assert_close(loss.sum, expected)
    assert loss.count == 4


@pytest.mark.parametrize("kind", ["softmax", "bpr", "pointwise"])
def test_a_sample_says_about_the_same_and_all_are_measured(kind: str) -> None:
    made, view, target = head(kind=kind, samples=2)
    whole = made.eval().loss(view, target).mean.detach()
    assert torch.equal(whole, made.loss(view, target).mean.detach())
    made.train()
    drawn = torch.stack([made.loss(view, target).mean for _ in range(2000)]).detach()
    assert drawn.std() > 0
    assert drawn.mean() == pytest.approx(float(whole), rel=0.1)


def test_gradients_of_the_sampled_loss_reach_what_was_drawn() -> None:
    made, view, target = head(kind="bpr", samples=50)
    made.train().loss(view, target).sum.backward()
    assert made.own is not None and made.own.ids.weight.grad is not None and bool(made.own.ids.weight.grad[1:].abs().sum(1).gt(0).all())
