"""Pictures as tensors: boxes, crops, mirrors, numbers."""

import numpy as np
import pytest
import torch

from omnitune.nn.pictures import Normalise, centre, centre_crop, crop, enough, random_crop_box, random_flip, resize


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_normalise_by_hand() -> None:
    x = torch.tensor([0, 255, 51], dtype=torch.uint8).view(1, 3, 1, 1)
    made = Normalise([0.5, 0.5, 0.1], [0.5, 0.25, 0.2])(x)
    assert made.flatten().tolist() == pytest.approx([-1, 2, 0.5])
    assert Normalise([0.5] * 3, [0.5] * 3).state_dict() == {}


def test_random_boxes_keep_to_scale_and_ratio() -> None:
    generator, inside = rng(), (400, 600)
    boxes = np.array([random_crop_box(inside, (0.2, 0.5), (0.5, 1.5), generator) for _ in range(2000)])
    top, left, height, width = boxes.T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 400).all() and (left + width <= 600).all()
    area, ratio = height * width / 240_000, width / height
    assert area.min() > 0.19 and area.max() < 0.51 and area.mean() == pytest.approx(0.35, abs=0.02)
    assert ratio.min() > 0.49 and ratio.max() < 1.51
    assert (top == 0).mean() < 0.1 and np.corrcoef(top + height / 2, left + width / 2)[0, 1] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(("inside", "wanted"), [((100, 1000), (0, 433, 100, 134)), ((1000, 100), (433, 0, 134, 100)), ((1, 50), (0, 24, 1, 2))])
def test_where_no_box_fits_the_largest_in_the_middle_is_taken(inside: tuple[int, int], wanted: tuple[int, int, int, int]) -> None:
    assert random_crop_box(inside, (1, 1), (3 / 4, 4 / 3), rng()) == wanted


def test_the_whole_picture_is_a_box() -> None:
    assert random_crop_box((50, 50), (1, 1), (1, 1), rng()) == (0, 0, 50, 50)


def test_centre_and_crop() -> None:
    x = torch.arange(35).view(1, 5, 7)
    assert centre((5, 7), (3, 3)) == (1, 2, 3, 3)
    assert crop(x, centre((5, 7), (1, 1))).item() == 17
    assert centre((5, 7), (9, 3)) == (0, 2, 5, 3)


@pytest.mark.parametrize("shape", [(50, 80), (80, 50), (7, 9), (3, 4000)], ids=str)
@pytest.mark.parametrize("size", [(24, 24), (24, 48), (48, 24)], ids=str)
@pytest.mark.parametrize("share", [1.0, 0.875, 0.95])
def test_centre_crops_have_the_size(shape: tuple[int, int], size: tuple[int, int], share: float) -> None:
    x = torch.full((3, *shape), 7, dtype=torch.uint8)
    made = centre_crop(x, size, 3, share)
    assert made.shape == (3, *size) and (made == 7).all()


def test_resizing_to_the_same_size_changes_nothing() -> None:
    x = torch.from_numpy(rng().integers(0, 256, (3, 9, 9), dtype=np.uint8))
    assert torch.equal(resize(x, (9, 9), 3), x)


def test_resizing_does_not_leave_the_range() -> None:
    x = torch.from_numpy(rng().choice([0, 255], (3, 40, 40)).astype(np.uint8))
    assert resize(x, (90, 90), 3).dtype == torch.uint8
    assert resize(torch.full_like(x, 255), (17, 90), 3).min() == 255


def test_every_second_picture_is_mirrored() -> None:
    x, generator = torch.arange(6).view(1, 2, 3), rng()
    made = [random_flip(x, generator) for _ in range(400)]
    mirrored = [torch.equal(m, x.flip(2)) for m in made]
    assert 160 < sum(mirrored) < 240
    assert all(torch.equal(m, x) for m, other in zip(made, mirrored, strict=True) if not other)


@pytest.mark.parametrize("inside", [(500, 375), (3000, 4000), (300, 300), (100, 8000)])
def test_no_crop_of_a_picture_that_is_large_enough_is_enlarged(inside: tuple[int, int]) -> None:
    size, generator = (224, 192), rng()
    shrunk = enough(inside, size, 0.4, (3 / 4, 4 / 3))
    assert shrunk <= inside
    assert abs(shrunk[0] / shrunk[1] / (inside[0] / inside[1]) - 1) < 0.01
    if shrunk != inside:
        boxes = np.array([random_crop_box(shrunk, (0.4, 1), (3 / 4, 4 / 3), generator) for _ in range(500)])
        assert boxes[:, 2].min() >= 223 and boxes[:, 3].min() >= 191
    assert enough(shrunk, size, 0.4, (3 / 4, 4 / 3)) in (shrunk, inside)
