"""What a picture or a sound is to a language model: which tokens are left, in which order, and how long they begin."""

import pytest
import torch

from omnitune.nn.projector import Projector, fewer, grid
from omnitune.nn.tokens import Tokens


@pytest.mark.parametrize(
    ("length", "aspect", "wanted"),
    [(49, 1.0, (0, 7, 7)), (197, 1.0, (1, 14, 14)), (261, 1.0, (5, 16, 16)), (64, 1.0, (0, 8, 8)), (129, 0.5, (1, 8, 16)), (70, 0.7, (0, 7, 10)),
     (198, 1.0, (2, 14, 14)), (17, 1.0, (1, 4, 4)), (2, 1.0, (1, 1, 1))],
)  # fmt: skip
def test_patches_lie_in_a_grid_behind_class_tokens(length: int, aspect: float, wanted: tuple[int, int, int]) -> None:
    assert grid(length, aspect) == wanted


def test_neighbouring_patches_are_averaged_and_class_tokens_left_out() -> None:
    x = torch.cat([torch.full((1, 1, 1), 99.0), torch.arange(16.0).view(1, 16, 1)], 1)
    few = fewer(Tokens(x, torch.ones(1, 17).bool()), 4, 1.0)
    assert few.x_BLD.flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert fewer(Tokens(x, torch.ones(1, 17).bool()), 16, 1.0).x_BLD.flatten().tolist() == list(range(16))
    assert not fewer(Tokens(x, torch.zeros(1, 17).bool()), 4, 1.0).mask_BL.any()


def test_sounds_are_averaged_in_time_each_by_its_own_length() -> None:
    x = torch.arange(6.0).expand(3, 6)[..., None]
    mask = torch.arange(6) < torch.tensor([[6], [2], [0]])
    few = fewer(Tokens(x * mask[..., None], mask), 3, None)
    assert few.x_BLD[0].flatten().tolist() == [0.5, 2.5, 4.5]
    assert few.x_BLD[1, :2].flatten().tolist() == [0.0, 1.0] and few.mask_BL.tolist() == [[True] * 3, [True, True, False], [False] * 3]


def test_vectors_begin_as_long_as_words_and_a_missing_one_is_learned() -> None:
    torch.manual_seed(0)
    projector = Projector(64, 128, 0.05)
    x = 7 + 30 * torch.randn(8, 5, 64)
    mask = torch.ones(8, 5).bool()
    mask[3] = False
    made = projector(Tokens(x, mask))
    assert float(made.x_BLD[mask].detach().square().mean().sqrt()) == pytest.approx(0.05, rel=0.1)
    assert torch.equal(made.x_BLD[3, 0], projector.stand_in) and made.mask_BL[3].tolist() == [True, False, False, False, False]
    made.x_BLD[3, 0].sum().backward()
    assert projector.stand_in.grad is not None and bool((projector.stand_in.grad != 0).all())
