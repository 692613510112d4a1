import time
from dataclasses import replace

import pytest
import torch

from omnitune.data.batches import Batches
from omnitune.errors import Mistake
from omnitune.training import optim
from omnitune.training.loop import Loop
from omnitune.training.step import Step
from runs import ready, rows, table_recipe

WEIGHTS = {"class": 1.0, "value": 1.0}
STILL = ("fusion.dropout=0", "fusion.hide=0", "tasks.class.dropout=0", "tasks.value.dropout=0")
"""No chance in a forward pass, so that parts of a batch can be compared with the whole."""


def looped(*overrides: str, validate=None, higher=False, table=None) -> tuple[Loop, list[Step]]:
    recipe = table_recipe(table or rows(), *STILL, *overrides)
    model, prepared = ready(recipe)
    train = prepared.recipe.train
    loop = Loop(model, prepared.batches("train", train.batch, train.seed), train, WEIGHTS, validate, higher)
    return loop, list(loop)


def weights(loop: Loop) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in loop.model.learning().items()}


def test_training_lowers_both_losses() -> None:
    _, steps = looped("train.epochs=8")
    first, last = steps[0].losses, steps[-1].losses
    assert last["class"] < 0.7 * first["class"] and last["value"] < 0.7 * first["value"]
    assert steps[-1].last and not steps[0].last


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not() -> None:
    first, second, other = (weights(looped(f"train.seed={seed}")[0]) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_accumulated_gradients_equal_those_of_the_large_batch() -> None:
    whole, parts = (looped("train.epochs=1", "train.optimizer=sgd", f"train.micro_batch={m}")[0] for m in (16, 3))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-6, atol=1e-6)


def test_rows_without_an_answer_do_not_change_accumulation() -> None:
    table = rows()
    for row in table[::3]:
        row["value"] = None
    whole, parts = (looped("train.epochs=1", "train.optimizer=sgd", f"train.micro_batch={m}", table=table)[0] for m in (16, 5))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, rtol=1e-6, atol=1e-6)


def test_memory_that_ends_halves_the_micro_batch_and_loses_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = table_recipe(rows(), *STILL, "train.epochs=1", "train.optimizer=sgd")
    model, prepared = ready(recipe)
    losses = model.losses

    def small(question, *read):  # stands for a device with room for five rows
        if len(question.rows) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(question, *read)

    monkeypatch.setattr(model, "losses", small)
    loop = Loop(model, prepared.batches("train", 16, 0), prepared.recipe.train, WEIGHTS)
    steps = list(loop)
    assert {step.micro_batch for step in steps} == {4}
    whole, _ = looped("train.epochs=1", "train.optimizer=sgd")
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(loop)[name], value, rtol=1e-6, atol=1e-6)


def test_a_loss_that_is_not_finite_stops_the_run_naming_step_and_rows() -> None:
    with pytest.raises(Mistake, match=r"train step \d+: the (loss|gradient).* rows \d+, ") as caught:
        looped("train.epochs=20", "train.head_lr=1e30", "train.warmup=0", "train.clip=0", "train.optimizer=sgd")
    assert "Lower train.lr" in str(caught.value)


def test_early_stopping_keeps_the_best_round() -> None:
    scores = iter([3.0, 1.0, 2.0, 2.5, 9.0, 9.0])
    loop, steps = looped("train.epochs=6", "train.patience=2", validate=lambda: {"loss": next(scores)})
    rounds = [step for step in steps if step.validation]
    assert [r.validation["loss"] for r in rounds] == [3.0, 1.0, 2.0, 2.5]
    assert loop.progress.best == [(-1.0, rounds[1].step)]
    assert "no progress in loss" in loop.progress.stopped


def test_early_stopping_watches_any_metric_in_its_direction() -> None:
    scores = iter([0.5, 0.9, 0.8])
    loop, _ = looped("train.epochs=3", "train.stop_on=class.accuracy", validate=lambda: {"loss": 0.0, "class.accuracy": next(scores)}, higher=True)
    assert loop.progress.best[0][0] == 0.9


def test_an_unknown_metric_to_stop_on_is_a_mistake_before_training() -> None:
    from omnitune.evaluation.validate import Validate

    validate = Validate(*ready(table_recipe(rows(60))))
    with pytest.raises(Mistake, match=r"train.stop_on: 'class.acuracy' is not measured. Did you mean 'class.accuracy'\?"):
        validate.known([("train.stop_on", "class.acuracy")])


def test_the_average_of_the_best_rounds_is_the_mean_of_their_weights() -> None:
    scores = iter([3.0, 1.0, 2.0])
    loop, _ = looped("train.average=2", validate=lambda: {"loss": next(scores)})
    best, average = loop.candidates()
    (_, first), (_, second) = loop.progress.best
    for name in best:
        torch.testing.assert_close(average[name], (loop.kept[first][name] + loop.kept[second][name]) / 2)


def test_a_budget_in_minutes_ends_the_run_and_its_schedule() -> None:
    loop, steps = looped("train.epochs=100000", "train.minutes=0.02")
    assert "minutes are over" in loop.progress.stopped
    assert steps[-1].progress == 1.0 and steps[-2].lr < 0.2 * max(step.lr for step in steps)


