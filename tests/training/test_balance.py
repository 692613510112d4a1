import itertools
import math
from pathlib import Path

import pytest
import torch

from checkpoints import tiny_bert
from omnitune.commands.fit import fit
from omnitune.errors import Mistake
from omnitune.recipe import read
from omnitune.training import balance
from omnitune.training.balance import projected
from omnitune.training.loop import Loop
from omnitune.training.model import tune
from omnitune.training.trials import refusal
from runs import ready, rows, table_recipe

STILL = ("fusion.dropout=0", "fusion.hide=0", "tasks.class.dropout=0", "tasks.value.dropout=0")
LEARNED = ("uncertainty", "gradnorm", "pcgrad")
WEIGHTS = {"class": 1.0, "value": 0.5}
PLAIN = ("train.optimizer=sgd", "train.schedule=constant", "train.warmup=0", "train.epochs=1", "train.weight_decay=0", "train.clip=0")


def loop_of(*overrides: str, table=None) -> Loop:
    recipe = table_recipe(table or rows(), *STILL, *overrides)
    model, prepared = ready(recipe)
    train = prepared.recipe.train
    return Loop(model, prepared.batches("train", train.batch, train.seed), train, WEIGHTS)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in loop.model.learning().items()}


def with_gaps() -> list[dict]:
    table = rows()
    for i, row in enumerate(table):
        row["value" if i % 3 else "class"] = None
    return table


class Plain:
    """The same training written out: whole batches, gradients by plain autograd, momentum by hand; `gradients` is the paper's part."""

    def __init__(self, *overrides: str, table=None) -> None:
        self.loop = loop_of(*overrides, table=table)
        self.model, self.moments, self.own = self.loop.model, {}, None
        self.model.train()

    def losses(self, question) -> list[torch.Tensor]:
        found = self.model.losses(question)
        return [WEIGHTS[task] * found[task].mean for task in WEIGHTS]

    def step(self, values: dict[str, torch.nn.Parameter], gradients: dict[str, torch.Tensor], rate: float) -> None:
        for name, gradient in gradients.items():
            self.moments[name] = gradient if name not in self.moments else 0.9 * self.moments[name] + gradient
            with torch.no_grad():
                values[name] -= rate * self.moments[name]

    def run(self, learn) -> dict[str, torch.Tensor]:
        for question in self.loop.batches.epoch():
            learn(self, question)
        return weights(self.loop)


def each(model, losses) -> list[dict[str, torch.Tensor]]:
    """The gradient of each loss, zero where there is none."""
    found, named = [], model.learning()
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(named.values()), retain_graph=True, allow_unused=True)
        found.append({n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(named.items(), gradients, strict=True)})
    return found


