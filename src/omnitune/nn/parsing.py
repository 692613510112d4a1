"""Parsing: texts that are to be code, drawn again where they are none."""

import ast
import textwrap
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

W = TypeVar("W")
R = TypeVar("R")


def python(text: str) -> bool:
    """Whether a text, a space at its beginning aside, is Python by the grammar of the Python that runs; all lines may be indented."""
    return bool(text.strip()) and any(_parses(textwrap.dedent(one)) for one in dict.fromkeys((text, text.removeprefix(" "))))


def _parses(text: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that are odd, yet allowed
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def parsed(write: Callable[[Sequence[R], int], list[W]], rows: Sequence[R], tries: int, right: Callable[[W], bool]) -> list[W]:
    """Of each row the first of up to `tries` texts that is right; the first of all where none is.

    Args:
        write: what is written for some rows at a try, from 0.
        rows: to be written for.
        tries: one at least.
        right: whether a text will do.
    """
    made = write(rows, 0)
    for number in range(1, tries):
        wrong = [i for i, text in enumerate(made) if not right(text)]
        if not wrong:
            break
        for i, text in zip(wrong, write([rows[i] for i in wrong], number), strict=True):
            made[i] = text if right(text) else made[i]
    return made
