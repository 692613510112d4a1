"""What a text must be, held against texts letter by letter."""

import re

import pytest

from omnitune import Mistake
from omnitune.nn import grammar
from omnitune.nn.control import Control


def takes(control: Control, text: str) -> bool:
    """Whether a text is what it must be, by a tokenizer whose tokens are bytes."""
    assert control.grammar
    matcher = grammar.matcher(grammar.library().LLTokenizer("byte"), control.grammar)
    return all(matcher.consume_token(byte) for byte in text.encode()) and matcher.is_accepting()


@pytest.mark.parametrize("text", ["the cat sat", "Cat!", "a CAT", "cats and dogs", "no, category"])
def test_no_word_begins_with_what_is_forbidden(text: str) -> None:
    assert not takes(Control(forbid=("dog", "cat")), text)


@pytest.mark.parametrize("text", ["concatenate", "c at", "", "scat", "ca", "the doc\nand dot"])
def test_what_only_looks_like_it_is_allowed(text: str) -> None:
    assert takes(Control(forbid=("dog", "cat")), text)


def test_a_phrase_is_one_whatever_parts_its_words() -> None:
    held = Control(forbid=("as an AI",))
    assert not takes(held, "Well, as an\n AI, I") and takes(held, "as an hour")


def test_scripts_without_spaces_hide_no_word() -> None:
    assert not takes(Control(forbid=("不好",)), "这个不好吃") and takes(Control(forbid=("不好",)), "这个很好")
    assert not takes(Control(forbid=("élan",)), "quel Élan") and takes(Control(require=("сон",)), "мой Сон!")


@pytest.mark.parametrize(("text", "there"), [("an excellent film", True), ("Excellent", True), ("excellently", False), ("unexcellent", False)])
def test_a_required_word_is_a_whole_word(text: str, there: bool) -> None:
    assert takes(Control(require=("excellent",)), text) is there
    assert bool(re.fullmatch(grammar.holding("excellent", True), text)) is there


def test_expressions_and_words_hold_together() -> None:
    held = Control(regex=r"[a-z]+/[a-z]+( [a-z]+)*", forbid=("bad",), require=("good",))
    assert takes(held, "a/b good") and takes(held, " a/b good")
    assert not any(takes(held, text) for text in ("a/b", "good", "a/good bad", "a/badly good", "  a/b good"))
    assert takes(Control(regex="a\\/b|\n"), "a/b") and takes(Control(regex="a\\/b|\n"), "\n")


def test_choices_are_spelled_whatever_they_hold() -> None:
    odd = ("a.b", "C:\\x/y", 'say "hi"\n', "<|end|>", "größe 服 [1]")
    held = Control(choices=odd)
    assert all(takes(held, text) and takes(held, f" {text}") for text in odd)
    assert not any(takes(held, text) for text in ("axb", "", "a.bC", "A.B"))


def test_json_is_of_its_schema() -> None:
    held = Control(json_schema={"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False})
    assert takes(held, '{"n": 1}') and takes(held, ' {\n  "n":   12\n}')
    assert not any(takes(held, text) for text in ('{"n": 1.5}', "{}", '{"n": 1, "m": 2}', '{"n":' + " " * 50 + "1}"))
    assert takes(Control(json_schema={}), '[1, {"a": null}]')


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regex": "(a"}, "Control: regex cannot be held to: unclosed group"),
        ({"regex": r"(?=a)b"}, "Control: regex cannot be held to: look-around, including"),
        ({"regex": "[a-z]+", "require": ("Größe",)}, "no text is like that"),
        ({"forbid": ("good",), "require": ("goodness",)}, "forbid and require cannot be held to: no text is like that"),
        ({"json_schema": {"type": "objekt"}}, "json_schema cannot be held to: failed to compile JSON schema: Invalid type: objekt"),
        ({"json_schema": {"type": "object", "required": ["a"], "maxProperties": 0}}, "json_schema cannot be held to"),
        ({"choices": ("a",), "regex": "b"}, "a text cannot be held to choices and regex at once"),
        ({"json_schema": {}, "forbid": ("a",)}, "words are not looked for in JSON"),
        ({"choices": ("",)}, "choices"),
        ({"tries": 3}, "tries is of use with parses only"),
        ({"require": (" a",)}, "no white space around"),
        ({"min_tokens": -1}, "min_tokens"),
    ],
)
def test_what_cannot_be_held_to_is_said_at_once(settings: dict[str, object], message: str) -> None:
    with pytest.raises(Mistake, match=re.escape(message)):
        Control(**settings)


def test_without_the_library_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(Mistake, match=r"llguidance, which is not installed.*pip install 'omnitune\[control\]'"):
        Control(choices=("a", "b"))
    assert Control(min_tokens=3).grammar is None
