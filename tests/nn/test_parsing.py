"""Texts that are to be code, and those that are drawn again."""

from collections.abc import Sequence

import pytest

from omnitune.nn.parsing import parsed, python


@pytest.mark.parametrize("text", ["x = 1", " x = 1\ny = 2", "    return x\n    # done", "def f(x):\n    return '\\d'", "yield"])
def test_python_is_known(text: str) -> None:
    assert python(text)


@pytest.mark.parametrize("text", ["", "  \n", "x = (", "def f(x)\n  return x", "x\0", "(" * 400, "pass\n    pass"])
def test_and_what_is_none(text: str) -> None:
    assert not python(text)


def test_the_first_that_is_right_is_kept_and_else_the_first_of_all() -> None:
    said = {"a": ["bad", "good 1", "good 2"], "b": ["bad 0", "bad 1", "bad 2"], "c": ["good 0"]}
    asked: list[tuple[str, int]] = []

    def write(rows: Sequence[str], number: int) -> list[str]:
        asked.extend((row, number) for row in rows)
        return [said[row][number] for row in rows]

    assert parsed(write, ["a", "b", "c"], 3, lambda text: text.startswith("good")) == ["good 1", "bad 0", "good 0"]
    assert asked == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("b", 2)]
