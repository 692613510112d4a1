"""What a whole model keeps to, made of every modality, task and fusion that is found, trained by the real loop."""

import dataclasses
import warnings
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune.component import Component, find, kinds
from omnitune.data.prepared import Prepared, prepare
from omnitune.fusion import Fusion
from omnitune.modalities import Modality
from omnitune.recipe import Recipe
from omnitune.tasks import Task
from omnitune.training.loop import Loop
from omnitune.training.model import Model

CHECKPOINTS = {"text": checkpoints.tiny_bert, "image": checkpoints.tiny_vit}
CALM = {"dropout": 0.0, "token_dropout": 0.0, "hide": 0.0, "augment": False, "min_count": 1, "layers": 1, "width": 32}
"""Settings without chance, without values too rare to be told apart, and quick; of whatever kind has them."""
INPUTS, FUSIONS = list(kinds(Modality)), list(kinds(Fusion))
TASKS = [kind for kind in kinds(Task) if find(Task, kind).supervised]


def calm(component: Any) -> Any:
    return component.replace(**{name: value for name, value in CALM.items() if isinstance(getattr(component, name, None), type(value))})


def made(family: type[Component], kind: str, **settings: Any) -> Any:
    """A component of `kind`, its required settings the names of columns."""
    cls: Any = find(family, kind)  # type: ignore[arg-type]
    required = [f.name for f in dataclasses.fields(cls) if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING]
    return cls(**({name: f"{kind} {name}" for name in required} | settings))


def recipe(n: int, inputs: list[str], fusion: str = "concat", tasks: list[str] = TASKS, missing: str = "some", **train: Any) -> Recipe:
    """Rows of the kinds' own examples; `missing` values: none, some, of one input all, or everywhere."""
    rng = np.random.default_rng(0)
    modalities = {kind: made(Modality, kind, **({"backbone": str(CHECKPOINTS[kind]())} if kind in CHECKPOINTS else {})) for kind in inputs}
    asked = {kind: made(Task, kind) for kind in tasks}
    columns = {kind: modality.example(n, rng) for kind, modality in modalities.items()}
    if missing == "some":
        columns = {kind: [None if i % 5 == k else v for i, v in enumerate(values)] for k, (kind, values) in enumerate(columns.items())}
    if missing in columns or missing == "everywhere":
        columns |= {kind: [None] * n for kind in columns if missing in (kind, "everywhere")}
    for task in asked.values():
        columns |= task.example(n, rng)
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    settings = {"epochs": 1.0, "batch": 8, "micro_batch": 8, "lr": 1e-3, "head_lr": 1e-2, "precision": "float32"} | train
    data = {"source": rows, "split": (1.0, 0.0, 0.0)}
    return Recipe(data, modalities, asked, made(Fusion, fusion), train=settings)  # type: ignore[arg-type]


def ready(recipe: Recipe, chance: bool = False) -> tuple[Model, Prepared]:
    """The model as training starts, without chance in it unless it is asked for."""
    if not chance:
        parts = {name: {k: calm(c) for k, c in getattr(recipe, name).items()} for name in ("inputs", "tasks")}
        recipe = recipe.replace(fusion=calm(recipe.fusion), **parts)
    prepared = prepare(recipe)
    torch.manual_seed(recipe.train.seed)
    model = Model(recipe, prepared.schema)
    if not chance:
        for backbone in model.backbones.values():
            backbone.set_dropout(0.0, 0.0)
    return model, prepared


def train(model: Model, prepared: Prepared, until: float = 0.0) -> list[dict[str, float]]:
    """The losses of every step, up to one in which all are below `until`."""
    settings, weights, losses = prepared.recipe.train, dict.fromkeys(prepared.recipe.tasks, 1.0), []
    for step in Loop(model, prepared.batches("train", settings.batch, settings.seed), settings, weights):
        losses.append(step.losses)
        if max(step.losses.values()) < until:
            break
    return losses


@torch.no_grad()
def predicted(model: Model, prepared: Prepared, rows: Any) -> dict[str, torch.Tensor]:
    model.eval()
    question = prepared.batches("train", 8).question(np.asarray(rows))
    return model.predict(next(batch for batch, _ in question.asked.values()))


def test_there_are_kinds() -> None:
    assert {"text", "image", "number", "category"} <= set(INPUTS)
    assert {"classify", "label", "regress"} <= set(TASKS)
    assert {"concat", "attend", "cross", "gated", "late"} <= set(FUSIONS)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "fusion"), [(kind, fusion) for kind in INPUTS for fusion in FUSIONS if fusion == "concat" or kind == "text"])
