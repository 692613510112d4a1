"""What was read of a text is remembered, and gives the same batches; only so much of it."""

import numpy as np
import pytest
import torch

import checkpoints
from omnitune.data.prepared import prepare
from omnitune.data.remembered import Remembered
from omnitune.modalities import _words
from omnitune.recipe import read

ROWS = [{"x": sentence if i % 5 else None, "y": "ab"[i % 2]} for i, sentence in enumerate(checkpoints.SENTENCES * 4)]


def recipe(cache: int = 1, **text: object) -> object:
    x = {"kind": "text", "backbone": str(checkpoints.tiny_bert())} | text
    return read({"data": {"from": ROWS, "split": [1, 0, 0]}, "inputs": {"x": x}, "tasks": {"y": {"kind": "classify", "target": "y"}},
                 "train": {"cache": cache}})  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"max_tokens": 6}, {"token_dropout": 0.3}])
def test_later_epochs_read_nothing_and_give_the_same_batches(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    prepared, again = prepare(recipe(**settings)), prepare(recipe(cache=0, **settings))
    assert prepared.remembered and not again.remembered
    batches = prepared.batches("train", 5, seed=0)
    list(batches.epoch(0))
    read = _words.Words.read
    with monkeypatch.context() as patch:
        patch.setattr(_words.Words, "read", lambda self, texts: pytest.fail("read again") if any(texts) else read(self, texts))
        found = [question.asked["y"] for question in batches.epoch(1)]
    wanted = [question.asked["y"] for question in again.batches("train", 5, seed=0).epoch(1)]
    for (batch, _), (other, _) in zip(found, wanted, strict=True):
        assert batch.inputs["x"].keys() == other.inputs["x"].keys()
        for name, tensor in batch.inputs["x"].items():
            assert torch.equal(tensor, other.inputs["x"][name]), name


def test_only_so_much_is_remembered() -> None:
    prepared, asked = prepare(recipe()), []
    modality, facts = prepared.recipe.inputs["x"], prepared.schema.inputs["x"]

    def take(rows: np.ndarray) -> list[str | None]:
        asked.append(rows.tolist())
        return [ROWS[row]["x"] for row in rows]

    remembered = Remembered(modality, facts, take, most=modality.size(ROWS[1]["x"]) + 1)
    first = remembered(np.array([2, 1, 1, 0]))
    again = remembered(np.array([0, 2, 1]))
    assert asked == [[2, 1, 0], [1]] and first[3] is None
    assert again[1] is first[0] and list(again[2].ids) == list(first[1].ids)
