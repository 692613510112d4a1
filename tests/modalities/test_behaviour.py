"""What a cell of a history may be, and what is learned of them."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest
import torch

import checkpoints
from omnitune.errors import Mistake
from omnitune.modalities.behaviour import Behaviour, Items
from omnitune.modalities.category import Category
from omnitune.modalities.number import Number
from omnitune.modalities.text import Text

FACTS = Behaviour().learn([["a", "b", "7"]])
NAN = float("nan")


@pytest.mark.parametrize("value", ['["a", "new", 7]', "a|new|7", ["a", "new", 7.0], ("a", "new", "7"), np.array(["a", "new", "7"]),
                                   [{"item": "a", "time": None}, {"item": "new"}, {"item": 7, "action": NAN}]], ids=str)  # fmt: skip
def test_lists_and_texts_of_lists_are_read_alike(value: Any) -> None:
    assert Behaviour().check(value) is None
    encoded = Behaviour().encode([value], FACTS)
    places = {name: place for place, name in enumerate(FACTS["items"], 1)}
    assert encoded["items"].tolist() == [[places["a"], 0, places["7"]]] and encoded["known"].all()


def test_a_number_is_the_id_of_one() -> None:
    assert Behaviour().encode([7, "7", 8], FACTS)["items"].tolist() == Behaviour().encode([["7"], [7.0], ["8"]], FACTS)["items"].tolist()
    assert Behaviour().size(7) == 1


@pytest.mark.parametrize("value", [None, NAN, "", "  ", [], "[]"])
def test_nothing_is_missing(value: Any) -> None:
    assert Behaviour().check(value) is None
    assert Behaviour().encode([value, ["a"]], FACTS)["present"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        (["a", None], "item 2 of 2: it has no id"), ("a||b", "item 2 of 3: it has no id"), ([["a"]], "item 1 of 1: expected a text"),
        ([{"id": "a"}], "item 1 of 1: it has 'id'; an item is an id, or has item, time, action"), ("[1, 2", "begins like a list in JSON"),
        ([{"item": "a", "time": 5}, {"item": "b", "time": 4}], "item 2 of 2: it is earlier than one before it"), ({"a": 1}, "expected a list"),
        ([{"item": "a", "time": "yesterday"}], "item 1 of 1: 'yesterday' is no time"), ([{"item": "a", "time": 1e300}], "is no time"),
        ([{"item": "a", "time": True}], "'True' is no time"), ([{"item": "a", "action": ["x"]}], "item 1 of 1: expected a text"),
        ([float("inf")], "no finite number"), (b"a", "expected a list of items, got bytes"),
    ],
)  # fmt: skip
def test_what_is_no_history_is_said(value: Any, wrong: str) -> None:
    assert wrong in str(Behaviour().check(value))


@pytest.mark.parametrize("time", [86_400, 86_400.0, "86400", date(1970, 1, 2), datetime(1970, 1, 2), datetime(1970, 1, 2, tzinfo=UTC), "1970-01-02"])
def test_times_are_seconds_or_dates(time: Any) -> None:
    histories = [[{"item": "a", "time": 0}, {"item": "b", "time": time}], [{"item": "a", "time": 0}, {"item": "b", "time": 9}]]
    facts = Behaviour().learn(histories)
    gaps = np.log1p([86_400, 9])
    assert facts["gap"] == pytest.approx([gaps.mean(), gaps.std()])
    assert Behaviour().encode(histories, facts)["gaps"].numpy() == pytest.approx(np.array([[[0, 0], [1, 1]], [[0, 0], [-1, 1]]]), abs=1e-5)


def test_the_newest_items_are_read_and_the_cut_is_counted() -> None:
    kind = Behaviour(max_items=2)
    facts = kind.learn([["a", "b", "c"], ["c"], None])
    assert facts["items"] == ["c", "a", "b"] and facts["counts"] == [2, 1, 1] and facts["cut"] == 0.5 and facts["longest"] == 2
    encoded = kind.encode([["a", "b", "c"], ["c"]], facts)
    assert encoded["items"].tolist() == [[3, 1], [1, 0]] and encoded["known"].tolist() == [[True, True], [True, False]]
    assert encoded["seen"].tolist() == [[2, 3, 1], [1, -1, -1]]


def test_rare_items_share_a_vector_and_learn_nothing_of_their_own() -> None:
    kind = Behaviour(min_count=2, hide=0.0)
    facts = kind.learn([["a", "a", "b", "c"]])
    assert facts["own"] == 1
    vectors = kind.encoder(facts).items.every()
    assert torch.equal(vectors[1], vectors[2]) and not torch.equal(vectors[0], vectors[1])


def test_a_causal_encoder_sees_no_later_item() -> None:
    torch.manual_seed(0)
    for causal in (True, False):
        kind = Behaviour(causal=causal)
        module = kind.encoder(FACTS).eval()
        both = kind.encode([["a", "b", "7"], ["a", "b", "a"]], FACTS)
        x = module(both).x_BLD
        assert torch.allclose(x[0, :2], x[1, :2], atol=1e-6) == causal


def described(**columns: Any) -> tuple[Behaviour, dict[str, Any]]:
    kind = Behaviour(items=Items(source="x", columns=columns), hide=0.0, width=16, heads=2)
    table = {
        "a": {"price": 1.0, "genres": ["x", "y"], "title": "a red dress"}, "b": {"price": 2.0, "genres": ["x", "y"], "title": "a blue coat"},
        "c": {"price": 3.0, "genres": [], "title": None}, "cold": {"price": 2.0, "genres": ["y", "x"], "title": "a blue coat"},
    }  # fmt: skip
    return kind, kind.learn_items([["a", "b"], ["a", "c"]], ["a", None], table)


def test_items_are_described_by_their_table() -> None:
    kind, facts = described(price=Number(), genres=Category(min_count=1))
    assert facts["items"] == ["a", "b", "c", "cold"] and facts["counts"] == [3, 1, 1, 0] and facts["own"] == 3
    assert facts["described"]["price"]["facts"]["mean"] == 2.0 and facts["described"]["genres"]["cells"] == [["x", "y"], ["x", "y"], [], ["y", "x"]]
    items = kind.encoder(facts).items
    with torch.no_grad():
        items.ids.weight.zero_()
        a, b, c, cold = items.every()
        torch.testing.assert_close(b, cold)
        assert not torch.allclose(a, b) and not torch.allclose(b, c)
        assert not items(torch.tensor([0])).any()
        torch.testing.assert_close(items(torch.tensor([[4, 0], [2, 4]]))[1], torch.stack([b, b]))
    module = kind.encoder(facts)
    module(kind.encode([["a", "b"]], facts)).x_BLD.square().sum().backward()
    assert all(p.grad is not None for n, p in module.items.named_parameters() if "described" in n)


def test_texts_of_a_pretrained_model_are_read_once_and_kept() -> None:
    kind, facts = described(title=Text(str(checkpoints.tiny_bert())))
    torch.manual_seed(3)
    module, state = kind.encoder(facts), torch.get_rng_state()
    assert not any("encoder" in name for name, _ in module.items.named_parameters())
    with torch.no_grad():
        module.items.ids.weight.zero_()
        a, b, c, cold = module.items.every()
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(b, cold)
    assert not torch.allclose(a, b) and not c.any()
    other = kind.encoder(facts)
    other.load_state_dict(module.state_dict())
    other.items.described[0].read.make = None  # never asked again
    torch.testing.assert_close(other.items.every(), module.items.every())


def test_a_history_describes_no_item() -> None:
    with pytest.raises(Mistake, match="cannot be a history"):
        Items(source="x", columns={"before": Behaviour()})
    with pytest.raises(Mistake, match="columns"):
        Items(source="x")
    with pytest.raises(Mistake, match="must divide width 63"):
        Behaviour(width=63, heads=2)
