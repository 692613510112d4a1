"""The ladder of `tuning: auto`: each rung starts from the best so far, nothing ends worse than the probe, time is kept, and a kill loses nothing."""

import csv
import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import checkpoints
from omnitune.artifact import load
from omnitune.commands.fit import fit
from omnitune.data import store
from omnitune.errors import Mistake
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe, read
from omnitune.training import auto, ladder
from omnitune.training.ladder import Ladder
from omnitune.training.loop import Loop
from omnitune.training.model import tune
from omnitune.training.prefix import Frozen
from omnitune.tuning import Tuning
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA
from runs import ready, table_recipe, write_csv
from runs import rows as plain_rows

KILL = Path(__file__).parents[1] / "commands" / "kill.py"
GOOD, BAD, OTHER = ["lovely", "well", "love", "soft"], ["cheap", "poor", "small", "shrank"], ["this", "dress", "fits", "the", "fabric", "one"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "folder", lambda: tmp_path / "kept")


def rows(n: int = 160) -> list[dict[str, str]]:
    rng = random.Random(0)
    made = []
    for i in range(n):
        good = rng.random() < 0.5
        words = [*rng.choices(OTHER, k=5), rng.choice(GOOD if good else BAD), str(i)]
        made.append({"x": " ".join(words), "y": "yes" if good else "no"})
    return made


def recipe(*overrides: str, source: Any = None, backbone: Path | None = None, kind: str = "text") -> Recipe:
    values = {
        "data": {"from": source or rows(), "split": [0.6, 0.2, 0.2]},
        "inputs": {"x": {"kind": kind, "backbone": str(backbone or checkpoints.tiny_bert())}},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
        "tuning": "auto",
        "train": {"epochs": 2, "batch": 16, "lr": 1e-3},
    }
    return read(values, overrides)


def climber(asked: Recipe, validate: Any = None, **more: Any) -> tuple[Ladder, Validate]:
    model, prepared = ready(asked)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    measured = Validate(model, frozen.prepared)
    return Ladder(frozen, validate or measured, False, **more), measured


def results(climbed: Ladder) -> dict[str, str]:
    return {rung["rung"]: rung["result"] for rung in climbed.climb.rungs}


class Watched(Loop):
    """A loop that remembers where it started."""

    made: list["Watched"]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.start = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.made.append(self)


@pytest.fixture
def loops(monkeypatch: pytest.MonkeyPatch) -> list[Watched]:
    Watched.made = []
    monkeypatch.setattr(ladder, "Loop", Watched)
    return Watched.made


def same(some: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, others[name]) for name, tensor in some.items())


# Where rungs start, and what is kept


def scripted(*losses: float) -> Any:
    left = list(losses)
    return lambda: {"loss": left.pop(0)}


def test_a_rung_starts_from_the_best_round_of_those_before(loops: list[Watched]) -> None:
    """Of the probe the first round is the best, of the second rung none, so the third starts where the second did."""
    climbed, _ = climber(recipe("train.minutes=9", "tuning.top=full"), scripted(0.5, 0.6, 0.7, 0.8, 0.9, 0.4, 0.3, 0.9))
    steps = list(climbed)
    probe, upper, top = loops
    heads = probe.candidates()[0]
    assert not same(heads, probe.start) and not same(heads, probe.model.learning()), "neither where it started nor where it ended"
    assert same(heads, upper.start) and same(upper.start, top.start) and same(top.start, upper.start)
    assert results(climbed) == {"probe": "the best so far", "freeze": "no better", "full": "the best so far"}
    assert same(top.candidates()[0], dict(climbed.model.named_parameters()))
    assert climbed.climb.winner == "full"
    assert [step.step for step in steps] == list(range(1, len(steps) + 1))
    assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].epoch == 6.0 and steps[-1].progress == 1.0


@pytest.mark.parametrize("averaged", [0.35, 0.45])
def test_the_average_of_the_rungs_is_kept_where_validation_agrees(averaged: float, loops: list[Watched]) -> None:
    climbed, _ = climber(recipe("train.epochs=1"), scripted(0.5, 0.4, averaged, 0.6, 0.6))
    list(climbed)
    probe, upper = loops[0].candidates()[0], loops[1].candidates()[0]
    wanted = {name: (upper[name] + probe.get(name, loops[1].start[name])) / 2 for name in upper} if averaged < 0.4 else upper
    for name, tensor in dict(climbed.model.named_parameters()).items():
        if name in wanted:
            torch.testing.assert_close(tensor.detach(), wanted[name])
    assert climbed.climb.winner == ("average up to freeze" if averaged < 0.4 else "freeze")