def test_eight_rows_are_learned_by_heart(kind: str, fusion: str) -> None:
    model, prepared = ready(recipe(8, [kind], fusion, missing="none", epochs=250.0, warmup=0.1, head_lr=0.02))
    losses = train(model, prepared, until=0.002)
    assert all(losses[-1][task] < 0.02 < losses[0][task] for task in TASKS), losses[-1]
    said = predicted(model, prepared, range(8))
    for name, task in prepared.recipe.tasks.items():
        answers = prepared.table.take(task.columns()[0], range(8))
        for found, answer in zip(task.decode(said[name].numpy(), prepared.schema.tasks[name]), answers, strict=True):
            close = {"value": 0.05, "quantiles": 0.15}.get(task.form)  # the corners of a pinball loss are walked around at the rate of the step
            right = pytest.approx(answer, rel=close) if close else sorted(answer) if task.form == "labels" else answer
            assert found["value"] == right, name


@pytest.fixture(scope="module", params=FUSIONS)
def whole(request: pytest.FixtureRequest) -> tuple[Model, Prepared]:
    """A model of every input and every task."""
    model, prepared = ready(recipe(24, INPUTS, request.param))
    model.eval()
    return model, prepared


@torch.no_grad()
def test_the_loss_is_the_sum_over_any_partition(whole: tuple[Model, Prepared]) -> None:
    model, prepared = whole
    batches, rows = prepared.batches("train", 8), np.random.default_rng(1).permutation(24)
    together = model.losses(batches.question(rows))
    for cuts in ([1, 2, 3], [7, 14, 21], [11], list(range(1, 24))):
        parts = [model.losses(batches.question(part)) for part in np.split(rows, cuts)]
        for task, loss in together.items():
            torch.testing.assert_close(torch.stack([part[task].sum for part in parts]).sum(), loss.sum, rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(torch.stack([part[task].count for part in parts]).sum(), loss.count)


def test_output_i_belongs_to_input_i(whole: tuple[Model, Prepared]) -> None:
    model, prepared = whole
    order = np.random.default_rng(2).permutation(24)
    straight, shuffled = predicted(model, prepared, range(24)), predicted(model, prepared, order)
    for task, p in straight.items():
        torch.testing.assert_close(shuffled[task], p[order], rtol=1e-5, atol=1e-5)
        assert len(p.reshape(24, -1).unique(dim=0)) > 12, "rows that look alike prove nothing"


def test_tasks_of_one_batch_share_one_forward_pass(whole: tuple[Model, Prepared]) -> None:
    model, prepared = whole
    calls: Counter[str] = Counter()
    parts = dict(model.encoders.items()) | {f"backbone of {name}": b for name, b in model.backbones.items()} | {"fusion": model.fusion}
    hooks = [part.register_forward_hook(lambda *_, name=name: calls.update([name])) for name, part in parts.items()]
    question = prepared.batches("train", 8).question(np.arange(8))
    batch = next(batch for batch, _ in question.asked.values())
    assert all(other is batch for other, _ in question.asked.values())
    for ask in (model.losses, model.answers, lambda q: model.losses(q.part(2, 7)), lambda q: model.losses(q.to(torch.device("cpu")))):
        calls.clear()
        assert set(ask(question)) == set(TASKS)
        assert calls == dict.fromkeys(parts, 1)
    calls.clear()
    model.predict(batch)
    assert calls == dict.fromkeys(parts, 1)
    for hook in hooks:
        hook.remove()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_same_seed_gives_the_same_bits(fusion: str) -> None:
    def run(seed: int) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        model, prepared = ready(recipe(24, INPUTS, fusion, seed=seed), chance=True)
        return train(model, prepared), model.state_dict()

    (losses, weights), (again, same), (others, _) = run(1), run(1), run(2)
    assert losses == again and losses != others
    assert all(torch.equal(weight, same[name]) for name, weight in weights.items())


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("missing", [*INPUTS, "everywhere"])
def test_an_input_that_is_missing_in_every_row_is_borne(missing: str, fusion: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model, prepared = ready(recipe(16, INPUTS, fusion, missing=missing), chance=True)
        losses = train(model, prepared)
    assert all(np.isfinite(value) for step in losses for value in step.values())
    assert all(p.isfinite().all() for p in model.parameters())
    assert all(p.isfinite().all() for p in predicted(model, prepared, range(16)).values())


@pytest.mark.parametrize("kind", INPUTS)
def test_a_single_input_that_is_missing_everywhere_gives_what_is_usual(kind: str) -> None:
    model, prepared = ready(recipe(16, [kind], missing="everywhere"), chance=True)
    train(model, prepared)
    for p in predicted(model, prepared, range(16)).values():
        assert p.isfinite().all() and torch.equal(p, p[:1].expand_as(p))


def test_a_row_without_any_answer_teaches_nothing() -> None:
    plain = recipe(16, ["number"], missing="none")
    rows = [dict(row) for row in plain.data.source]
    for row in rows[:8]:
        row |= {column: None for task in plain.tasks.values() for column in task.columns()}
    model, prepared = ready(plain.replace(data=replace(plain.data, source=rows)))
    rest = prepared.batches("train", 8)
    with torch.no_grad():
        model.eval()
        some, all_ = model.losses(rest.question(np.arange(8, 16))), model.losses(rest.question(np.arange(16)))
    for task in TASKS:
        torch.testing.assert_close(all_[task].mean, some[task].mean)
