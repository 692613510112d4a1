"""Batches: a fixed order, every row once, little padding, and a thread that neither hides errors nor stays."""

import csv
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from checkpoints import tiny_bert
from omnitune.data import table
from omnitune.data.batches import Batches, ahead
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import Recipe, read
from runs import ready, rows, table_recipe


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    return ready(table_recipe(rows(101), "data.split=[1,0,0]"))[1]


def text_recipe(n: int = 400) -> Recipe:
    """Texts of very different lengths."""
    rng = np.random.default_rng(0)
    made = [{"text": " ".join(["word"] * int(length)), "y": "ab"[i % 2]} for i, length in enumerate(rng.geometric(0.05, n).clip(1, 60))]
    return read({
        "data": {"from": [row | {"text": f"{i} {row['text']}"} for i, row in enumerate(made)], "split": [1, 0, 0]},
        "inputs": {"text": {"kind": "text", "backbone": str(tiny_bert())}},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
    })  # fmt: skip


def read_rows(batches: Batches, epoch: int = 0, start: int = 0) -> list[list[int]]:
    return [question.rows.tolist() for question in batches.epoch(epoch, start)]


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "omnitune-batches"]


@pytest.mark.parametrize("seed", [0, 7, None])
@pytest.mark.parametrize("size", [1, 16, 101, 500])
def test_every_row_comes_once_an_epoch(prepared: Prepared, size: int, seed: int | None) -> None:
    batches = prepared.batches("train", size, seed)
    for epoch in range(2):
        found = read_rows(batches, epoch)
        assert sorted(row for batch in found for row in batch) == list(range(101))
        assert len(found) == len(batches) == -(-101 // size)
        assert max(map(len, found)) == min(size, 101)


def test_the_order_depends_on_seed_and_epoch_alone(prepared: Prepared) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        np.random.rand(), torch.rand(1)  # whatever else draws at random
        return read_rows(prepared.batches("train", 16, seed), epoch)

    first = order(0, 0)
    assert first == order(0, 0)
    assert first != order(0, 1) and first != order(1, 0) and order(0, 1) != order(1, 0)


def test_an_epoch_goes_on_from_any_batch(prepared: Prepared) -> None:
    batches = prepared.batches("train", 16, 3)
    whole = read_rows(batches, 2)
    assert [read_rows(batches, 2, start) for start in range(8)] == [whole[start:] for start in range(8)]


def test_augmentation_depends_on_seed_epoch_and_batch_alone() -> None:
    prepared = prepare(text_recipe(40).replace(inputs={"text": text_recipe().inputs["text"].replace(token_dropout=0.3)}))

    def ids(seed: int | None, epoch: int, start: int = 0) -> list[torch.Tensor]:
        return [q.asked["y"][0].inputs["text"]["input_ids"] for q in prepared.batches("train", 8, seed).epoch(epoch, start)]

    assert all(torch.equal(a, b) for a, b in zip(ids(1, 0)[2:], ids(1, 0, 2), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(ids(None, 0), ids(None, 1), strict=True))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(ids(1, 0), ids(2, 0), strict=True))


def test_values_belong_to_their_rows(prepared: Prepared) -> None:
    given = rows(101)
    mean, std = prepared.schema.inputs["b"]["mean"], prepared.schema.inputs["b"]["std"]
    classes = prepared.schema.tasks["class"]["classes"]
    for question in prepared.batches("train", 16, 1).epoch():
        batch, target = question.asked["class"]
        for i, row in enumerate(question.rows):
            assert float(batch.inputs["b"]["features"][i, 0]) == pytest.approx((given[row]["b"] - mean) / std, abs=1e-5)
            assert bool(batch.inputs["a"]["present"][i]) == (given[row]["a"] is not None)
            assert classes[int(target["y"][i])] == given[row]["class"]


def test_rows_of_like_length_share_a_batch() -> None:
    prepared = prepare(text_recipe())

    def padding(orders: list[Any]) -> float:
        masks = [batches.question(rows).asked["y"][0].inputs["text"]["attention_mask"] for rows in orders]
        return 1 - sum(float(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    batches = prepared.batches("train", 16, 0)
    random = np.random.default_rng(0).permutation(400)
    loose = padding(np.array_split(random, 25))
    assert padding(batches.order(0)) < 0.25 * loose and loose > 0.3
    means = [batches.lengths[rows].mean() for rows in batches.order(0)]
    assert means != sorted(means) and means != sorted(means, reverse=True), "the order of the batches stays random"
    still = prepared.batches("train", 16)
    assert padding(still.order(0)) < 0.25 * loose
    longest = [still.lengths[rows].max() for rows in still.order(0)]
    assert longest == sorted(longest, reverse=True), "memory ends in the first batch or not at all"


def test_an_error_in_the_thread_is_raised_where_its_batch_is_used(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    question = Batches.question

    def fails(self: Batches, rows: Any, rng: Any = None, epoch: int = 0) -> Any:
        if 50 in rows:
            raise ZeroDivisionError("row 50")
        return question(self, rows, rng)

    monkeypatch.setattr(Batches, "question", fails)
    batches = prepared.batches("train", 16, 0)
    place = next(i for i, rows in enumerate(batches.order(0)) if 50 in rows)
    seen = []
    with pytest.raises(ZeroDivisionError, match="row 50"):
        seen.extend(batches.epoch())
    assert len(seen) == place and threads() == []


def test_no_thread_stays_when_the_consumer_stops(prepared: Prepared) -> None:
    for stop in (0, 1, 3):
        questions = prepared.batches("train", 4, 0).epoch()
        for _ in range(stop):
            next(questions)
        questions.close()  # type: ignore[attr-defined]
        assert threads() == []

    def fails() -> None:
        for _ in prepared.batches("train", 4, 0).epoch():
            raise ValueError("in the loop")

    with pytest.raises(ValueError, match="in the loop"):
        fails()
    assert threads() == []


@pytest.mark.skipif(not torch.cuda.is_available(), reason="wants a GPU")
def test_a_gpu_copies_batches_while_it_computes(prepared: Prepared) -> None:
    for question in prepared.batches("train", 16, 0).epoch():
        (batch, target), *_ = question.asked.values()
        assert all(tensor.is_pinned() for tensors in (*batch.inputs.values(), target) for tensor in tensors.values())


def test_items_are_made_ahead_and_not_farther() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for i in range(50):
            made.append(i)
            yield i

    found = ahead(items, depth=2)
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert len(made) == 4, "one in use, two waiting, one in hand"
    assert list(found) == list(range(1, 50)) and threads() == []


LARGE = """
import sys
from pathlib import Path
from omnitune.data.prepared import prepare
from omnitune.recipe import read

def private():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) // 1024

values = {
    "data": {"from": sys.argv[1], "by": ["id"]}, "inputs": {"a": "number"},
    "tasks": {"y": {"kind": "classify", "target": "y"}}, "train": {"batch": 64},
}
small = prepare(read(values | {"data": {"from": sys.argv[2], "by": ["id"]}}))
next(small.batches("train", 64, 0).epoch())
before = private()
large = prepare(read(values))
for i, question in enumerate(large.batches("train", 64, 0).epoch()):
    if i == 50:
        break
print(private() - before, large.table.arrow.nbytes // 2**20)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="memory is told apart as Linux does")
def test_a_large_table_is_not_read_whole(tmp_path: Path) -> None:
    """What it needs for itself; pages of the memory-mapped file are the system's to drop."""
    for name, n in (("large.csv", 8_000), ("small.csv", 200)):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "a", "y", "note"])
            writer.writerows([i, i / 7, "ab"[i % 2], "x" * 10_000] for i in range(n))
        table.read(tmp_path / name)  # converted once; what follows reads the copy
    command = [sys.executable, "-c", LARGE, str(tmp_path / "large.csv"), str(tmp_path / "small.csv")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    more, size = map(int, done.stdout.split())
    assert size > 70 and more < size // 2, f"{more} MB more for a table of {size} MB"
