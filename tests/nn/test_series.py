"""Patches of series: where they lie, what they see, and that neither padding nor neighbours change them."""

import pytest
import torch

from omnitune.nn.series import Places, SeriesEncoder

NAN = float("nan")


def inputs(rows: list[list[float]], wide: int = 0) -> dict[str, torch.Tensor]:
    """Rows that end together; NaN is a gap."""
    wide = max(wide, *map(len, rows))
    x = torch.tensor([[NAN] * (wide - len(row)) + row for row in rows])
    return {"values": x.nan_to_num(), "known": ~x.isnan(), "present": ~x.isnan().all(1)}


def encoder(causal: bool = False, per_row: bool = False, places: int = 8) -> SeriesEncoder:
    torch.manual_seed(0)
    return SeriesEncoder(3, places, 16, 2, 2, 0.0, causal, per_row).eval()


def test_patches_end_where_rows_end() -> None:
    given = inputs([[1, 2, 3, 4, 5, 6, 7], [8, 9], [1, NAN, 3, 4]])
    places = Places(given["known"], 3)
    assert places.patches(given["values"]).tolist() == [
        [[0, 0, 1], [2, 3, 4], [5, 6, 7]], [[0, 8, 9], [0, 0, 0], [0, 0, 0]], [[0, 0, 1], [0, 3, 4], [0, 0, 0]],
    ]  # fmt: skip
    assert places.real_BP.tolist() == [[True] * 3, [True, False, False], [True, True, False]]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("per_row", [False, True])
def test_padding_and_neighbours_change_nothing(causal: bool, per_row: bool) -> None:
    rows = [[0.3, -1.0, 2.0, 0.5, NAN, 1.0, 4.0], [1.0, 2.0], [5.0, NAN, NAN, NAN, NAN, NAN, 2.0, 1.0]]
    made = encoder(causal, per_row)
    with torch.no_grad():
        together, wide = made(inputs(rows)), made(inputs(rows, wide=23))
        for i, row in enumerate(rows):
            alone = made(inputs([row])).pooled()[0]
            torch.testing.assert_close(together.pooled()[i], alone)
            torch.testing.assert_close(wide.pooled()[i], alone)
    assert together.x_BLD.isfinite().all() and together.mask_BL.sum(1).tolist() == [3, 1, 3]


def test_a_causal_patch_does_not_see_what_comes_later() -> None:
    one, other = inputs([[1.0, 2, 3, 4, 5, 6, 7, 8, 9]]), inputs([[1.0, 2, 3, 4, 5, 6, -7, 80, 0]])
    for causal in (True, False):
        with torch.no_grad():
            a, b = (encoder(causal)(x).x_BLD[0] for x in (one, other))
        assert torch.equal(a[:2], b[:2]) == causal and not torch.equal(a[2], b[2])


def test_a_row_of_its_own_units_has_no_level() -> None:
    row = torch.tensor([0.3, -1.0, 2.0, 0.5, 1.0, 4.0])
    with torch.no_grad():
        a, b, c = (encoder(per_row=units)(inputs([x.tolist()])).pooled() for units, x in ((True, row), (True, 100 + 7 * row), (False, 100 + 7 * row)))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(a, c, atol=0.1)
    constant = encoder(per_row=True)(inputs([[5.0] * 6]))
    assert constant.x_BLD.isfinite().all() and constant.pooled().requires_grad


def test_a_row_that_ends_in_a_gap_is_read_where_it_ends() -> None:
    given = inputs([[1.0, 2.0, 3.0, NAN, NAN, NAN], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    made = encoder(causal=True)(given)
    assert made.mask_BL.all() and torch.equal(made.pooled(), made.x_BLD[:, 1])


def test_of_a_long_row_the_last_patches_are_read() -> None:
    made, row = encoder(places=2), [float(i) for i in range(20)]
    with torch.no_grad():
        torch.testing.assert_close(made(inputs([row])).x_BLD, made(inputs([row[-6:]])).x_BLD)


def test_a_missing_row_says_nothing_and_does_no_harm() -> None:
    made = encoder(causal=True)(inputs([[NAN, NAN, NAN, NAN], [1.0, 2.0, 3.0, 4.0]]))
    assert not made.x_BLD[0].any() and made.present.tolist() == [False, True]
    made.x_BLD.sum().backward()