def below(gradients: dict[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([g.reshape(-1) for n, g in gradients.items() if not n.startswith("heads.")])


def kendall(plain: Plain, question) -> None:
    if plain.own is None:
        plain.own = torch.zeros(2, requires_grad=True)
    raw = plain.model.losses(question)
    total = sum(w * (torch.exp(-plain.own[i]) * raw[t].mean + plain.own[i] / 2) for i, (t, w) in enumerate(WEIGHTS.items()))
    named = plain.model.learning() | {"own": plain.own}
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    plain.step(named, {n: g for n, g in zip(named, gradients, strict=True) if g is not None}, 0.01)


def chen(plain: Plain, question) -> None:
    """GradNorm with its own loss, whose gradient autograd finds, the wanted norms held constant."""
    if plain.own is None:
        plain.own = torch.ones(2, requires_grad=True)
    losses = plain.losses(question)
    gradients = each(plain.model, losses)
    raw = [float(plain.model.losses(question)[t].mean.detach()) for t in WEIGHTS]
    plain.first = getattr(plain, "first", raw)
    ratios = [now / then for now, then in zip(raw, plain.first, strict=True)]
    norms = torch.stack([plain.own[i] * below(g).norm() for i, g in enumerate(gradients)])
    wanted = norms.mean().detach() * torch.tensor([r / (sum(ratios) / 2) for r in ratios]) ** 1.5
    (own,) = torch.autograd.grad((norms - wanted).abs().sum(), plain.own)
    factors = plain.own.detach().clone()
    plain.step(plain.model.learning(), {n: factors[0] * gradients[0][n] + factors[1] * gradients[1][n] for n in gradients[0]}, 0.01)
    plain.step({"own": plain.own}, {"own": own}, 0.025)
    with torch.no_grad():
        plain.own.clamp_(min=0.01).mul_(2 / plain.own.sum())


def yu(plain: Plain, question) -> None:
    """PCGrad of two tasks, where the order of the others is no choice."""
    one, two = each(plain.model, plain.losses(question))
    dot, total = float(below(one) @ below(two)), {n: one[n] + two[n] for n in one}
    if dot < 0:
        plain.conflicts = getattr(plain, "conflicts", 0) + 1
        a, b = dot / float(below(two) @ below(two)), dot / float(below(one) @ below(one))
        total = {n: g if n.startswith("heads.") else g - a * two[n] - b * one[n] for n, g in total.items()}
    plain.step(plain.model.learning(), total, 0.01)


@pytest.mark.parametrize(("kind", "paper"), [("uncertainty", kendall), ("gradnorm", chen), ("pcgrad", yu)])
def test_each_balance_is_that_of_its_paper(kind: str, paper) -> None:
    loop, plain = loop_of(*PLAIN, f"train.balance={kind}"), Plain(*PLAIN)
    expected = plain.run(paper)
    list(loop)
    for name, value in weights(loop).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)
    if kind != "pcgrad":
        torch.testing.assert_close(loop.balance.learned.detach(), plain.own.detach(), rtol=1e-5, atol=1e-6)
        assert (plain.own - plain.own[0]).abs().max() > 1e-3
    else:
        assert plain.conflicts > 0


@pytest.mark.parametrize("kind", LEARNED)
def test_no_balance_is_that_of_another(kind: str) -> None:
    found = {}
    for one in ("static", *LEARNED):
        loop = loop_of("train.epochs=1", f"train.balance={one}")
        list(loop)
        found[one] = weights(loop)
    mine = found[kind]
    assert all(any(not torch.equal(mine[n], found[other][n]) for n in mine) for other in found if other != kind)


@pytest.mark.parametrize("kind", LEARNED)
def test_parts_of_a_batch_balance_as_the_whole_does(kind: str) -> None:
    whole, parts = (
        loop_of("train.epochs=1", f"train.balance={kind}", "train.optimizer=sgd", f"train.micro_batch={m}", table=with_gaps()) for m in (16, 3)
    )
    list(whole), list(parts)
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-5, atol=1e-6)
    for one, other in zip(whole.balance.factors().values(), parts.balance.factors().values(), strict=True):
        assert one == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("kind", LEARNED)
def test_a_run_goes_on_bit_for_bit(kind: str) -> None:
    def loop(seed: int) -> Loop:
        model, prepared = ready(table_recipe(rows(), f"train.balance={kind}", f"train.seed={seed}"))
        return Loop(model, prepared.batches("train", 16, 0), prepared.recipe.train.replace(seed=0), WEIGHTS)

    first = loop(0)
    whole = list(first)
    for step in loop(0):
        if step.step == 14:
            tensors, facts = step.state()
            tensors = {name: t.detach().clone() for name, t in tensors.items()}
            break
    other = loop(5)
    other.restore(tensors, facts)
    rest = list(other)
    assert [(s.losses, s.norm) for s in rest] == [(s.losses, s.norm) for s in whole[14:]]
    assert all(torch.equal(p, weights(other)[n]) for n, p in weights(first).items())
    assert first.balance.factors() == other.balance.factors()


def test_static_adds_the_weighted_means_up() -> None:
    loop, plain = loop_of(*PLAIN), Plain(*PLAIN)
    expected = plain.run(lambda p, q: p.step(p.model.learning(), each(p.model, [sum(p.losses(q))])[0], 0.01))
    list(loop)
    for name, value in weights(loop).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6)


def test_projected_gradients_are_those_of_the_algorithm_for_some_order() -> None:
    torch.manual_seed(0)
    gradients = torch.tensor([[1.0, 0.2, 0.0], [-1.0, 0.5, 0.3], [0.1, -1.0, 0.4]])

    def by_hand(orders) -> torch.Tensor:
        total = torch.zeros(3)
        for i, order in enumerate(orders):
            g = gradients[i].clone()
            for j in order:
                if j != i and g @ gradients[j] < 0:
                    g = g - (g @ gradients[j]) / (gradients[j] @ gradients[j]) * gradients[j]
            total = total + g
        return total

    possible = [by_hand(orders) for orders in itertools.product(itertools.permutations(range(3)), repeat=3)]
    seen = [next(i for i, p in enumerate(possible) if torch.allclose(p, projected(gradients), atol=1e-6)) for _ in range(20)]
    assert len(set(seen)) > 1  # the order is drawn


