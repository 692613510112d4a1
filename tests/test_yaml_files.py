import pytest

from omnitune import yaml_files
from omnitune.errors import Mistake


def test_overrides_reach_into_mappings_and_grow_words() -> None:
    values = {"data": "x.csv", "tuning": "lora", "inputs": {"review": "text"}}
    changed = yaml_files.override(values, ["train.lr=1e-4", "tuning.rank=4", "data.split=[0.5, 0.25, 0.25]", "inputs.review.max_tokens=64"])
    assert changed["train"] == {"lr": 1e-4}
    assert changed["tuning"] == {"kind": "lora", "rank": 4}
    assert changed["data"] == {"from": "x.csv", "split": [0.5, 0.25, 0.25]}
    assert changed["inputs"]["review"] == {"kind": "text", "max_tokens": 64}
    assert values == {"data": "x.csv", "tuning": "lora", "inputs": {"review": "text"}}, "the values given stay as they were"


def test_overrides_that_are_none_are_named_together() -> None:
    with pytest.raises(Mistake) as caught:
        yaml_files.override({}, ["lr", "=3"])
    assert len(caught.value.parts) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &x [1, 2]\nb: *x", "line 2: aliases"),
        ("a: 1\nb: 2\na: 3", "line 3: 'a' stands twice"),
        ("a: [1", "not YAML"),
        ("a: !!python/object/apply:os.system [ls]", "not YAML"),
        ("a: " + "[" * 5000, "nested too deeply"),
        ("a: " + "x" * 2_000_000, "characters long"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(Mistake, match=says):
        yaml_files.parse(text, "r.yaml")


def test_scientific_numbers_are_numbers() -> None:
    assert yaml_files.parse("[1e-4, 2E5, 1.5e-3, -3e2]", "r.yaml") == [1e-4, 2e5, 1.5e-3, -3e2]
    assert yaml_files.parse("[e5, 1e, abc]", "r.yaml") == ["e5", "1e", "abc"]
