"""What every task with answers keeps to, run over every kind that is found. A new file in `tasks/` is tested here before its author writes a test."""

import copy
import dataclasses
import itertools
import json
from typing import Any

import numpy as np
import pytest
import torch

from omnitune import yaml_files
from omnitune.component import any_of, find, kinds
from omnitune.errors import Mistake
from omnitune.nn.metrics import like
from omnitune.nn.ranking import figures
from omnitune.nn.tokens import Batch, Tokens, View
from omnitune.settings import read_settings, settings
from omnitune.tasks import Task

WIDTH = 24


@settings
class Holder:
    """A field that takes any task."""

    task: any_of(Task)  # type: ignore[valid-type]


def example(kind: str) -> Task:
    """A task of `kind` with nothing set but what must be, columns."""
    cls = find(Task, kind)
    return cls(**{f.name: "answer" for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING})


@pytest.fixture(params=[kind for kind in kinds(Task) if find(Task, kind).supervised])
def task(request: pytest.FixtureRequest) -> Task:
    return example(request.param)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def batch(n: int) -> Batch:
    return Batch({"x": {"present": torch.ones(n, dtype=torch.bool)}}, np.arange(n))


def view(n: int, seed: int = 0) -> View:
    x = torch.randn(n, 1, WIDTH, generator=torch.Generator().manual_seed(seed))
    return View({}, Tokens(x, torch.ones(n, 1, dtype=torch.bool), "first"))


def rows(columns: dict[str, list[Any]], chosen: Any) -> dict[str, list[Any]]:
    return {column: [answers[i] for i in chosen] for column, answers in columns.items()}


def part(seen: View, chosen: Any) -> View:
    return View({}, Tokens(seen.fused.x_BLD[chosen], seen.fused.mask_BL[chosen], seen.fused.pool))


def question(task: Task, n: int) -> tuple[dict[str, Any], dict[str, torch.Tensor], dict[str, list[Any]]]:
    columns = task.example(n, rng())
    facts = task.learn(columns)
    return facts, task.prepare(batch(n), columns, facts, None)[1], columns


def test_settings_survive_yaml(task: Task) -> None:
    written = yaml_files.write({"task": task.to_dict()})
    assert read_settings(Holder, yaml_files.parse(written, "recipe")).task == task


def test_an_unknown_setting_is_refused(task: Task) -> None:
    with pytest.raises(Mistake, match="unexpected field"):
        read_settings(Holder, {"task": task.to_dict() | {"wieght": 1}})


def test_facts_are_json_and_of_what_was_given_only(task: Task) -> None:
    columns = task.example(64, rng())
    given = copy.deepcopy(columns)
    facts = task.learn(columns)
    assert columns == given
    assert json.loads(json.dumps(facts)) == facts
    assert task.learn(columns) == facts
    assert set(columns) == set(task.columns())


def test_facts_do_not_need_a_list(task: Task) -> None:
    class Walked:
        """A column that may only be walked through, as one that does not fit in memory."""

        def __init__(self, answers: list[Any]) -> None:
            self.answers = answers

        def __iter__(self) -> Any:
            return iter(self.answers)

    columns = task.example(64, rng())
    assert task.learn({c: Walked(a) for c, a in columns.items()}) == task.learn(columns)  # type: ignore[misc]


def test_no_answer_at_all_is_a_mistake(task: Task) -> None:
    for n in (0, 5):
        with pytest.raises(Mistake, match="no training row has an answer"):
            task.learn({column: [None] * n for column in task.columns()})


def test_one_answer_only_is_a_mistake(task: Task) -> None:
    columns = rows(task.example(8, rng()), [0] * 20)
    with pytest.raises(Mistake, match=r"all .*training rows"):
        task.learn(columns)


def test_examples_pass_the_check(task: Task) -> None:
    for answers in task.example(64, rng()).values():
        assert [task.check(value) for value in answers if value is not None] == [None] * sum(v is not None for v in answers)


@pytest.mark.parametrize("value", [b"bytes", {"a": 1}, float("inf"), float("-inf"), object()])
def test_what_cannot_be_an_answer_is_said(task: Task, value: Any) -> None:
    problem = task.check(value)
    assert isinstance(problem, str) and problem


def test_the_batch_comes_back_untouched(task: Task) -> None:
    columns = task.example(16, rng())
    asked = batch(16)
    same, target = task.prepare(asked, columns, task.learn(columns), None)
    assert same is asked
    assert all(len(tensor) == 16 for tensor in target.values())
    assert target["weight"].dtype == torch.float32


def test_a_missing_answer_weighs_nothing(task: Task) -> None:
    facts, _, columns = question(task, 16)
    for hole in (None, float("nan")):
        if isinstance(next(iter(columns.values()))[0], list) and hole is not None:
            continue
        holed = {column: [hole, *answers[1:]] for column, answers in columns.items()}
        target = task.prepare(batch(16), holed, facts, None)[1]
        assert target["weight"][0] == 0
        head, seen = task.head(WIDTH, facts, {}).eval(), view(16)
        whole, rest = head.loss(seen, target), head.loss(part(seen, slice(1, None)), {k: t[1:] for k, t in target.items()})
        torch.testing.assert_close(whole.sum, rest.sum)
        assert whole.count == rest.count


def test_a_batch_without_answers_has_a_loss_of_zero(task: Task) -> None:
    facts, _, _ = question(task, 16)
    target = task.prepare(batch(3), {column: [None] * 3 for column in task.columns()}, facts, None)[1]
    loss = task.head(WIDTH, facts, {}).loss(view(3), target)
    loss.sum.backward()
    assert loss.sum == 0 and loss.count == 0 and loss.mean == 0


