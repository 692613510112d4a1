"""The contrastive losses, against CLIP's and SigLIP's own formulas."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, logsigmoid, normalize

from omnitune.nn.dropout import Dropout
from omnitune.nn.pairs import PairHead
from omnitune.nn.tokens import Tokens, View, beside


def view(n: int = 6, widths: tuple[int, int] = (12, 16), missing: int | None = None) -> View:
    random = torch.Generator().manual_seed(0)
    streams = {}
    for name, width in zip("ab", widths, strict=True):
        mask = torch.ones(n, 3, dtype=torch.bool)
        if missing is not None and name == "b":
            mask[missing] = False
        streams[name] = Tokens(torch.randn(n, 3, width, generator=random) * mask[..., None], mask)
    return View(streams, streams["a"])


def target(n: int = 6) -> dict[str, torch.Tensor]:
    return {"y": torch.stack([torch.arange(n), torch.arange(n) + 100], 1), "weight": torch.ones(n)}


def head(kind: str = "softmax", widths: tuple[int, int] = (12, 16)) -> PairHead:
    torch.manual_seed(1)
    return PairHead(("a", "b"), widths, 8, kind)  # type: ignore[arg-type]


def test_softmax_is_clips_loss() -> None:
    made = head()
    a, b = made.vectors(view())
    logits = a @ b.T / 0.07
    wanted = (cross_entropy(logits, torch.arange(6)) + cross_entropy(logits.T, torch.arange(6))) / 2
    loss = made.loss(view(), target())
    torch.testing.assert_close(loss.mean, wanted)
    assert loss.count == 6


def test_sigmoid_is_siglips_loss() -> None:
    made = head("sigmoid")
    a, b = made.vectors(view())
    signs = 2 * torch.eye(6) - 1
    torch.testing.assert_close(made.loss(view(), target()).mean, -logsigmoid(signs * (10 * a @ b.T - 10)).sum() / 6)


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
def test_what_is_missing_or_weighs_nothing_is_no_candidate(kind: str) -> None:
    made, some = head(kind), target()
    some["weight"][2] = 0
    kept = [0, 1, 3, 4, 5]
    parts = {name: Tokens(t.x_BLD[kept], t.mask_BL[kept]) for name, t in view().streams.items()}
    left = made.loss(View(parts, parts["a"]), {name: t[kept] for name, t in target().items()})
    for seen in (view(), view(missing=2)):
        torch.testing.assert_close(made.loss(seen, some).sum, left.sum)
    assert made.predict(view(missing=2)).isnan().tolist() == [i == 2 for i in range(6)]


@pytest.mark.parametrize("kind", ["softmax", "sigmoid"])
@pytest.mark.parametrize("which", [0, 1])
def test_equal_values_are_not_wrong(kind: str, which: int) -> None:
    """The vectors of a row that another one equals in one value can be anything, and that other row does not mind."""
    made, same = head(kind), target()
    same["y"][4, which] = same["y"][1, which]
    slopes = []
    for asked in (target(), same):
        x = {name: t.x_BLD.clone().requires_grad_() for name, t in view().streams.items()}
        streams = {name: Tokens(x[name], t.mask_BL) for name, t in view().streams.items()}
        weighed = asked | {"weight": torch.eye(6)[1] + 1e-12}  # row 1 alone has a loss; the others are candidates
        made.loss(View(streams, streams["a"]), weighed).sum.backward()
        slopes.append([float(x[name].grad[4].abs().sum()) for name in "ab"])  # type: ignore[union-attr]
    assert max(slopes[0]) > 1e-5 and max(slopes[1]) < 1e-9


def test_vectors_of_one_width_start_where_the_backbone_put_them() -> None:
    made = head(widths=(12, 12))
    assert torch.equal(made.projections[0].weight, made.projections[1].weight)


def test_the_temperature_has_a_limit_and_comes_back() -> None:
    made = head()
    with torch.no_grad():
        made.steepness.fill_(9.0)
    a, b = made.vectors(view())
    loss = made.loss(view(), target())
    torch.testing.assert_close(loss.mean, (cross_entropy(100 * a @ b.T, torch.arange(6)) + cross_entropy(100 * b @ a.T, torch.arange(6))) / 2)
    loss.mean.backward()
    assert made.steepness.grad is not None and made.steepness.grad != 0 and math.isfinite(made.steepness.grad)


def with_negatives(kind: str = "softmax") -> tuple[PairHead, View, dict[str, torch.Tensor]]:
    """Two negatives a row; one is missing, and one is what another row's own value is."""
    torch.manual_seed(1)
    made, seen = PairHead(("a", "b"), (12, 16), 8, kind, ("c", "d")), view()  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(2)
    more = {beside(name): Tokens(torch.randn(6, 3, 16, generator=random), torch.ones(6, 3, dtype=torch.bool)) for name in "cd"}
    wrong = torch.arange(200, 212).view(6, 2)
    wrong[1, 0], wrong[2, 1] = -1, 104
    return made, View(seen.streams | more, seen.fused), target() | {"wrong": wrong}


def test_hard_negatives_are_further_candidates_of_every_row() -> None:
    made, seen, asked = with_negatives()
    a, b = made.vectors(seen)
    c, d = (made.embed("b", seen.streams[beside(name)]) for name in "cd")
    back = cross_entropy(b @ a.T / 0.07, torch.arange(6), reduction="none")
    there = torch.cat([a @ b.T, a @ c.T, a @ d.T], 1) / 0.07
    there[:, 6 + 1] = -torch.inf  # missing
    there[4, 12 + 2] = -torch.inf  # says what row 4's own value says
    wanted = (cross_entropy(there, torch.arange(6), reduction="none") + back) / 2
    torch.testing.assert_close(made.loss(seen, asked).sum, wanted.sum())


def test_hard_negatives_of_sigmoid() -> None:
    made, seen, asked = with_negatives("sigmoid")
    a, b = made.vectors(seen)
    c, d = (made.embed("b", seen.streams[beside(name)]) for name in "cd")
    signs = torch.cat([2 * torch.eye(6) - 1, -torch.ones(6, 12)], 1)
    each = -logsigmoid(signs * (10 * a @ torch.cat([b, c, d]).T - 10))
    each[:, 6 + 1] = each[4, 12 + 2] = 0
    torch.testing.assert_close(made.loss(seen, asked).sum, each.sum())


def test_measured_with_negatives_are_the_rows_own_values() -> None:
    made, seen, asked = with_negatives()
    p, _ = made.measure(seen, asked)
    both = torch.cat(made.vectors(seen), 1)
    known = np.ones(6, bool)
    found, wanted = (made.together(asked["y"].numpy(), x.detach().numpy(), known) for x in (p, both))
    assert all(np.array_equal(x, y) for x, y in zip(found, wanted, strict=True))


def test_dropout_hides_pooled_values_in_training_alone() -> None:
    torch.manual_seed(1)
    made, seen = PairHead(("a", "b"), (12, 16), 8, dropout=0.5), view()
    for name, plain in zip("ab", head().vectors(seen), strict=True):
        torch.testing.assert_close(made.eval().embed(name, seen.streams[name]), plain)
    torch.manual_seed(2)
    found = made.train().embed("a", seen.streams["a"])
    torch.manual_seed(2)
    dropped = Dropout(0.5)(seen.streams["a"].pooled())
    torch.testing.assert_close(found, normalize(made.projections[0](dropped), dim=1))
    assert 0.2 < (dropped == 0).float().mean() < 0.8
