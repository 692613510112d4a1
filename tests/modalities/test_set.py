"""Sets: what is read as one, and that order says nothing."""

from typing import Any

import pytest
import torch

from omnitune.errors import Mistake
from omnitune.modalities.set import NOTHING, OTHER, Set

SETS = [["red", "round"], "red|big", ["red"], ["rare"], [], None, "round | big"]


def places(values: list[Any], **settings: Any) -> list[list[int]]:
    made = Set(**settings)
    found = made.encode(values, made.learn(SETS))
    return [row[real].tolist() for row, real in zip(found["places"], found["real"], strict=True)]


def test_lists_and_texts_are_sets() -> None:
    assert Set().learn(SETS)["categories"] == ["red", "big", "round"]
    assert places(["red|big", ["big", "red"], "big,red"]) == [[2, 3], [2, 3], [OTHER]]
    assert places(["big, red"], separator=",") == [[2, OTHER]]  # learned of texts with another separator


def test_a_member_counts_once_whatever_it_came_as() -> None:
    made = Set(min_count=1)
    facts = made.learn([[1, 1.0, "1"], "1|2"])
    assert facts["categories"] == ["1", "2"] and made.encode(["1|1|2"], facts)["places"].tolist() == [[2, 3]]


def test_texts_that_write_a_list_are_that_list() -> None:
    """As JSON, and as pandas leaves a list in a CSV file."""
    assert places(['["red", "big"]', " ['red', 'big'] ", "[]", "[red]"]) == [[2, 3], [2, 3], [NOTHING], [OTHER]]
    assert "a member in the list" in str(Set().check("[[1], 2]")) and Set().check("[1, 2]") is None
    assert Set(min_count=1).learn(["[1, 2.0]"])["categories"] == ["1", "2"]


def test_another_separator_is_said() -> None:
    with pytest.raises(Mistake, match=r"separator: no text holds the separator '\|', and 3 of 4 hold ','\. Set separator: \",\""):
        Set().learn(["red, big", "big,round", "red, round", None, "red"])
    assert Set().learn(["red|big, tall", "big, tall", "red, tall"])["categories"] == ["big, tall"]
    assert Set().learn([["red, tall"]] * 3)["categories"] == ["red, tall"]


def test_nothing_is_not_missing() -> None:
    made = Set().encode([[], None, "", float("nan"), ["new"]], Set().learn(SETS))
    assert made["present"].tolist() == [True, False, False, False, True]
    assert places([[], ["new"]]) == [[NOTHING], [OTHER]]


def test_order_says_nothing() -> None:
    made = Set()
    facts = made.learn(SETS)
    torch.manual_seed(0)
    tokens = made.encoder(facts)(made.encode([["round", "red", "new"], ["new", "red", "round"]], facts))
    assert torch.equal(tokens.x_BLD[0], tokens.x_BLD[1])
    alone, both = (made.encoder(facts).embedding.weight[[2, 3]], ["red", "big"])
    encoder = made.encoder(facts)
    with torch.no_grad():
        encoder.embedding.weight[[2, 3]] = alone
    torch.testing.assert_close(encoder(made.encode([both], facts)).x_BLD[0, 0], alone.sum(0))
    one = made.encode([["red"], ["round", "red", "big"]], facts)
    assert one["real"].tolist() == [[True, False, False], [True, True, True]]


def test_of_large_sets_the_rarest_members_are_cut_and_counted() -> None:
    assert places([["new", "round", "red"]], max_members=2) == [[2, 4]]
    assert Set(max_members=1).learn(SETS)["cut"] == pytest.approx(3 / 6)


@pytest.mark.parametrize(("value", "said"), [(7, "expected a list of members"), ([[1]], "a member in the list"), ({"a": 1}, "expected a list")])
def test_what_is_no_set_is_said(value: Any, said: str) -> None:
    assert said in str(Set().check(value))


def test_hidden_members_are_unknown_in_training_alone() -> None:
    import numpy as np

    made = Set(hide=0.5)
    facts = made.learn(SETS)
    hidden = made.encode([["red", "big"]] * 200, facts, np.random.default_rng(0))["places"]
    assert 0.4 < float((hidden == OTHER).float().mean()) < 0.6
    assert bool((made.encode([["red", "big"]], facts)["places"] != OTHER).all())
