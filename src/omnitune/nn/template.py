"""Template: a text with names in braces, filled with the values of a row; and the prompt that it is the middle of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

PARTS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
Span = tuple[str, int, int]
"""A name, and where its value starts and stops in a filled text."""


@dataclass(frozen=True)
class Template:
    """A text such as `Summarise: {article}`; `{{` and `}}` stand for braces.

    Args:
        text: as it is written.
    """

    text: str

    def problem(self) -> str | None:
        """What is wrong with it, in words for the user."""
        for match in PARTS.finditer(self.text):
            if match[0] in ("{", "}"):
                return f"the brace {match[0]!r} at character {match.start() + 1} has no partner; write {match[0] * 2!r} for a brace itself"
            if match[1] is not None and not match[1].strip():
                return f"no name in the braces at character {match.start() + 1}"
        return None

    @cached_property
    def pieces(self) -> tuple[tuple[bool, str], ...]:
        """The parts in their order: whether it is a name, and the name or the plain text."""
        found, start = list[tuple[bool, str]](), 0
        for match in PARTS.finditer(self.text):
            found.append((False, self.text[start : match.start()]))
            found.append((True, match[1].strip()) if match[1] is not None else (False, match[0][0]))
            start = match.end()
        return (*found, (False, self.text[start:]))

    @property
    def names(self) -> tuple[str, ...]:
        """The names in braces, each once, in their order."""
        return tuple(dict.fromkeys(text for named, text in self.pieces if named))

    def filled(self, values: Mapping[str, str]) -> tuple[str, list[Span]]:
        """The text with values in place of names, and where they stand. What is in a value is never read as a name."""
        parts, spans, length = list[str](), list[Span](), 0
        for named, text in self.pieces:
            part = values[text] if named else text
            spans += [(text, length, length + len(part))] if named else []
            parts.append(part)
            length += len(part)
        return "".join(parts), spans


@dataclass(frozen=True)
class Prompt:
    """What a language model is asked: a template, and what stands around it.

    Args:
        template: is filled with the values of a row.
        chat: whether it is a user's message in the checkpoint's own chat template.
        system: a message before it, in a chat.
    """

    template: Template
    chat: bool = False
    system: str | None = None

    @property
    def body(self) -> Template:
        """The template less the spaces at its end: a space belongs to the word behind it, as tokenizers see it, so the answer begins with it."""
        return self.template if self.chat else Template(self.template.text.rstrip(" "))

    @property
    def lead(self) -> str:
        """What stands between the prompt and the answer: a space, unless the answer begins a line or a message."""
        return "" if self.chat or not self.body.text or self.body.text[-1].isspace() else " "
