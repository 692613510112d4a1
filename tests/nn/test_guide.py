"""Texts that a model without any training writes, and still what they must be."""

import json
import re
from typing import Any

import pytest

import checkpoints
import instructions
from omnitune import Control, Mistake, Sampling
from omnitune.nn.writing import Written
from omnitune.recipe import read
from omnitune.training.writing import Writing
from runs import ready

GREEDY, DRAWN, BEAMS = Sampling(100, 0), Sampling(100, 1.5, seed=3), Sampling(100, 0, num_beams=3)
ROWS = instructions.rows(60)


@pytest.fixture(scope="module")
def writing() -> Writing:
    return _writing(str(checkpoints.tiny_llama()))


def _writing(backbone: str, **task: Any) -> Writing:
    values = instructions.recipe(ROWS, answer_tokens=32, **task).to_dict() | {"data": {"from": ROWS}}
    values["inputs"]["place"] |= {"backbone": backbone, "max_tokens": 96}
    model, prepared = ready(read(values))
    return Writing(model.eval(), prepared.recipe, prepared.schema, "means")


def write(writing: Writing, control: Control | None, sampling: Sampling = GREEDY, rows: int = 5) -> list[Written]:
    return writing(ROWS[:rows], Sampling(**vars(sampling) | {"control": control}))


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN, BEAMS], ids=["greedy", "drawn", "beams"])
@pytest.mark.parametrize("backbone", [checkpoints.tiny_llama, checkpoints.tiny_sentinel_t5, checkpoints.tiny_bart], ids=["llama", "t5", "bart"])
def test_one_of_the_choices_is_written(backbone: Any, sampling: Sampling) -> None:
    choices = ("go on", "Stop", "wait a little")
    said = write(_writing(str(backbone())), Control(choices=choices), sampling)
    assert all(one.text in choices and one.meets for one in said), said


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN, BEAMS], ids=["greedy", "drawn", "beams"])
def test_the_expression_matches(writing: Writing, sampling: Sampling) -> None:
    said = write(writing, Control(regex=r"[a-z]{2,5}-\d{1,3}"), sampling)
    assert all(re.fullmatch(r"[a-z]{2,5}-\d{1,3}", one.text) and one.meets for one in said), said


def test_json_can_be_read(writing: Writing) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"enum": ["x", "yes"]}},
        "required": ["a", "b"],
        "additionalProperties": False,
    }
    said = write(writing, Control(json_schema={"x-guidance": {"whitespace_flexible": False, "whitespace_pattern": ""}} | schema))
    assert all(set(json.loads(one.text)) == {"a", "b"} and one.meets for one in said), said


def test_what_is_forbidden_is_not_written(writing: Writing) -> None:
    free = write(writing, None)
    common = sorted({sign.lower() for one in free for sign in one.text if sign.isascii() and sign.isalpha()})[:4]
    assert common, free
    said = write(writing, Control(forbid=tuple(common)))
    begin = re.compile(rf"(?i)(?:^|\W)(?:{'|'.join(common)})")
    assert any(begin.search(one.text) for one in free) and not any(begin.search(one.text) for one in said)


def test_what_is_required_is_written_where_there_is_just_room(writing: Writing) -> None:
    said = write(writing, Control(require=("green", "blue light")))
    assert all(re.search(r"\bgreen\b", one.text) and re.search(r"\bblue light\b", one.text) and one.meets for one in said), said
    assert all(29 <= len(one.tokens) <= 32 for one in said), "this model never ends by itself"


@pytest.mark.parametrize("sampling", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_every_row_is_held_to_it_where_rows_take_the_places_of_others(writing: Writing, sampling: Sampling) -> None:
    control = Control(regex="[a-h]{2}-([0-9]{1,9}|x[a-z]{0,7})")
    assert writing.writer.refills
    said = write(writing, control, sampling, rows=40)
    assert all(re.fullmatch(control.regex or "", one.text) and one.meets for one in said), said
    assert len({len(one.tokens) for one in said}) > 1
    fewer = write(writing, control, sampling, rows=18)
    assert [one.tokens for one in said[:18]] == [one.tokens for one in fewer], "whatever is written beside them"


def test_too_few_tokens_are_told(writing: Writing) -> None:
    said = write(writing, Control(regex="[a-z]{60}"))
    assert not any(one.meets for one in said) and all(re.fullmatch("[a-z]+", one.text) for one in said)


def test_the_end_waits_for_enough_tokens(writing: Writing) -> None:
    short, long = (write(writing, Control(regex="[ab]{1,9}", min_tokens=least), DRAWN) for least in (0, 5))
    assert min(len(one.tokens) for one in short) < 6 <= min(len(one.tokens) for one in long)
    must = write(writing, Control(choices=("go",), min_tokens=9))
    assert {one.text for one in must} == {"go"} and not any(one.meets for one in must)


def test_required_words_wait_for_the_least_number_of_tokens(writing: Writing) -> None:
    said = write(writing, Control(require=("green",), min_tokens=30))
    assert all(one.meets and len(one.tokens) >= 30 for one in said), said


def test_code_is_drawn_again_until_it_parses(writing: Writing) -> None:
    once, often = (write(writing, Control(regex="[a(]{3,4}", parses="python", tries=tries), DRAWN, 20) for tries in (1, 8))
    assert sum(bool(one.meets) for one in once) < sum(bool(one.meets) for one in often)
    assert all(b.text == a.text for a, b in zip(once, often, strict=True) if a.meets)


def test_probabilities_are_those_of_the_model_as_it_is(writing: Writing) -> None:
    (free,), (held,) = (write(writing, control, rows=1) for control in (None, Control(regex="[0-9]+")))
    assert held.probabilities[0] < free.probabilities[0], "the mask does not make a digit likelier than the model took it for"


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (Control(choices=("a", "long " * 40)), r"control\.choices: 'long long.* takes \d+ tokens, and 32 are written at most"),
        (Control(require=("long " * 40 + "x",)), r"control\.require: all of it takes \d+ tokens, and 32"),
        (Control(min_tokens=33), r"control\.min_tokens: the least takes 33 tokens, and 32 are written at most"),
    ],
)
def test_no_room_is_said(writing: Writing, control: Control, message: str) -> None:
    with pytest.raises(Mistake, match=message):
        write(writing, control)


def test_what_cannot_be_spelled_is_said() -> None:
    with pytest.raises(Mistake, match=r"control\.choices: 'Stop!' cannot be spelled by the tokens of this model"):
        write(_writing(str(checkpoints.tiny_sentinel_t5())), Control(choices=("Stop", "Stop!")))


def test_what_a_preferred_answer_must_be_is_said_in_its_task() -> None:
    rows = [row | {"worse": "no idea"} for row in ROWS]
    values = instructions.recipe(rows).to_dict() | {"data": {"from": rows}}
    task = {"kind": "prefer", "of": "place", "prompt": "{place} {light}:", "chosen": "means", "rejected": "worse", "loss": "simpo"}
    model, prepared = ready(read(values | {"tasks": {"better": task | {"control": {"choices": ["go on"]}}}}))
    (said,) = Writing(model.eval(), prepared.recipe, prepared.schema, "better")(rows[:1])
    assert said.text == "go on" and said.meets
    assert "meets" in prepared.recipe.tasks["better"].judge().metrics()
