from typing import Any

import numpy as np
import pytest
import torch

from omnitune.errors import Mistake
from omnitune.nn.tokens import Batch
from omnitune.tasks.label import Label


def ask(task: Label, columns: dict[str, list[Any]], facts: dict[str, Any]) -> dict[str, torch.Tensor]:
    rows = len(next(iter(columns.values())))
    return task.prepare(Batch({}, np.arange(rows)), columns, facts, None)[1]


@pytest.mark.parametrize(
    ("task", "answers"),
    [
        (Label("y"), [["b", "a"], ["b"], [], None]),
        (Label("y"), ["b|a", "b", "", None]),
        (Label("y", separator=","), ["b, a", " b ", "", None]),
        (Label("y", separator=", "), ["b, a, ", "b", "", None]),
    ],
)
def test_lists_and_texts_say_the_same(task: Label, answers: list[Any]) -> None:
    facts = task.learn({"y": answers})
    assert facts == {"labels": ["a", "b"], "known": [3, 3], "counts": [1, 2]}
    target = ask(task, {"y": answers}, facts)
    assert target["y"].tolist() == [[1, 1], [0, 1], [0, 0], [-1, -1]]
    assert target["weight"].tolist() == [1, 1, 1, 0]


def test_columns_of_flags_may_be_empty_on_their_own() -> None:
    task = Label(("red", "round"))
    columns = {"red": [1, 0, None, None], "round": ["true", False, 1.0, None]}
    assert [task.check(v) for v in [1, 0, True, "False", 0.0, "1"]] == [None] * 6
    facts = task.learn(columns)
    assert facts == {"labels": ["red", "round"], "known": [2, 3], "counts": [1, 2]}
    target = ask(task, columns, facts)
    assert target["y"].tolist() == [[1, 1], [0, 0], [-1, 1], [-1, -1]]
    assert target["weight"].tolist() == [1, 1, 1, 0]
    assert task.columns() == ("red", "round")
    assert "expected 0 or 1" in str(task.check("maybe")) and "expected 0 or 1" in str(task.check(2))


def test_answers_come_back_as_they_stood_in_the_table() -> None:
    task = Label("y")
    facts = task.learn({"y": [[1, 10], [2], [2.0, 1]]})
    assert facts["labels"] == [1, 2, 10]
    said = task.decode(np.array([[0.5, 0.49, 0.9]], dtype=np.float32), facts)
    assert said[0]["value"] == [1, 10]
    assert list(said[0]["probabilities"]) == ["1", "2", "10"]


def test_a_label_counts_once_a_row() -> None:
    assert Label("y").learn({"y": ["a|a|b", "a", "b"]})["counts"] == [2, 2]


def test_a_label_that_training_never_saw_is_left_out_and_counted() -> None:
    task = Label("y")
    facts = task.learn({"y": ["a|b", "a"]})
    columns = {"y": ["a|c", "b", None]}
    assert ask(task, columns, facts)["y"].tolist() == [[1, 0], [0, 1], [-1, -1]]
    assert task.unseen(columns, facts) == 1
    assert Label(("a", "b")).unseen({"a": [1], "b": [0]}, {}) == 0


@pytest.mark.parametrize(
    ("task", "value", "said"),
    [
        (Label("y"), 1, r"target: \[COLUMN\]"),
        (Label("y"), ["a", None], "empty"),
        (Label("y"), ["a", ["b"]], "list"),
        (Label("y"), [float("inf")], "finite"),
        (Label(("a", "b")), ["a"], "target: COLUMN"),
    ],
)
def test_a_wrong_spelling_is_said(task: Label, value: Any, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(task.check(value))


def test_another_separator_is_noticed() -> None:
    with pytest.raises(Mistake, match='Set separator: ","'):
        Label("y").learn({"y": ["a,b", "b,c", "c"]})
    assert Label("y", separator=",").learn({"y": ["a,b", "b,c", "c"]})["labels"] == ["a", "b", "c"]
    assert Label("y").learn({"y": ["a, b|c", "c"]})["labels"] == ["a, b", "c"]


def test_sentences_are_no_labels() -> None:
    with pytest.raises(Mistake, match="look like names or sentences"):
        Label("y").learn({"y": [f"This is review {i}" for i in range(30)]})


def test_flags_that_never_differ_are_a_mistake() -> None:
    with pytest.raises(Mistake, match="the same labels"):
        Label(("a", "b")).learn({"a": [1, 1], "b": [0, 0]})
    with pytest.raises(Mistake, match="at least 1 item"):
        Label(())