def test_the_loss_is_exact_however_rows_are_grouped(task: Task) -> None:
    facts, target, _ = question(task, 32)
    head, seen = task.head(WIDTH, facts, {}).eval(), view(32)
    whole = head.loss(seen, target)
    for cuts in ([0, 32], [0, 1, 2, 3, 32], [0, 7, 14, 21, 28, 32]):
        pieces = [slice(a, b) for a, b in itertools.pairwise(cuts)]
        losses = [head.loss(part(seen, p), {k: t[p] for k, t in target.items()}) for p in pieces]
        torch.testing.assert_close(torch.stack([loss.sum for loss in losses]).sum(), whole.sum, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(torch.stack([loss.count for loss in losses]).sum(), whole.count)
    assert whole.count == target["weight"].sum()


def test_output_i_belongs_to_input_i(task: Task) -> None:
    facts, _, _ = question(task, 32)
    head, seen, order = task.head(WIDTH, facts, {}).eval(), view(32), rng().permutation(32)
    with torch.no_grad():
        straight, shuffled = head.predict(seen), head.predict(part(seen, order))
    torch.testing.assert_close(shuffled, straight[order])
    decoded = task.decode(straight.numpy(), facts)
    assert [task.decode(straight[i : i + 1].numpy(), facts)[0] for i in range(32)] == decoded


def test_predictions_have_the_form_that_is_promised(task: Task) -> None:
    facts, _, _ = question(task, 32)
    with torch.no_grad():
        p = task.head(WIDTH, facts, {}).eval().predict(view(5))
    assert p.dtype == torch.float32 and len(p) == 5
    if like(task.form) == "classes":
        torch.testing.assert_close(p.sum(1), torch.ones(5))
    assert p.ndim == (1 if task.form == "value" else 2)
    assert like(task.form) in ("value", "ranks") or bool(((p >= 0) & (p <= 1)).all())
    decoded = task.decode(p.numpy(), facts)
    assert len(decoded) == 5 and task.decode(p[:0].numpy(), facts) == []
    assert json.loads(json.dumps(decoded)) == decoded


def test_the_first_step_claims_little(task: Task) -> None:
    facts, target, _ = question(task, 64)
    torch.manual_seed(0)
    assert 0.1 < task.head(WIDTH, facts, {}).eval().loss(view(64), target).mean < 2.0


def test_halves_of_precision_do_not_reach_the_loss(task: Task) -> None:
    facts, target, _ = question(task, 16)
    head, seen = task.head(WIDTH, facts, {}).eval(), view(16)
    plain = head.loss(seen, target)
    with torch.autocast("cpu", torch.bfloat16):
        loss, p = head.loss(seen, target), head.predict(seen)
    assert loss.sum.dtype == p.dtype == torch.float32
    torch.testing.assert_close(loss.sum, plain.sum)


def test_eight_rows_are_learned_by_heart(task: Task) -> None:
    facts, target, columns = question(task, 8)
    torch.manual_seed(0)
    head, seen = task.head(WIDTH, facts, {}), view(8)
    for module in head.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    learner = torch.optim.Adam(head.parameters(), 0.1)
    for i in range(150):
        learner.param_groups[0]["lr"] = 0.1 * (1 - i / 150)  # a loss with corners is walked around at one rate
        learner.zero_grad()
        loss = head.loss(seen, target).mean
        loss.backward()
        learner.step()
    assert loss < 0.01
    with torch.no_grad():
        said = [answer["value"] for answer in task.decode(head.eval().predict(seen).numpy(), facts)]
    for value, answer in zip(said, columns[task.columns()[0]], strict=True):
        assert value == (pytest.approx(answer, rel=0.01) if like(task.form) == "value" else sorted(answer) if task.form == "labels" else answer)


def told(task: Task, facts: dict[str, Any], y: np.ndarray, said: np.ndarray) -> np.ndarray:
    """What metrics are made of, where `said` are the answers of a model that is certain."""
    if task.form == "ranks":
        return figures(torch.eye(len(facts["items"]))[said], torch.from_numpy(y)).numpy()
    if task.form == "quantiles":
        return np.tile(said.astype(np.float32)[:, None], len(facts["levels"]))
    return np.eye(len(facts["classes"]), dtype=np.float32)[said] if like(task.form) == "classes" else said.astype(np.float32)


def test_metrics_see_the_difference_between_right_and_wrong(task: Task) -> None:
    facts, target, _ = question(task, 60)
    known = target["weight"] > 0
    y = target["y"][known].numpy()
    for name, metric in task.metrics(facts).items():
        best, worse = (metric.compute(y, told(task, facts, y, said)) for said in (y, np.roll(y, 1, axis=0)))
        if name in ("coverage@10", "hit_rate@10", "hit_rate@50"):  # of lists as long as there are items
            assert best == worse == 1
        elif name == "width":  # of an interval, which a certain model has none of
            assert best == worse == 0
        else:
            assert best > worse if metric.higher_is_better else best < worse, name


def test_weights_and_answers_are_the_same_each_time(task: Task) -> None:
    facts, target, columns = question(task, 16)
    again = task.prepare(batch(16), columns, facts, rng(7))[1]
    assert all(torch.equal(t.nan_to_num(), again[k].nan_to_num()) for k, t in target.items())
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(task.head(WIDTH, facts, {}).state_dict())
    assert all(torch.equal(a, states[1][k]) for k, a in states[0].items())
    assert task.unseen(columns, facts) == 0
