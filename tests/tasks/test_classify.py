import json
from typing import Any

import numpy as np
import pytest
import torch

from omnitune.errors import Mistake
from omnitune.nn.tokens import Batch
from omnitune.recipe import Recipe
from omnitune.tasks.classify import Classify


def ask(task: Classify, answers: list[Any], facts: dict[str, Any]) -> dict[str, torch.Tensor]:
    return task.prepare(Batch({}, np.arange(len(answers))), {"y": answers}, facts, None)[1]


def test_one_class_however_a_file_spells_it() -> None:
    task = Classify("y")
    spellings = [[1, 0, 1, 2], [1.0, 0.0, 1.0, 2.0], ["1", "0", "1", "2"]]
    targets = [ask(task, answers, task.learn({"y": [0, 1, 2]})) for answers in spellings]
    assert [t["y"].tolist() for t in targets] == [[1, 0, 1, 2]] * 3


@pytest.mark.parametrize(
    ("answers", "classes"),
    [
        ([2, 10, 1], [1, 2, 10]),
        ([True, False], [False, True]),
        (["ä", "b", "a"], ["a", "b", "ä"]),
        ([2.0, None, 0.5, float("nan")], [0.5, 2]),
    ],
)
def test_answers_come_back_as_they_stood_in_the_table(answers: list[Any], classes: list[Any]) -> None:
    task = Classify("y")
    facts = json.loads(json.dumps(task.learn({"y": answers})))
    assert facts["classes"] == classes and [type(c) for c in facts["classes"]] == [type(c) for c in classes]
    said = task.decode(np.eye(len(classes), dtype=np.float32), facts)
    assert [answer["value"] for answer in said] == classes
    assert list(said[0]["probabilities"].values()) == [1.0] + [0.0] * (len(classes) - 1)


def test_names_of_probabilities_are_texts() -> None:
    task = Classify("y")
    said = task.decode(np.array([[0.25, 0.75]], dtype=np.float32), task.learn({"y": [True, False]}))
    assert said == [{"value": True, "probabilities": {"false": 0.25, "true": 0.75}}]


def test_empty_cells_are_no_class() -> None:
    task = Classify("y")
    facts = task.learn({"y": ["a", "", "b", " ", None, "a"]})
    assert facts["classes"] == ["a", "b"] and facts["counts"] == [2, 1]
    assert ask(task, ["", "a"], facts)["weight"].tolist() == [0, 1]


def test_a_class_that_training_never_saw_weighs_nothing_and_is_counted() -> None:
    task = Classify("y")
    facts = task.learn({"y": ["a", "b"]})
    target = ask(task, ["c", "a", None], facts)
    assert target["y"].tolist() == [-1, 0, -1] and target["weight"].tolist() == [0, 1, 0]
    assert task.unseen({"y": ["c", "a", None, "d"]}, facts) == 2


def test_weights_by_class() -> None:
    answers = {"y": ["a"] * 6 + ["b"] * 2}
    balanced = Classify("y", class_weights="balanced").learn(answers)["weights"]
    assert balanced == pytest.approx([8 / 12, 8 / 4])
    task = Classify("y", class_weights={"b": 3})
    facts = task.learn(answers)
    assert facts["weights"] == [1.0, 3.0]
    assert ask(task, ["b", "a", None], facts)["weight"].tolist() == [3, 1, 0]
    assert Classify("y", class_weights={0: 2.0}).learn({"y": [0, 1, 1]})["weights"] == [2.0, 1.0]


def test_a_weight_for_no_class_is_a_mistake() -> None:
    with pytest.raises(Mistake, match=r"no training row is 'hig'\. Did you mean 'high'"):
        Classify("y", class_weights={"hig": 2}).learn({"y": ["high", "low"]})
    for wrong in ({"a": 0}, {"a": -1}, {"a": float("nan")}, "balance"):
        with pytest.raises(Mistake, match="class_weights"):
            Classify("y", class_weights=wrong)  # type: ignore[arg-type]


def test_too_many_classes_are_a_mistake_that_says_what_else_to_do() -> None:
    with pytest.raises(Mistake, match="kind: regress"):
        Classify("y").learn({"y": [i / 7 for i in range(100)]})
    with pytest.raises(Mistake, match="another target"):
        Classify("y").learn({"y": [f"customer {i}" for i in range(100)]})
    assert len(Classify("y").learn({"y": [i // 2 for i in range(100)]})["classes"]) == 50


def test_thousands_of_classes_and_long_names() -> None:
    names = [f"{'é' * 500}{i}" for i in range(3000)]
    task = Classify("y")
    facts = task.learn({"y": names * 2})
    assert len(facts["classes"]) == 3000
    target = ask(task, names, facts)
    assert sorted(target["y"].tolist()) == list(range(3000))
    assert [facts["classes"][i] for i in target["y"]] == names


def test_in_a_recipe() -> None:
    written = {"kind": "classify", "target": "y", "class_weights": {1: 2.0, "b": 1.5}}
    recipe = Recipe(data="x.csv", inputs={"a": "number"}, tasks={"t": written})
    assert recipe.tasks["t"].class_weights == {"1": 2.0, "b": 1.5}
    assert recipe.fingerprint
