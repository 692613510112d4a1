"""Candidates are the whole batch, however many rows are in memory at once."""

from typing import Any

import pytest
import torch

from omnitune.data.batches import Question
from omnitune.data.prepared import Prepared
from omnitune.nn.pairs import PairHead
from omnitune.recipe import Recipe, read
from omnitune.training.balance import Static
from omnitune.training.gradients import Gradients
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from runs import ready

WORDS = ["dress", "fits", "well", "colour", "lovely", "fabric", "cheap", "small", "soft", "true", "cold", "love"]
WEIGHTS = {"match": 1.0, "mood": 0.5}


def rows(n: int = 40) -> list[dict[str, Any]]:
    """Texts of unlike length, some missing."""
    return [
        {
            "title": " ".join(WORDS[(i + j) % 12] for j in range(1 + i % 3)) + str(i) if i % 7 else None,
            "text": f"{WORDS[i % 12]} {WORDS[i * 5 % 12]} {i}",
            "mood": "ab"[i % 2] if i % 5 else None,
        }
        for i in range(n)
    ]


def recipe(*overrides: str) -> Recipe:
    gpt = {"kind": "gpt", "depth": 2, "width": 16, "heads": 2, "context": 16, "vocabulary": 280}
    text = {"kind": "text", "backbone": gpt, "max_tokens": 16}
    tasks = {"match": {"kind": "match", "a": "title", "b": "text", "width": 8}, "mood": {"kind": "classify", "target": "mood", "dropout": 0.0}}
    values = {"data": {"from": rows(), "split": [1.0, 0.0, 0.0]}, "inputs": {"title": text, "text": text}, "tasks": tasks}
    settings = {"epochs": 1, "batch": 32, "optimizer": "sgd", "stop_on": "loss", "dropout": 0.0, "attention_dropout": 0.0}
    return read(values | {"fusion": {"kind": "concat", "dropout": 0.0, "hide": 0.0}, "train": settings}, overrides)


def tuned(*overrides: str) -> tuple[Model, Prepared]:
    model, prepared = ready(recipe(*overrides))
    tune(model, prepared.recipe)
    return model, prepared


def asked(*overrides: str) -> tuple[Model, Question]:
    model, prepared = tuned(*overrides)
    return model.train(), max(prepared.batches("train", 32, 0).epoch(), key=lambda question: len(question.rows))


def gradients(rows: int, *overrides: str) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    model, question = asked(*overrides)
    torch.manual_seed(5)
    losses = Gradients(model, Static(model, WEIGHTS), "float32").add(question, rows)
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}, losses


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize("micro", [1, 5, 16])
def test_gradients_are_those_of_the_whole_batch(loss: str, micro: int) -> None:
    whole, parts = (gradients(rows, f"tasks.match.loss={loss}") for rows in (32, micro))
    assert whole[1] == pytest.approx(parts[1], abs=1e-5) and whole[0].keys() == parts[0].keys()
    for name, gradient in whole[0].items():
        torch.testing.assert_close(parts[0][name], gradient, rtol=1e-5, atol=1e-5)
    assert whole[0]["heads.match_.steepness"] != 0


def test_with_dropout_they_are_those_of_the_same_luck() -> None:
    """The reference keeps the graphs of all parts, and so needs the memory of the whole batch."""
    luck = ("train.dropout=0.3", "train.attention_dropout=0.3", "fusion.hide=0.3", "tasks.match.dropout=0.3", "tasks.mood.weight=0")
    model, question = asked(*luck)
    head = model.head("match")
    assert isinstance(head, PairHead)
    torch.manual_seed(5)
    made = [head.gather(model.views(part)[id(part.asked["match"][0])]) for part in question.parts(8)]
    target = question.asked["match"][1]
    loss = head.loss_of(torch.cat(made), target)
    loss.mean.backward()
    wanted = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch.manual_seed(5)
    Gradients(model, Static(model, {"match": 1.0, "mood": 0.0}), "float32").add(question, 8)
    for name, gradient in wanted.items():
        torch.testing.assert_close(dict(model.named_parameters())[name].grad, gradient, rtol=1e-5, atol=1e-5)
    again = [head.gather(model.views(part)[id(part.asked["match"][0])]) for part in question.parts(8)]
    assert any(not torch.equal(a, b) for a, b in zip(made, again, strict=True)), "without luck the test says nothing"


def test_one_part_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, question = asked()
    reads: list[int] = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda batch: reads.append(batch.size) or forward(batch))
    one = Gradients(model, Static(model, WEIGHTS), "float32")
    one.add(question, 32)
    assert reads == [32]
    one.add(question, 20)
    assert reads[1:] == [20, 12, 20, 12]


def test_memory_that_ends_changes_nothing() -> None:
    """Luck and candidates are those of a run that had room for eight rows only from the start."""
    luck = ("train.dropout=0.3",)

    def learned(micro: int, room: int) -> tuple[dict[str, torch.Tensor], set[int]]:
        model, prepared = tuned(*luck, f"train.micro_batch={micro}")
        forward = model.forward

        def small(batch):  # type: ignore[no-untyped-def]  # stands for a device with room for so many rows
            if batch.size > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return forward(batch)

        model.forward = small  # type: ignore[method-assign]
        torch.manual_seed(3)
        steps = list(Loop(model, prepared.batches("train", 32, 0), prepared.recipe.train, WEIGHTS))
        return {name: p.detach() for name, p in model.learning().items()}, {step.micro_batch for step in steps}

    (halved, at), (small, _) = learned(32, 10), learned(8, 10)
    assert 8 in at
    assert all(torch.equal(p, small[name]) for name, p in halved.items())