@pytest.mark.parametrize("rate", [1e-3, 1.0])
def test_nothing_ends_worse_on_validation_than_the_probe(rate: float) -> None:
    """Also where the upper rungs learn at a rate that breaks the model."""
    climbed, validate = climber(recipe(f"train.lr={rate}", "train.minutes=9"))
    list(climbed)
    climbed.put(climbed.candidates()[0])
    probe = climbed.climb.rungs[0]["validation"]["loss"]
    assert validate()["loss"] <= probe + 1e-6
    lowest = min(rung["validation"]["loss"] for rung in climbed.climb.rungs if "seconds" in rung)
    assert validate()["loss"] == pytest.approx(lowest, abs=1e-6)


def test_without_minutes_a_rung_that_brought_nothing_is_the_last() -> None:
    climbed, _ = climber(recipe("train.epochs=1"), scripted(0.5, 0.6, 0.7))
    list(climbed)
    assert results(climbed) == {"probe": "the best so far", "freeze": "no better", "full": "not begun: the rung before it brought nothing"}


def test_without_minutes_rungs_that_learn_follow_each_other_and_wait_two_rounds() -> None:
    climbed, _ = climber(recipe("train.epochs=5"), scripted(0.9, 0.5, 0.6, 0.7, 0.8, 0.4, 0.5, 0.6, 0.7, 0.3, 0.4, 0.5, 0.6))
    list(climbed)
    assert results(climbed) == dict.fromkeys(("probe", "freeze", "full"), "the best so far")
    assert [rung["epochs"] for rung in climbed.climb.rungs] == [5, 3, 3], "the probe, whose epochs cost nothing, has all of them"


def test_without_validation_rows_the_last_rung_stays(tmp_path: Path) -> None:
    run = fit(recipe("data.split=[0.8, 0, 0.2]", "train.epochs=1"), tmp_path / "run")
    assert run.lineage["rung"] == "full" and "lora" not in str(run.report.cost["rungs"])


# Time