def test_without_conflict_projection_is_the_sum() -> None:
    gradients = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert torch.equal(projected(gradients), gradients.sum(0))


@pytest.mark.parametrize("kind", LEARNED)
def test_a_task_that_no_row_of_a_batch_answers_is_left_out(kind: str) -> None:
    table = rows()
    for row in table[2:]:
        row["value"] = None
    loop = loop_of("train.epochs=2", f"train.balance={kind}", "data.split=[1, 0, 0]", table=table)
    steps = list(loop)
    assert all(math.isfinite(s.norm) for s in steps) and all(math.isfinite(f) for f in loop.balance.factors().values())


@pytest.mark.parametrize("kind", LEARNED)
def test_a_task_of_weight_zero_does_not_learn(kind: str) -> None:
    table = [row | {"third": -row["a"] if row["a"] else None} for row in rows(120)]
    recipe = table_recipe(table, f"train.balance={kind}", "train.epochs=1", "tasks.third={kind: regress, target: third, weight: 0}")
    model, prepared = ready(recipe)
    before = {n: p.detach().clone() for n, p in model.head("third").named_parameters()}
    train = prepared.recipe.train
    loop = Loop(model, prepared.batches("train", train.batch, 0), train, WEIGHTS | {"third": 0.0})
    list(loop)
    assert all(torch.equal(p, before[n]) for n, p in model.head("third").named_parameters())
    assert loop.balance.factors()["third"] == 0


@pytest.mark.parametrize("kind", LEARNED)
def test_one_task_has_nothing_to_be_balanced_with(kind: str) -> None:
    values = {"data": {"from": "x.csv"}, "inputs": {"a": "number"}, "tasks": {"t": {"kind": "classify", "target": "t"}}, "train": {"balance": kind}}
    with pytest.raises(Mistake, match=r"train.balance: '\w+' balances tasks, and 1 of them learns"):
        read(values)


def test_a_task_that_compares_rows_cannot_be_balanced() -> None:
    values = {"data": {"from": "x.csv"}, "inputs": {"a": "number", "b": "number"}, "train": {"balance": "pcgrad"},
              "tasks": {"t": {"kind": "classify", "target": "t"}, "pairs": {"kind": "match", "a": "a", "b": "b"}}}  # fmt: skip
    with pytest.raises(Mistake, match=r"train.balance: 'pcgrad' takes the rows of a batch one by one, and pairs compares them"):
        read(values)
    assert read(values, ["train.balance=static"]).train.balance == "static"


def test_trials_that_are_balanced_learn_one_by_one() -> None:
    model, prepared = ready(table_recipe(rows(48), "train.balance=pcgrad"))
    assert "pcgrad" in (refusal(model, prepared.recipe) or "")


def test_a_balance_of_gradients_is_refused_where_nothing_shared_learns() -> None:
    words = ["good", "bad", "fine", "poor"]
    table = [{"text": words[i % 4] + f" {i}", "class": "ab"[i % 2], "value": float(i)} for i in range(60)]
    values = {"data": {"from": table}, "inputs": {"text": {"kind": "text", "backbone": str(tiny_bert())}}, "tuning": "probe",
              "tasks": {"class": {"kind": "classify", "target": "class"}, "value": {"kind": "regress", "target": "value"}}}  # fmt: skip
    for kind in ("gradnorm", "pcgrad"):
        model, prepared = ready(read(values, [f"train.balance={kind}"]))
        tune(model, prepared.recipe)
        with pytest.raises(Mistake, match="and probe lets none of these learn"):
            balance.check(model, prepared.recipe)


def test_every_rung_of_a_ladder_is_balanced(tmp_path: Path) -> None:
    words = ["good", "bad", "fine", "poor"]
    table = [{"text": " ".join(words[(i + k) % 4] for k in range(3)) + f" {i}", "class": "ab"[i % 2], "value": float(i % 4)} for i in range(60)]
    values = {"data": {"from": table}, "inputs": {"text": {"kind": "text", "backbone": str(tiny_bert())}}, "tuning": "auto",
              "tasks": {"class": {"kind": "classify", "target": "class"}, "value": {"kind": "regress", "target": "value"}}}  # fmt: skip
    report = fit(read(values, ["train.balance=gradnorm", "train.epochs=1"]), tmp_path / "run").report
    assert report.value("class", "accuracy") is not None
    assert report.recipe["train"]["balance"] == "gradnorm"
