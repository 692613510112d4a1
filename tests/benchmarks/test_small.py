"""The benchmark suite on a few rows: both sides do the same work and are counted right. Never a time."""

import json
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import flops
import inputs
import latest
import numpy as np
import ours
import pytest
import rounds
import sides
import torch
from jobs import FULL, JOBS, QUICK
from peers.trainer import classifier
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from work import Rows, Work, accuracy, balanced, interval

from omnitune.artifact import load
from omnitune.data.prepared import Prepared
from omnitune.training.model import Model, tune

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")  # peft asks for it

ROOT = Path(__file__).parents[2]
NAMES = [
    "text_full", "text_lora", "text_last2", "text_probe", "text_probe_again", "text_20_trials", "image_full", "image_probe",
    "image_last2", "predict_text", "predict_text_int8", "automl_text",
]  # fmt: skip
LORA = [{"kind": "lora", "rank": 8}, {"kind": "lora", "rank": 4, "blocks": 2}]
TUNINGS = [{"kind": "full"}, {"kind": "freeze", "blocks": 2}, {"kind": "probe"}, *LORA]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run, with a cache of its own and a ViT of three blocks."""
    monkeypatch.setenv("OMNITUNE_CACHE", "")
    ours.own_cache(tmp_path)
    inputs.make_vit(tmp_path, blocks=3)
    return tmp_path


def given(name: str, place: Path, rows: int = 40) -> tuple[ours.Given, Work]:
    few = ours.Given(name, rows, 1.0, 0, str(place))
    return few, few.work(threads=1)


def prepared_of(few: ours.Given, place: Path) -> Prepared:
    with closing(inputs.resolved(inputs.recipe(JOBS[few.job], few.rows, few.epochs, few.seed, place))) as prepared:
        return prepared


# What is asked


def test_every_job_of_the_suite_is_there_and_has_peers_that_are() -> None:
    assert list(JOBS) == NAMES
    for job in JOBS.values():
        assert job.peers and all(peer in sides.PEERS for peer in (*job.peers, *job.also))
        assert QUICK.of(job) < FULL.of(job)
    assert [job.name for group in rounds.groups(NAMES) for job in group] == NAMES
    assert [job.name for job in rounds.groups(["text_probe_again", "text_probe"])[0]] == ["text_probe", "text_probe_again"]


def test_make_knows_the_commands() -> None:
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^bench: install\n\t.*benchmarks/run\.py", made, re.MULTILINE)
    assert re.search(r"^bench-automl:", made, re.MULTILINE)


# Both sides get and do the same


@pytest.mark.parametrize("name", ["text_full", "image_full", "automl_text"])
def test_a_peer_gets_the_rows_and_rates_that_omnitune_has(name: str, place: Path) -> None:
    few, work = given(name, place)
    prepared = prepared_of(few, place)
    for part, rows in (("train", work.train), ("test", work.test), ("validation", work.validation)):
        table = prepared.table.take(JOBS[name].data, prepared.parts[part])
        assert [v.removeprefix(f"{prepared.table.root}/") for v in rows.values] == [v or "" for v in table]
        assert rows.y == prepared.table.take(inputs.TARGETS[JOBS[name].data], prepared.parts[part])
    train = prepared.recipe.train
    assert (work.lr, work.head_lr, work.batch, work.epochs) == (train.lr, train.head_lr, train.batch, train.epochs)
    assert bool(work.validation.values) == (name == "automl_text")
    assert Work.read(work.write(place / "work.json")) == work


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("text_full", "text_last2", "image_last2")]


@pytest.mark.parametrize("name", ["text_lora", "text_probe", "image_full", *SLOW])
def test_loss_and_gradients_are_those_of_the_trainers_model(name: str, place: Path) -> None:
    """The same weights, the same batch: what differs between the sides is only how it is computed."""
    few, work = given(name, place)
    prepared = prepared_of(few, place)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    theirs = classifier(work)
    head = next(m for m in model.heads.modules() if isinstance(m, nn.Linear))
    theirs.head.load_state_dict(head.state_dict())
    _same_adapters(model, theirs)
    rows = prepared.parts["train"][:4]
    question = prepared.batches("train", 4, rows=rows).question(rows)
    loss = model.eval().losses(question)[inputs.TARGETS[work.kind]].mean
    batch = _batch(work, rows.tolist(), prepared.parts["train"].tolist())
    if work.kind == "image":
        pixels = question.asked["defective"][0].inputs["image"]["pixels"].float() / 127.5 - 1
        assert (pixels - batch["pixel_values"]).abs().max() <= 2.1 / 127.5, "resized by other means, two grey levels apart at most"
        batch["pixel_values"] = pixels
    expected = theirs.eval()(**batch)["loss"]
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    loss.backward()  # type: ignore[no-untyped-call]
    expected.backward()
    torch.testing.assert_close(head.weight.grad, theirs.head.weight.grad, rtol=1e-4, atol=1e-5)
    learn = sum(p.numel() for n, p in model.learning().items() if "stand_ins" not in n)
    assert learn == sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    norms = [sum(float(p.grad.square().sum()) for p in m.parameters() if p.grad is not None) for m in (model, theirs)]
    np.testing.assert_allclose(*norms, rtol=1e-3)


def _same_adapters(model: Model, theirs: nn.Module) -> None:
    state = {n.split("encoder.layer.")[-1]: p for n, p in model.named_parameters() if "lora_" in n}
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            parameter.data.copy_(state[name.split("encoder.layer.")[-1]])


def _batch(work: Work, rows: list[int], train: list[int]) -> dict[str, Any]:
    from peers import trainer

    read, collate = trainer._texts(work) if work.kind == "text" else trainer._pictures(work)
    places = [train.index(row) for row in rows]
    return dict(collate(read(Rows([work.train.values[i] for i in places], [work.train.y[i] for i in places]))))


@pytest.mark.slow
def test_the_pipeline_says_what_omnitune_says(place: Path) -> None:
    from peers.pipeline import Loaded

    inputs.make_model(place, rows=120)
    few, work = given("predict_text", place, rows=30)
    loaded, texts = Loaded(work), work.test.values
    assert few.run().said == loaded(texts) == loaded(texts, by_length=True)
    rows = load(place / "model").predict([{"text": text} for text in texts])
    own = [max(row["recommended"]["probabilities"].values()) for row in rows]
    np.testing.assert_allclose([said["score"] for said in loaded.pipe(texts, truncation=True, max_length=256)], own, atol=1e-4)
    assert np.std(own) > 1e-3, "a head that says one thing proves nothing"


@pytest.mark.slow
def test_frozen_parts_of_the_trainer_stay_still_where_that_is_asked(place: Path) -> None:
    _, work = given("text_last2", place)
    still, loose = classifier(work, still=True).train(), classifier(work).train()
    assert [m.training for m in still.backbone.encoder.layer] == [False] * 4 + [True] * 2
    assert all(m.training for m in loose.backbone.modules())


@pytest.mark.slow
def test_peers_know_nothing_of_omnitune() -> None:
    code = "import sys, peers.trainer, peers.by_hand, peers.pipeline, sides; sys.exit(any(m.startswith('omnitune') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "benchmarks").returncode == 0


# Useful FLOPs


@pytest.mark.parametrize("tuning", TUNINGS, ids=lambda t: "-".join(map(str, t.values())))
@pytest.mark.parametrize("kind", ["text", "image"])
def test_useful_flops_are_what_torch_counts_where_nothing_is_padded(tuning: dict[str, Any], kind: str, place: Path) -> None:
    _, work = given(f"{kind}_full", place)
    model = classifier(replace(work, tuning=tuning)).eval()
    base: Any = model.backbone.base_model.model if tuning["kind"] == "lora" else model.backbone
    base.set_attn_implementation("eager")
    shape, n, B = flops.Shape.of(base.config), 197 if kind == "image" else 24, 2
    inputs = {"pixel_values": torch.randn(B, 3, 224, 224)} if kind == "image" else _ids(B, n)
    with FlopCounterMode(display=False) as counted:
        model(**inputs, labels=torch.zeros(B, dtype=torch.int64))["loss"].backward()
    head = 2.0 * B * shape.width * len(model.head.bias) * (2 if tuning["kind"] == "probe" else 3)
    useful = B * (shape.forward(n) + shape.learn(n, tuning))
    assert counted.get_total_flops() == pytest.approx(useful + head, rel=1e-6)


def _ids(B: int, n: int) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(1000, 2000, (B, n)), "attention_mask": torch.ones(B, n, dtype=torch.int64)}


def test_what_is_frozen_counts_once_however_many_epochs() -> None:
    shape, rows = flops.Shape(6, 384, 1536), [10, 20, 30]
    forward = sum(shape.forward(n) for n in rows)
    assert flops.training(shape, {"kind": "probe"}, 10, rows, rows) == pytest.approx(2 * forward)
    assert flops.training(shape, {"kind": "probe"}, 10, rows, rows, kept=True) == 0
    last = flops.training(shape, {"kind": "freeze", "blocks": 2}, 10, rows, [])
    assert forward * 4 / 6 < last < forward * (4 / 6 + 10)
    assert flops.training(shape, {"kind": "full"}, 3, rows, rows) == pytest.approx(3 * forward * 3 + forward, rel=0.01)


# What is written down


def taken(seconds: float = 2.0, peer: float = 6.0, right: float = 0.9, peer_right: float = 0.9) -> dict[str, Any]:
    return {
        "seed": 0, "seconds": seconds, "peer_seconds": peer, "against": {"Trainer": peer / seconds}, "accuracy": right,
        "peer_accuracy": peer_right, "balanced": right, "peer_balanced": peer_right,
        "accuracies": {"Trainer": peer_right}, "same_answers": 1.0, "gflops": 100.0, "peak_gflops": 100.0,
    }  # fmt: skip


FACTS = {"rows": 200, "epochs": 3, "threads": 2, "test_rows": 100, "machine": "m"}
EMPTY: dict[str, Any] = {"machine": "m", "versions": {"torch": "2"}, "jobs": {}, "skipped": {}}


def test_the_file_has_the_figures_of_every_job(tmp_path: Path) -> None:
    whole = latest.merged(EMPTY, JOBS["text_full"], [taken(), taken(3.0), taken(1.0)], FACTS | {"peak_mb": 10, "peer_peak_mb": 20, "peak_rows": 5})
    whole["skipped"]["automl_text"] = "AutoGluon is not installed"
    latest.write(whole, tmp_path / "latest.json")
    found = json.loads((tmp_path / "latest.json").read_text())
    job = found["jobs"]["text_full"]
    assert found["machine"] == "m"
    assert job["ratio"] == {"median": 3.0, "min": 2.0, "max": 6.0}
    assert job["mfu"] == 0.5 and job["peer_mfu"] == pytest.approx(1 / 6, abs=1e-4)
    assert (job["accuracy"], job["peer_accuracy"], job["peak_mb"], job["peer_peak_mb"]) == (0.9, 0.9, 10, 20)
    assert job["equal"] and job["interval"][0] < 0.9 < job["interval"][1]
    page = (tmp_path / "latest.md").read_text()
    assert "**3.00x** (2.00 - 6.00)" in page and "AutoGluon is not installed" in page and "What is unfair" in page
    assert (tmp_path / "latest.svg").read_text().lstrip().startswith("<?xml")


def test_a_job_measured_alone_leaves_the_others_and_rounds_of_one_size_add_up() -> None:
    whole = latest.merged(EMPTY, JOBS["text_full"], [taken()], FACTS | {"peak_mb": 10})
    whole = latest.merged(whole, JOBS["text_probe"], [taken()], FACTS)
    assert set(whole["jobs"]) == {"text_full", "text_probe"}
    more = latest.merged(whole, JOBS["text_full"], [taken(1.0)], FACTS, add=True)["jobs"]["text_full"]
    assert len(more["rounds"]) == 2 and more["peak_mb"] == 10
    larger = latest.merged(whole, JOBS["text_full"], [taken(1.0)], FACTS | {"rows": 6000}, add=True)["jobs"]["text_full"]
    assert len(larger["rounds"]) == 1 and larger["rows"] == 6000 and "peak_mb" not in larger
    assert len(latest.merged(whole, JOBS["text_full"], [taken(1.0)], FACTS)["jobs"]["text_full"]["rounds"]) == 1


def test_rounds_of_another_machine_do_not_add_up_and_the_page_says_whose_they_are() -> None:
    whole = latest.merged(EMPTY, JOBS["text_full"], [taken()], FACTS)
    whole = latest.merged(whole, JOBS["text_probe"], [taken()], FACTS) | {"machine": "n"}
    whole = latest.merged(whole, JOBS["text_full"], [taken(1.0)], FACTS | {"machine": "n"}, add=True)
    assert len(whole["jobs"]["text_full"]["rounds"]) == 1
    assert "n; text_probe on m; torch 2" in latest.page(whole)


def test_accuracies_beyond_their_intervals_are_flagged() -> None:
    whole = latest.merged(EMPTY, JOBS["text_full"], [taken(right=0.70, peer_right=0.9)], FACTS)
    assert not whole["jobs"]["text_full"]["equal"]
    assert "differ beyond their intervals: text_full" in latest.page(whole)


def test_a_peer_that_works_once_for_many_runs_is_counted_so() -> None:
    job, work = JOBS["text_20_trials"], Work("text", "", {}, Rows(), Rows(["a", "b"], [0, 1]))
    peers = {"Trainer": sides.Took([0, 0], 3.0), "features once, by hand": sides.Took([0, 0], 3.0)}
    found = rounds.record(job, work, sides.Took([0, 1], 2.0), peers, peak=1e9, flop=1e9)
    assert found["peer_seconds"] == 60.0 and found["against"] == {"Trainer": 30.0, "features once, by hand": 1.5}
    assert (found["accuracy"], found["peer_accuracy"], found["same_answers"], found["test_rows"]) == (1.0, 0.5, 0.5, 2)
    half = rounds.record(job, work, sides.Took([1], 2.0, places=[1]), {"Trainer": sides.Took([0, 0], 3.0)}, peak=1e9, flop=1e9)
    assert (half["accuracy"], half["peer_accuracy"], half["same_answers"], half["test_rows"]) == (1.0, 0.0, 0.0, 1)


def test_intervals_are_wilsons() -> None:
    assert interval(0.9, 100) == pytest.approx((0.8256, 0.9448), abs=1e-4)
    assert interval(1.0, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert accuracy([1, 0, 1], [1, 1, 1]) == pytest.approx(2 / 3)
    assert balanced([1, 1, 1, 0], [1, 1, 0, 0]) == pytest.approx(0.75) and balanced([1, 1, 1], [1, 1, 0]) == 0.5


# A run


def test_a_cold_run_finds_nothing_and_downloads_stay(place: Path) -> None:
    (place / "cache" / "activations").mkdir()
    ours.cold(place)
    assert sorted(path.name for path in (place / "cache").iterdir()) == ["samples", "tables"]


@pytest.mark.slow
def test_one_round_of_one_job_through_the_command(tmp_path: Path) -> None:
    out = tmp_path / "latest.json"
    asked = [sys.executable, ROOT / "benchmarks" / "run.py", "text_probe", "--quick", "--rows", "40", "--epochs", "1", "--threads", "1", "--out", out]
    done = subprocess.run(asked, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    job = json.loads(out.read_text())["jobs"]["text_probe"]
    assert job["ratio"]["median"] > 0 and job["rows"] == 40 and job["peak_mb"] > 100 and job["peer_peak_mb"] > 100
    assert set(job["against"]) == {"Trainer", "features once, by hand"} and "| text_probe | 40, 1 |" in done.stdout
    assert subprocess.run([*asked[:2], "text_prob"], capture_output=True).returncode == 2


def test_a_job_that_fails_is_written_down_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import argparse

    import run

    def fails(*given: Any) -> None:
        raise RuntimeError("no room")

    monkeypatch.setattr(run, "measure", fails)
    said = run.attempt([JOBS["text_full"]], None, argparse.Namespace(out=tmp_path / "latest.json"))  # type: ignore[arg-type]
    assert said == "text_full: failed: RuntimeError: no room"
    assert "- text_full: failed: RuntimeError: no room" in (tmp_path / "latest.md").read_text()


@pytest.mark.slow
def test_the_answers_of_the_trainer_are_in_the_order_of_the_rows(place: Path) -> None:
    texts = [f"{'lovely and soft' if i % 3 else 'it tore at once'}{', really' * (i % 7)}" for i in range(48)]
    rows = Rows(texts, [int(i % 3 > 0) for i in range(48)])
    work = given("text_full", place)[1]
    learned = replace(work, train=rows, test=rows, epochs=4.0, lr=5e-4, batch=8)
    said = sides.PEERS["Trainer"](learned).said
    backwards = sides.PEERS["Trainer"](replace(learned, test=Rows(texts[::-1], rows.y[::-1]))).said
    assert said == rows.y and backwards == said[::-1]
