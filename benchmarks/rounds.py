"""Rounds: the sides of a job take turns in one process, so that a busy minute hits all of them. Every figure comes from one round's pairs."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import flops
import inputs
import ours
import sides
from jobs import JOBS, Job, Sizes
from sides import Took
from work import Work, accuracy, balanced

Record = dict[str, Any]
FIRST = 40
"""Rows of the first run of all sides, which loads code and is not timed."""


@dataclass(frozen=True)
class Plan:
    """How the jobs are run.

    Args:
        sizes: of the jobs.
        rounds: of each.
        threads: of torch.
        place: a folder of this run.
        also: run the slower variants of peers too.
        first: seed of the first round.
    """

    sizes: Sizes
    rounds: int
    threads: int
    place: Path
    also: bool = False
    first: int = 0

    def given(self, job: Job, seed: int, rows: int | None = None) -> ours.Given:
        """What omnitune is given; with `rows`, a small run."""
        epochs = self.sizes.epochs(job)
        return ours.Given(job.name, rows or self.sizes.of(job), min(1.0, epochs) if rows else epochs, seed, str(self.place))


def groups(names: Sequence[str]) -> list[list[Job]]:
    """The jobs by the work of their peers, which is measured once a round for all of them."""
    wanted = [job for job in JOBS.values() if job.name in names]
    return [list(some) for _, some in groupby(wanted, key=lambda job: job.work)]


def run(jobs: Sequence[Job], plan: Plan) -> Iterator[tuple[Job, Record]]:
    """One record a job and round, of jobs that share the work of their peers."""
    peers = [*jobs[0].peers, *(jobs[0].also if plan.also else ())]
    make(jobs, plan)
    warm_up(jobs, plan)
    for i in range(plan.rounds):
        seed, turn = plan.first + i, i % 2
        work = plan.given(jobs[0], seed).work(plan.threads)
        peak = flops.peak()
        theirs = {} if turn else {name: sides.PEERS[name](work) for name in peers}
        own = {job.name: plan.given(job, seed).run() for job in jobs}
        theirs = theirs or {name: sides.PEERS[name](work) for name in peers}
        peak = max(peak, flops.peak())
        for job in jobs:
            yield job, record(job, work, own[job.name], theirs, peak, useful(job, work))


def make(jobs: Sequence[Job], plan: Plan) -> None:
    """The models that the jobs need."""
    inputs.make_vit(plan.place)
    if jobs[0].kind == "predict":
        inputs.make_model(plan.place, min(3000, plan.sizes.rows["text"]))


def warm_up(jobs: Sequence[Job], plan: Plan) -> None:
    """A first small run of all sides, since first calls load code."""
    if jobs[0].kind != "automl":
        small = {job.name: plan.given(job, 0, FIRST) for job in jobs}
        work = small[jobs[0].name].work(plan.threads)
        for name in jobs[0].peers:
            sides.PEERS[name](work)
        for job in jobs:
            if job.kind != "search":
                small[job.name].run()


def record(job: Job, work: Work, own: Took, theirs: dict[str, Took], peak: float, flop: float) -> Record:
    """One round of one job: plain values."""
    times = {name: took.seconds * (1 if name in sides.ONCE else job.times) for name, took in theirs.items()}
    first, places = job.peers[0], own.places
    y = work.test.y if places is None else [work.test.y[i] for i in places]
    said = {name: took.at(places) for name, took in theirs.items()}
    return {
        "seed": work.seed, "seconds": own.seconds, "peer_seconds": times[first], "against": {name: t / own.seconds for name, t in times.items()},
        "accuracy": accuracy(own.said, y), "peer_accuracy": accuracy(said[first], y), "balanced": balanced(own.said, y),
        "peer_balanced": balanced(said[first], y), "accuracies": {name: accuracy(answers, y) for name, answers in said.items()},
        "same_answers": accuracy(own.said, said[first]), "gflops": flop / 1e9, "peak_gflops": peak / 1e9, "test_rows": len(y),
    }  # fmt: skip


def useful(job: Job, work: Work) -> float:
    """FLOPs that the job must do once."""
    shape, train, test, validation = lengths(work)
    if job.kind == "predict":
        return sum(shape.forward(n) for n in test)
    rounds = int(work.epochs) * validation
    return flops.training(shape, job.tuning, work.epochs, train, [*test, *rounds], kept=job.warm)


def lengths(work: Work) -> tuple[flops.Shape, list[int], list[int], list[int]]:
    """The shape of the backbone, and the tokens of every row of training, test and validation."""
    from transformers import AutoConfig, AutoTokenizer

    config = AutoConfig.from_pretrained(work.backbone)
    shape = flops.Shape.of(config)
    parts = [work.train.values, work.test.values, work.validation.values]
    if work.kind == "image":
        tokens = (config.image_size // config.patch_size) ** 2 + 1
        return shape, *([tokens] * len(part) for part in parts)  # type: ignore[return-value]
    tokenizer = AutoTokenizer.from_pretrained(work.backbone)
    counted = [[len(ids) for ids in tokenizer(part, truncation=True, max_length=work.tokens)["input_ids"]] if part else [] for part in parts]
    return shape, *counted  # type: ignore[return-value]


def memory(jobs: Sequence[Job], plan: Plan) -> dict[str, Record]:
    """Peak memory of each side of each job, of fresh processes on a small share of the rows. Both sides at once: no time is taken."""
    make(jobs, plan)
    rows = plan.sizes.peak_rows
    work = plan.given(jobs[0], 0, rows).work(plan.threads).write(plan.place / "work.json")
    with ThreadPoolExecutor(1) as beside:
        peer = beside.submit(sides.alone, jobs[0].peers[0], work, plan.threads)
        own = {job.name: sides.alone("omnitune", plan.given(job, 0, rows).write(plan.place / "given.json"), plan.threads) for job in jobs}
        return {name: {"peak_mb": round(mb), "peer_peak_mb": round(peer.result()), "peak_rows": rows} for name, mb in own.items()}