class Clock:
    """Time passes only where a model computes: one second a forward pass of 16 rows, two more where gradients are asked for."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def count(self, model: Any) -> None:
        losses, answers = model.losses, model.answers

        def slow(question: Any, *read: Any) -> Any:
            self.now += len(question.rows) / 16 * (3 if torch.is_grad_enabled() else 1)
            return losses(question, *read)

        def slow_answers(question: Any) -> Any:
            self.now += len(question.rows) / 16
            return answers(question)

        model.losses, model.answers = slow, slow_answers


@pytest.mark.parametrize("minutes", [0.01, 0.1, 0.5, 1, 2, 4, 9])
def test_time_is_kept_up_to_one_round_of_validation(minutes: float) -> None:
    clock = Clock()
    climbed, _ = climber(recipe(f"train.minutes={minutes}", "train.epochs=20", "train.cache=0", "train.patience=99"), clock=clock)
    clock.count(climbed.model)
    steps = list(climbed)
    rows = {part: len(numbers) for part, numbers in climbed.prepared.parts.items()}
    step, validation = 3.0, rows["validation"] / 16 + 1
    first = 2 * 1.0 + step  # the measurement before, and a first step, are always made
    assert clock.now <= max(60 * minutes, first) + step + validation
    assert climbed.climb.pass_seconds == pytest.approx(rows["train"] / 16)
    begun = [rung["rung"] for rung in climbed.climb.rungs if "seconds" in rung]
    assert begun[0] == "probe" and (minutes > 0.5 or begun == ["probe"])
    for rung in climbed.climb.rungs:
        assert "seconds" in rung or "s are left" in rung["result"]
    if minutes == 9:
        assert len(begun) == 3 and clock.now > 0.9 * 60 * minutes, "time that is there is used"
    assert steps[-1].last


def test_a_rung_that_no_longer_fits_is_not_begun_and_leaves_its_time_to_the_one_before() -> None:
    clock = Clock()
    climbed, _ = climber(recipe("train.minutes=1", "train.epochs=20", "train.patience=99"), clock=clock)
    clock.count(climbed.model)
    list(climbed)
    assert results(climbed)["full"].startswith("not begun: it needs about ")
    assert clock.now > 0.8 * 60


@pytest.mark.parametrize(
    ("weights", "steps", "fitting", "kind"),
    [(10**9, 1000, {"full", "lora"}, "lora"), (10**7, 1000, {"full", "lora"}, "full"), (10**7, 1000, {"lora"}, "lora"),
     (10**7, 50, {"lora"}, "full"), (10**7, 1000, set(), "full")],
)  # fmt: skip
def test_the_last_rung_is_chosen_by_size_rows_and_time(weights: int, steps: int, fitting: set[str], kind: str) -> None:
    tuning, why = auto.top_rung(weights, steps, fitting.__contains__)
    assert tuning.kind == kind and len(why) > 30


@pytest.mark.parametrize("tuning", [Full(), Freeze(), LoRA()], ids=lambda t: t.kind)
def test_a_rung_takes_the_rate_it_takes_alone(tuning: Tuning) -> None:
    device = torch.device("cpu")
    asked = recipe("train.lr=auto")
    climbing = asked.replace(train=auto.resolve(asked, 500, device)[0])
    alone = auto.resolve(asked.replace(tuning=tuning), 500, device)[0]
    assert auto.on_rung(climbing, tuning, None).lr == pytest.approx(alone.lr)
    assert auto.on_rung(climbing.replace(train=climbing.train.replace(lr=0.5)), tuning, 2.0).lr == 0.5


# Of every kind of backbone


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "llama", "vit", "clip", "efficientnet", "resnet", "t5"])
def test_every_kind_of_backbone_climbs_and_predicts(name: str, tmp_path: Path) -> None:
    import numpy as np

    from omnitune.component import find
    from omnitune.modalities import Modality

    kind = "text" if name in checkpoints.TEXT else "image"
    values = find(Modality, kind)().example(40, np.random.default_rng(0))  # type: ignore[type-abstract]
    table = [{"x": value, "y": "ab"[i % 2]} for i, value in enumerate(values)]
    run = fit(recipe("train.epochs=1", "train.minutes=5", source=table, backbone=checkpoints.ALL[name](), kind=kind), tmp_path / "run")
    rungs = [rung["rung"] for rung in run.report.cost["rungs"]]
    assert rungs[0] == "probe" and len(rungs) > 1
    kept = run.report.cost["frozen part of x, rung probe"]
    assert "all of it" in kept, "pictures too: the probe looks at them as they are"
    assert set(run.predict(table[:1])[0]["y"]["probabilities"]) == {"a", "b"}


def test_a_table_without_backbones_has_one_rung(tmp_path: Path) -> None:
    run = fit(table_recipe(plain_rows(120), "tuning=auto", "train.epochs=1"), tmp_path / "run")
    assert [rung["rung"] for rung in run.report.cost["rungs"]] == ["probe"]
    assert run.lineage["rung"] == "probe"


# A kill loses nothing

OFTEN = ("train.save_minutes=0.00001", "fusion.dropout=0.1")


def log(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def bits(run: Path) -> dict[str, bytes]:
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in sorted(run.rglob("*.safetensors"))}


@pytest.mark.slow
@pytest.mark.parametrize("top", ["full", "lora"])
def test_a_climb_cut_off_anywhere_ends_with_the_same_bits(top: str, tmp_path: Path) -> None:
    asked = recipe(*OFTEN, f"tuning.top={top}", "train.average=2")
    whole = fit(asked, tmp_path / "whole")
    ends = [int(rung["steps"]) for rung in whole.report.cost["rungs"]]
    assert len(ends) == 3
    border, second, last = ends[0], ends[0] + ends[1], sum(ends)
    cuts = [border - 2, border, border + 1, border + 4, second, second + 1, second + 4, last]
    for cut in cuts:

        def stop(step: Any, cut: int = cut) -> None:
            if step.step == cut:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(asked, tmp_path / "cut", resume=(tmp_path / "cut").exists(), watch=stop)
    run = fit(asked, tmp_path / "cut", resume=True)
    assert bits(run.path) == bits(whole.path)
    assert log(run.path) == log(whole.path)
    assert json.dumps(run.report.tasks, sort_keys=True) == json.dumps(whole.report.tasks, sort_keys=True)
    clocks = [{k: v for k, v in rung.items() if k != "seconds"} for rung in run.report.cost["rungs"]]
    assert clocks == [{k: v for k, v in rung.items() if k != "seconds"} for rung in whole.report.cost["rungs"]]
    assert run.lineage["rung"] == whole.lineage["rung"]


def test_a_climb_saved_at_its_very_end_goes_on_to_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from omnitune.commands import fit as module

    asked = recipe("train.epochs=1")
    whole = fit(asked, tmp_path / "whole")

    def cut(*args: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "_finish", cut)
        with pytest.raises(KeyboardInterrupt):
            fit(asked, tmp_path / "cut")
    run = fit(asked, tmp_path / "cut", resume=True)
    assert bits(run.path) == bits(whole.path)


@pytest.mark.slow
def test_a_climb_killed_after_its_first_rung_leaves_a_model_that_predicts(tmp_path: Path) -> None:
    asked = recipe(*OFTEN, source=str(write_csv(tmp_path / "table.csv", rows())))
    asked.write(tmp_path / "recipe.yaml")
    out, first = tmp_path / "run", 2 * 6
    command = [sys.executable, str(KILL), str(tmp_path / "recipe.yaml"), str(out), "step", str(first + 3)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with pytest.raises(Mistake, match=r"--resume.*best so far is .*1-probe"):
        load(out)
    so_far = load(out / "rungs" / "1-probe")
    assert so_far.lineage["rung"] == "probe"
    assert set(so_far.predict([{"x": "a lovely dress"}])[0]["y"]["probabilities"]) == {"yes", "no"}


# What is saved and told


def test_the_artifact_and_the_report_tell_the_climb(tmp_path: Path) -> None:
    run = fit(recipe("tuning.top=lora", "train.minutes=9"), tmp_path / "run")
    rungs = run.report.cost["rungs"]
    assert [rung["rung"] for rung in rungs] == ["probe", "freeze", "lora"]
    assert all({"why", "steps", "epochs", "seconds", "stopped", "validation", "result"} <= set(rung) for rung in rungs)
    assert run.lineage["rung"] == run.report.cost["best rung"]
    assert not (run.path / "rungs").exists(), "what was kept on the way is not needed beside the whole"
    assert (run.path / "inputs" / "x_" / "model.safetensors").exists() and not (run.path / "inputs" / "x_" / "adapter_config.json").exists()
    page, document = (run.path / "report.html").read_text(), (run.path / "report.md").read_text()
    assert "Accuracy against time" in page and "best round so far" in page
    assert "## Rungs" in document and "| lora |" in document
    plain = fit(recipe("tuning=probe", "train.epochs=1"), tmp_path / "plain")
    assert "## Rungs" not in (plain.path / "report.md").read_text() and "Accuracy against time" not in (plain.path / "report.html").read_text()


@pytest.mark.slow
def test_minilm_climbs_on_real_reviews(tmp_path: Path) -> None:
    values = {
        "data": {"from": "sample:women-reviews#450", "split": [0.45, 0.15, 0.4]},
        "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": 32}},
        "tasks": {"recommended": {"kind": "classify", "target": "recommended"}},
        "tuning": "auto",
        "train": {"epochs": 4, "minutes": 5},
    }
    run = fit(read(values), tmp_path / "run")
    rungs = {rung["rung"]: rung for rung in run.report.cost["rungs"]}
    assert list(rungs)[:2] == ["probe", "freeze"] and run.lineage["rung"]
    best = min(rung["validation"]["loss"] for rung in rungs.values() if "seconds" in rung)
    assert best <= rungs["probe"]["validation"]["loss"]
    assert run.report.value("recommended", "auroc") > 0.75
    loved, hated = run.predict([{"text": "I love this dress, it fits perfectly"}, {"text": "Terrible, it fell apart and I returned it"}])
    assert loved["recommended"]["probabilities"]["1"] > hated["recommended"]["probabilities"]["1"]
