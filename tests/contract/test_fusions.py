"""What every fusion keeps to, run over every kind that is found."""

import dataclasses
import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from omnitune import recipe
from omnitune.component import any_of, find, kinds
from omnitune.errors import Mistake
from omnitune.fusion import Fusion
from omnitune.nn.tokens import Mixture, Tokens
from omnitune.settings import read_settings, settings

WIDTHS = {"text": 12, "odd.name/ü": 5, "keys": 1}
"""Inputs with names that are no identifiers, or those of methods."""


@settings
class Holder:
    """A field that takes any fusion."""

    fusion: any_of(Fusion)  # type: ignore[valid-type]


@pytest.fixture(params=list(kinds(Fusion)))
def fusion(request: pytest.FixtureRequest) -> Fusion:
    return find(Fusion, request.param)()


@pytest.fixture(params=[3, 1], ids=["several inputs", "one input"])
def widths(request: pytest.FixtureRequest) -> dict[str, int]:
    return dict(list(WIDTHS.items())[: request.param])


def made(fusion: Fusion, widths: dict[str, int], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    module = fusion.module(widths)
    for parameter in module.parameters():  # away from zeros and ones, so that each one shows
        nn.init.normal_(parameter, std=0.3)
    return module


def streams(widths: dict[str, int], rows: int = 8, seed: int = 0) -> dict[str, Tokens]:
    """Random tokens of different lengths; row i lacks the i-th input, the last row lacks all."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for i, (name, width) in enumerate(widths.items()):
        length = torch.randint(1, 6, (rows, 1), generator=generator)
        mask = torch.arange(5)[None] < length
        mask[i] = mask[-1] = False
        found[name] = Tokens(torch.randn(rows, 5, width, generator=generator), mask).only(mask.any(1))
    return found


def of(tokens: dict[str, Tokens], rows: Any) -> dict[str, Tokens]:
    return {name: Tokens(t.x_BLD[rows], t.mask_BL[rows], t.pool) for name, t in tokens.items()}


def padded(tokens: dict[str, Tokens], more: int, fill: float) -> dict[str, Tokens]:
    """The same tokens with `more` at the end that are not real."""

    def one(t: Tokens) -> Tokens:
        x = torch.cat([t.x_BLD, torch.full((len(t.x_BLD), more, t.x_BLD.shape[2]), fill)], 1)
        return Tokens(x, torch.cat([t.mask_BL, torch.zeros(len(x), more, dtype=torch.bool)], 1), t.pool)

    return {name: one(t) for name, t in tokens.items()}


@torch.no_grad()
def read(module: nn.Module, tokens: dict[str, Tokens]) -> Tensor:
    pooled: Tensor = module(tokens).pooled()
    return pooled


def test_settings_survive_yaml(fusion: Fusion) -> None:
    assert read_settings(Holder, {"fusion": fusion.to_dict()}).fusion == fusion
    assert read_settings(Holder, {"fusion": fusion.kind}).fusion == fusion
    with pytest.raises(Mistake, match="unexpected field"):
        read_settings(Holder, {"fusion": fusion.to_dict() | {"wdth": 1}})


def test_every_row_gets_a_vector_of_the_width_that_is_said(fusion: Fusion, widths: dict[str, int]) -> None:
    module = made(fusion, widths).eval()
    tokens = module(streams(widths))
    assert tokens.x_BLD.shape[::2] == (8, module.width)
    assert tokens.present.all() and tokens.pooled().isfinite().all()


def test_rows_do_not_see_each_other(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths)
    together = read(module, tokens)
    for i in range(8):
        torch.testing.assert_close(read(module, of(tokens, [i])), together[[i]], atol=1e-5, rtol=1e-5)
    order = torch.randperm(8)
    torch.testing.assert_close(read(module, of(tokens, order)), together[order], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("fill", [0.0, 1e3])
def test_padding_is_not_seen(fusion: Fusion, widths: dict[str, int], fill: float) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths)
    torch.testing.assert_close(read(module, padded(tokens, 7, fill)), read(module, tokens), atol=1e-5, rtol=1e-5)


def test_a_missing_value_is_not_a_zero(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths)
    zeros = {name: Tokens(t.x_BLD, torch.ones_like(t.mask_BL), t.pool) for name, t in tokens.items()}
    assert not torch.allclose(read(module, of(tokens, [0])), read(module, of(zeros, [0])), atol=1e-3)


@pytest.mark.parametrize("length", [1, 4], ids=["vectors", "sequences"])
def test_any_inputs_may_be_missing(fusion: Fusion, widths: dict[str, int], length: int) -> None:
    """The same row without some of its inputs, in every combination, is a different one each time, and none is infinite."""
    module, generator = made(fusion, widths).eval(), torch.Generator().manual_seed(0)
    present = torch.tensor(list(itertools.product([True, False], repeat=len(widths))))
    row = {name: torch.randn(1, length, width, generator=generator).expand(len(present), -1, -1) for name, width in widths.items()}
    some = {name: Tokens(x, torch.ones(x.shape[:2], dtype=torch.bool)).only(present[:, i]) for i, (name, x) in enumerate(row.items())}
    said = read(module, some)
    assert said.isfinite().all()
    apart = (said[:, None] - said).abs().amax(2) + torch.eye(len(said))
    assert apart.min() > 1e-3


def test_weights_tell_what_is_read(fusion: Fusion, widths: dict[str, int]) -> None:
    tokens = streams(widths)
    fused = made(fusion, widths).eval()(tokens)
    assert isinstance(fused, Mixture) == fusion.weighs
    if isinstance(fused, Mixture):
        weights, present = torch.stack([fused.weights[name] for name in widths], 1), torch.stack([t.present for t in tokens.values()], 1)
        assert torch.equal(weights > 0, present)
        torch.testing.assert_close(weights.sum(1), present.any(1).float())


def test_inputs_that_settings_name_must_be_there(fusion: Fusion) -> None:
    values = {"data": {"from": [{"a": 1.0, "y": 1.0}]}, "inputs": {"a": "number"}, "tasks": {"t": {"kind": "regress", "target": "y"}}}
    for field in fusion.replace(**dict.fromkeys(asked(fusion), "a")).named():
        recipe.read(values | {"fusion": {"kind": fusion.kind, field: "a"}})
        with pytest.raises(Mistake, match=rf"fusion\.{field}: there is no input 'b'"):
            recipe.read(values | {"fusion": {"kind": fusion.kind, field: "b"}})


def asked(fusion: Fusion) -> list[str]:
    """Settings that may name an input."""
    return [field.name for field in dataclasses.fields(fusion) if field.type == "str | None"]


def test_each_input_makes_a_difference(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths, rows=12)
    whole = of(tokens, slice(len(widths), -1))
    for name in widths:
        t = whole[name]
        other = whole | {name: Tokens(t.x_BLD + torch.randn(t.x_BLD.shape) * t.mask_BL[..., None], t.mask_BL, t.pool)}
        assert (read(module, other) - read(module, whole)).abs().amax(1).min() > 1e-4, name
        gone = whole | {name: t.only(torch.zeros(len(t.x_BLD), dtype=torch.bool))}
        assert (read(module, gone) - read(module, whole)).abs().amax(1).min() > 1e-4, name


def test_gradients_reach_every_weight_and_every_input(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths)
    for t in tokens.values():
        t.x_BLD.requires_grad_()
    module(tokens).pooled().square().sum().backward()
    assert [n for n, p in module.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []
    for t in tokens.values():
        assert t.x_BLD.grad is not None
        reached = t.x_BLD.grad.abs().sum(2) > 0
        assert not reached[~t.mask_BL].any() and reached[t.mask_BL].all()


def test_rows_that_lack_nothing_leave_stand_ins_alone(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), of(streams(widths, rows=12), slice(len(widths), -1))
    module(tokens).pooled().square().sum().backward()
    for name, parameter in module.named_parameters():
        if "stand_in" in name:
            assert parameter.grad is None or not parameter.grad.any()


def test_hiding_teaches_stand_ins_in_training_only(fusion: Fusion) -> None:
    tokens = of(streams(WIDTHS, rows=64), slice(3, -1))  # so many that of each input some row lacks nothing else
    module = made(fusion.replace(hide=0.5, dropout=0.0), WIDTHS)
    module.train()(tokens).pooled().square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for n, p in module.named_parameters() if "stand_in" in n)
    assert not torch.equal(read(module, tokens), read(module, tokens))
    assert torch.equal(read(module.eval(), tokens), read(module, tokens))
    one = dict(list(WIDTHS.items())[:1])
    module, tokens = made(fusion.replace(hide=0.9, dropout=0.0), one), of(streams(one), slice(1, -1))
    torch.testing.assert_close(read(module.train(), tokens), read(module.eval(), tokens))


def test_without_chance_training_reads_as_prediction_does(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion.replace(hide=0.0, dropout=0.0), widths), streams(widths)
    torch.testing.assert_close(read(module.train(), tokens), read(module.eval(), tokens), atol=1e-6, rtol=1e-6)


def test_a_seed_decides_everything(fusion: Fusion, widths: dict[str, int]) -> None:
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        found.append(read(fusion.module(widths).train(), streams(widths)))
    assert torch.equal(*found)


def test_weights_fit_a_second_module(fusion: Fusion, widths: dict[str, int]) -> None:
    first, second = made(fusion, widths).eval(), made(fusion, widths, seed=1).eval()
    assert first.state_dict().keys() == dict(second.named_parameters()).keys()
    second.load_state_dict(first.state_dict())
    assert torch.equal(read(first, streams(widths)), read(second, streams(widths)))


def test_half_precision_is_near(fusion: Fusion, widths: dict[str, int]) -> None:
    module, tokens = made(fusion, widths).eval(), streams(widths)
    with torch.autocast("cpu", torch.bfloat16):
        half = read(module, tokens).float()
    torch.testing.assert_close(half, read(module, tokens), atol=0.15, rtol=0.1)


def test_two_inputs_are_read_together(fusion: Fusion) -> None:
    """The exclusive or of two inputs, which no sum of what each says alone can give, and so not `late`."""
    torch.manual_seed(0)
    bits = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(8, 1)
    vectors = torch.randn(2, 2, 8)
    mask = torch.ones(len(bits), 1, dtype=torch.bool)
    tokens = {name: Tokens(vectors[i, bits[:, i].long()][:, None], mask) for i, name in enumerate(("left", "right"))}
    module = fusion.replace(width=32, dropout=0.0, hide=0.0).module({"left": 8, "right": 8})
    head = nn.Linear(module.width, 1)
    learner = torch.optim.Adam([*module.parameters(), *head.parameters()], 0.005)
    for _ in range(120):
        learner.zero_grad()
        said = head(module(tokens).pooled())[:, 0]
        nn.functional.binary_cross_entropy_with_logits(said, bits.sum(1) % 2).backward()
        learner.step()
    assert ((said > 0) == (bits.sum(1) == 1)).all() == (fusion.kind != "late")
