"""Templates: names in braces, braces themselves, and mistakes."""

import pytest

from omnitune.nn.template import Prompt, Template


def test_values_take_the_place_of_names_and_it_is_known_where() -> None:
    template = Template("{{x}} {a}: { b }, {a}")
    assert template.problem() is None
    assert template.names == ("a", "b")
    text, spans = template.filled({"a": "{b}", "b": "𝄞é"})
    assert text == "{x} {b}: 𝄞é, {b}"
    assert [(name, text[start:stop]) for name, start, stop in spans] == [("a", "{b}"), ("b", "𝄞é"), ("a", "{b}")]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a } b", r"brace '}' at character 3 has no partner; write '}}'"),
        ("a {b", r"brace '{' at character 3"),
        ("{a{b}}", "at character 1"),
        ("x {} y", "no name in the braces at character 3"),
        ("{ }", "no name"),
    ],
)
def test_what_is_wrong_with_braces_is_said(text: str, problem: str) -> None:
    found = Template(text).problem()
    assert found is not None and problem in found


def test_a_space_at_the_end_belongs_to_the_answer() -> None:
    asked = {text: (Prompt(Template(text)).body.text, Prompt(Template(text)).lead) for text in ("a:", "a: ", "a:\n", "a:\n ", "")}
    assert asked == {"a:": ("a:", " "), "a: ": ("a:", " "), "a:\n": ("a:\n", ""), "a:\n ": ("a:\n", ""), "": ("", "")}
    assert Prompt(Template("a: "), chat=True).lead == ""
