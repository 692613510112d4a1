import pytest
import torch

from checkpoints import tiny_bert
from omnitune.recipe import read
from omnitune.training.apart import Apart
from omnitune.training.model import Model, tune
from runs import ready

WORDS = ["good", "bad", "fine", "poor"]


def texts(n: int = 60) -> list[dict]:
    return [{"text": " ".join(WORDS[(i + k) % 4] for k in range(3)) + f" {i}", "class": "ab"[i % 2], "value": float(i % 4)} for i in range(n)]


def tuned(*overrides: str) -> tuple[Model, object]:
    values = {"data": {"from": texts()}, "inputs": {"text": {"kind": "text", "backbone": str(tiny_bert())}},
              "tasks": {"class": {"kind": "classify", "target": "class", "dropout": 0},
                        "value": {"kind": "regress", "target": "value", "dropout": 0}},
              "fusion": {"kind": "concat", "dropout": 0, "hide": 0}, "train": {"dropout": 0.0, "attention_dropout": 0.0}}  # fmt: skip
    model, prepared = ready(read(values, overrides))
    tune(model, prepared.recipe)
    model.eval()  # no chance in a forward pass
    return model, prepared.batches("train", 8, 0)


@pytest.mark.parametrize("how", [["tuning=lora"], ["tuning=freeze"], ["tuning=bias"], ["tuning=full"], ["tuning=full", "train.checkpointing=true"]])
def test_gradients_apart_add_up_to_that_of_the_sum(how: list[str]) -> None:
    model, batches = tuned(*how)
    model.train("train.checkpointing=true" in how)
    question = next(iter(batches.epoch()))
    sum(loss.mean for loss in model.losses(question).values()).backward()
    expected = {n: None if p.grad is None else p.grad.clone() for n, p in model.learning().items()}
    model.zero_grad()
    apart = Apart(model, model.tasks)
    apart.start()
    for part in (question.part(0, 3), question.part(3, 8)):
        weight = {task: target["weight"].sum() for task, (_, target) in question.asked.items()}
        apart.add({task: loss.sum / weight[task] for task, loss in model.losses(part).items()})
    apart.put(apart.gradients_TP.sum(0))
    for name, p in model.learning().items():
        assert (p.grad is None) == (expected[name] is None), name
        if p.grad is not None:
            torch.testing.assert_close(p.grad, expected[name], rtol=1e-4, atol=1e-6)
    assert all(gradient.norm() > 0 for gradient in apart.gradients_TP)
