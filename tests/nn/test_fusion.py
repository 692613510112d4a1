import torch

from omnitune.nn.fusion import Attend, Concat, shown
from omnitune.nn.tokens import Tokens


def tokens(mask: torch.Tensor, width: int = 4) -> Tokens:
    torch.manual_seed(0)
    return Tokens(torch.randn(*mask.shape, width), mask).only(mask.any(1))


def test_hiding_spares_the_last_input_of_a_row() -> None:
    torch.manual_seed(0)
    present = torch.rand(4000, 4) < 0.6
    for hide in (0.1, 0.5, 0.99):
        seen = shown(present, hide)
        assert not (seen & ~present).any()
        assert torch.equal(seen.any(1), present.any(1))
        assert torch.equal(seen[present.sum(1) == 1], present[present.sum(1) == 1])
    assert torch.equal(shown(present, 0.0), present)


def test_hiding_hides_the_share_that_is_asked_for() -> None:
    torch.manual_seed(0)
    seen = shown(torch.ones(50_000, 3, dtype=torch.bool), 0.2)
    assert abs((~seen).float().mean() - (0.2 - 0.2**3 / 3)) < 0.004  # less the rows that would have lost all three


def test_a_single_input_passes_as_it_is() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    module, found = Concat({"text": 4}), tokens(mask)
    with torch.no_grad():
        module.stand_ins[0].fill_(7.0)
    fused = module({"text": found}).x_BLD[:, 0]
    torch.testing.assert_close(fused[0], found.pooled()[0])
    assert torch.equal(fused[1], torch.full((4,), 7.0))
    assert module.width == 4 and len(list(module.parameters())) == 1


def test_a_width_that_is_asked_for_is_given() -> None:
    found = {"a": tokens(torch.ones(2, 1, dtype=torch.bool)), "b": tokens(torch.ones(2, 1, dtype=torch.bool), 6)}
    assert Concat({"a": 4, "b": 6}).width == 6
    for widths in ({"a": 4}, {"a": 4, "b": 6}):
        module = Concat(widths, 10)
        assert module.width == 10 and module(found).x_BLD.shape == (2, 1, 10)


def test_attend_reads_the_tokens_of_all_inputs_behind_its_class_token() -> None:
    found = {"a": tokens(torch.tensor([[True, True], [True, False]])), "b": tokens(torch.tensor([[True], [False]]), 6)}
    fused = Attend({"a": 4, "b": 6}, 8, 1, 2)(found)
    assert fused.x_BLD.shape == (2, 4, 8) and fused.pool == "first"
    assert fused.mask_BL.tolist() == [[True, True, True, True], [True, True, False, True]]  # b's stand-in is the last
