import itertools
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from omnitune.nn.cross import Cross
from omnitune.nn.fusion import Attend, Concat
from omnitune.nn.gated import Gated
from omnitune.nn.heads import ClassifyHead, LabelHead
from omnitune.nn.late import Late, with_own
from omnitune.nn.missing import hidden
from omnitune.nn.number_heads import RegressHead
from omnitune.nn.tokens import Tokens, View


def tokens(mask: torch.Tensor, width: int = 4) -> Tokens:
    torch.manual_seed(0)
    return Tokens(torch.randn(*mask.shape, width), mask).only(mask.any(1))


def test_hiding_spares_the_last_input_of_a_row() -> None:
    torch.manual_seed(0)
    present = torch.rand(4000, 4) < 0.6
    for hide in (0.1, 0.5, 0.99):
        seen = hidden(present, hide)
        assert not (seen & ~present).any()
        assert torch.equal(seen.any(1), present.any(1))
        assert torch.equal(seen[present.sum(1) == 1], present[present.sum(1) == 1])
    assert torch.equal(hidden(present, 0.0), present)


def test_hiding_hides_the_share_that_is_asked_for() -> None:
    torch.manual_seed(0)
    seen = hidden(torch.ones(50_000, 3, dtype=torch.bool), 0.2)
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


def test_cross_asks_with_the_token_that_is_pooled_and_with_all_where_they_are_averaged() -> None:
    mask = torch.tensor([[True, True, True], [True, True, False]])
    both = {"a": tokens(mask), "b": tokens(torch.ones(2, 5, dtype=torch.bool), 6)}
    module = Cross({"a": 4, "b": 6}, "a", 8, 2, 2).eval()
    mean = module(both)
    assert mean.x_BLD.shape == (2, 3, 8) and mean.pool == "mean" and torch.equal(mean.mask_BL, mask)
    for pool, at in (("first", [0, 0]), ("last", [2, 1])):
        one = module(both | {"a": Tokens(both["a"].x_BLD, mask, pool)})
        assert one.x_BLD.shape == (2, 1, 8)
        torch.testing.assert_close(one.pooled(), mean.x_BLD[torch.arange(2), at])


def test_cross_hears_of_the_others_what_it_asks_for() -> None:
    """Of two tokens of the other input, that which the query points at decides."""
    module = Cross({"a": 4, "b": 4}, "a", 4, 1, 1).eval()
    attention = module.blocks[0].attention
    with torch.no_grad():
        for layer in (attention.q, attention.out):
            layer.weight.copy_(torch.eye(4) * (50 if layer is attention.q else 1))
            layer.bias.zero_()
        attention.kv.weight.copy_(torch.eye(4).repeat(2, 1))
        attention.kv.bias.zero_()
    others = torch.eye(4)[None]
    asked = attention(torch.eye(4)[None], others, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(asked, others, atol=1e-4, rtol=0)
    hidden_away = attention(torch.eye(4)[None], others, torch.tensor([[True, False, True, True]]))
    torch.testing.assert_close(hidden_away[0, 1], torch.tensor([1, 0, 1, 1]) / 3, atol=1e-4, rtol=0)


def some(present: torch.Tensor) -> dict[str, Tokens]:
    """Three inputs of four tokens, those that are `present` (B, 3)."""
    torch.manual_seed(0)
    return {
        name: Tokens(torch.randn(len(present), 4, 6), torch.ones(len(present), 4, dtype=torch.bool)).only(present[:, i])
        for i, name in enumerate("abc")
    }


@pytest.mark.parametrize("kind", [Gated, Late, partial(Late, learn=True)])
def test_weights_of_a_row_add_up_to_one_and_a_missing_input_weighs_nothing(kind: Any) -> None:
    present = torch.tensor(list(itertools.product([True, False], repeat=3)))
    module = kind(dict.fromkeys("abc", 6), 8)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    fused = module.eval()(some(present))
    weights = torch.stack([fused.weights[name] for name in "abc"], 1)
    assert torch.equal(weights > 0, present)
    torch.testing.assert_close(weights.sum(1), present.any(1).float())
    assert fused.x_BLD.isfinite().all()


def test_the_gate_reads_the_row() -> None:
    module = Gated(dict.fromkeys("abc", 6), 8).eval()
    streams = some(torch.ones(5, 3, dtype=torch.bool))
    even = module(streams).weights["a"]
    torch.testing.assert_close(even, torch.full((5,), 1 / 3))  # before it has learned anything
    torch.nn.init.normal_(module.gate.weight)
    assert len(module(streams).weights["a"].unique()) == 5


def test_what_the_gate_turns_down_is_not_heard() -> None:
    module = Gated(dict.fromkeys("abc", 6), 8).eval()
    with torch.no_grad():
        module.gate.bias.copy_(torch.tensor([0.0, 0.0, -200.0]))
    streams = some(torch.ones(5, 3, dtype=torch.bool))
    other = streams | {"c": Tokens(torch.randn(5, 4, 6), streams["c"].mask_BL)}
    torch.testing.assert_close(module(streams).x_BLD, module(other).x_BLD)


@pytest.mark.parametrize("learn", [False, True])
def test_late_gives_the_mean_of_the_logits_of_each_input(learn: bool) -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, True]])
    module, head = Late(dict.fromkeys("abc", 6), 8, learn).eval(), ClassifyHead(8, 4).eval()
    for parameter in [*module.parameters(), *head.parameters()]:
        torch.nn.init.normal_(parameter)
    view = View({}, module(some(present)))
    logits = torch.stack([head.readout(replace(view, fused=alone)) for alone in view.fused.alone.values()], 1)
    weights = torch.stack(list(view.fused.weights.values()), 1)
    torch.testing.assert_close(head.readout(view), (weights[..., None] * logits).sum(1))
    if not learn:
        torch.testing.assert_close(weights[1], torch.tensor([0.5, 0.0, 0.5]))


TARGETS = {
    "classify": (ClassifyHead(8, 3), {"y": torch.tensor([0, 2, 1, -1])}),
    "label": (LabelHead(8, 2), {"y": torch.tensor([[0, 1], [1, -1], [0, 0], [-1, -1]])}),
    "regress": (RegressHead(8, 0.0, 1.0), {"z": torch.tensor([0.3, -1.0, 2.0, 0.0])}),
}


@pytest.mark.parametrize("task", TARGETS)
def test_each_input_learns_to_answer_alone(task: str) -> None:
    present = torch.tensor([[True, True, True], [True, False, True], [False, False, True], [True, True, True]])
    head, target = TARGETS[task]
    target = target | {"weight": torch.tensor([1.0, 2.0, 1.0, 0.0])}
    views = {own: View({}, Late(dict.fromkeys("abc", 6), 8, own=own).eval()(some(present))) for own in (0.0, 0.5)}
    plain = with_own(head, views[0.0], target)
    assert plain.sum == head.loss(views[0.0], target).sum
    view = views[0.5]
    expected = head.loss(view, target).sum
    for i, tokens in enumerate(view.fused.alone.values()):
        for row in range(4):
            if present[row, i]:
                one = {name: t[[row]] for name, t in target.items()}
                expected = expected + 0.5 / 3 * head.loss(View({}, Tokens(tokens.x_BLD[[row]], tokens.mask_BL[[row]], "first")), one).sum
    found = with_own(head, view, target)
    torch.testing.assert_close(found.sum, expected)
    assert found.count == 4