def test_restoring_a_state_goes_on_bit_for_bit() -> None:
    def loop(seed: int) -> Loop:
        model, prepared = ready(table_recipe(rows(), "train.average=2", f"train.seed={seed}"))
        train = prepared.recipe.train.replace(seed=0)
        return Loop(model, prepared.batches("train", 16, 0), train, WEIGHTS, lambda: {"loss": 1.0})

    whole = list(loop(0))
    for step in loop(0):
        if step.step == 14:
            tensors, facts = step.state()
            tensors = {name: t.detach().clone() for name, t in tensors.items()}
            break
    other = loop(5)
    other.restore(tensors, facts)
    rest = list(other)
    assert [s.losses for s in rest] == [s.losses for s in whole[14:]]
    assert [(s.lr, s.norm, s.epoch) for s in rest] == [(s.lr, s.norm, s.epoch) for s in whole[14:]]


@pytest.mark.parametrize("name", ["adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "asgd", "nadam", "radam", "rmsprop", "rprop", "sgd"])
def test_every_optimizer_moves_the_weights_and_survives_a_checkpoint(name: str) -> None:
    model, prepared = ready(table_recipe(rows(48), f"train.optimizer={name}", "train.epochs=1"))
    before = {n: p.detach().clone() for n, p in model.learning().items()}
    loop = Loop(model, prepared.batches("train", 16, 0), prepared.recipe.train, WEIGHTS)
    steps = list(loop)
    assert any(not torch.equal(before[n], p) for n, p in model.learning().items())
    loop.restore(*steps[-1].state())


def test_biases_and_norms_are_spared_weight_decay() -> None:
    loop, _ = looped("train.epochs=1", "train.weight_decay=0.5")
    decay = {id(p): group["weight_decay"] for group in loop.optimizer.param_groups for p in group["params"]}
    for p in loop.model.learning().values():
        assert decay[id(p)] == (0.5 if p.ndim > 1 else 0.0)


@pytest.mark.parametrize("name", sorted(optim.NAMES))
def test_weight_decay_is_apart_from_the_gradient(name: str) -> None:
    model, prepared = ready(table_recipe(rows(48), f"train.optimizer={name}", "train.weight_decay=0.5", "train.head_lr=0.1"))
    made = optim.optimizer(model, prepared.recipe.train)
    before = {n: p.detach().clone() for n, p in model.learning().items()}
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optim.step(made)
    rate = 0.1 if name != "adafactor" else None  # its own rate is relative
    for n, p in model.learning().items():
        if p.ndim < 2:
            torch.testing.assert_close(p.detach(), before[n])
        elif rate:
            torch.testing.assert_close(p.detach(), before[n] * (1 - rate * 0.5))
        else:
            assert (p.detach().abs() <= before[n].abs()).all()


def test_the_schedule_warms_up_and_falls_to_zero() -> None:
    from omnitune.training.optim import rate

    _, prepared = ready(table_recipe(rows(48)))
    train = replace(prepared.recipe.train, warmup=0.1)
    assert rate(train, 0.0, 20) == 0 and rate(train, 0.05, 20) == 0.5
    assert rate(train, 0.1, 20) == pytest.approx(1) and rate(train, 1.0, 20) == pytest.approx(0)
    assert rate(train, 0.0, 9) == 1  # the only steps of a short run are not lost to a warm-up
    assert rate(replace(train, schedule="linear"), 0.55, 20) == pytest.approx(0.5)
    assert rate(replace(train, schedule="constant"), 1.0, 20) == 1.0


def test_the_time_a_step_waits_for_its_rows_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    question = Batches.question

    def late(self: Batches, *words) -> object:
        time.sleep(0.1)
        return question(self, *words)

    monkeypatch.setattr(Batches, "question", late)
    loop, steps = looped("train.epochs=1")
    assert 0.05 * len(steps) < loop.progress.idle < loop.progress.seconds
    assert loop.state()[1]["progress"]["idle"] == loop.progress.idle  # a run that goes on counts on


def test_tasks_on_one_batch_share_one_forward_pass_a_part() -> None:
    overrides = ("train.epochs=1", "train.micro_batch=8")
    model, prepared = ready(table_recipe(rows(100), *overrides))
    passes = dict.fromkeys(model.inputs, 0)
    for name in passes:

        def count(module, given, made, name=name) -> None:
            passes[name] += 1

        model.encoders[f"{name}_"].register_forward_hook(count)
    batches = prepared.batches("train", 16, 0)
    parts = sum(-(-len(question.rows) // 8) for question in batches.epoch())
    list(Loop(model, batches, prepared.recipe.train, WEIGHTS))
    assert len(model.tasks) == 2 and set(passes.values()) == {parts}
    for balance in ("uncertainty", "gradnorm", "pcgrad"):
        passes |= dict.fromkeys(passes, 0)
        list(Loop(model, batches, prepared.recipe.train.replace(balance=balance), WEIGHTS))
        assert set(passes.values()) == {parts}, balance


def test_a_row_that_answers_no_task_is_not_read() -> None:
    table = rows(100)
    for row in table[::2]:
        row["class"] = row["value"] = None
    model, prepared = ready(table_recipe(table, "train.epochs=1"))
    read = []
    model.encoders["a_"].register_forward_hook(lambda module, given, made: read.append(len(made.x_BLD)))
    list(Loop(model, prepared.batches("train", 16, 0), prepared.recipe.train, WEIGHTS))
    answered = [row for row in prepared.parts["train"] if table[row]["class"] is not None]
    assert sum(read) == len(answered) < len(prepared.parts["train"])
