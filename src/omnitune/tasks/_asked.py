"""What tasks share that ask a language model about texts behind a prompt."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

import pydantic
from pydantic import Field

from omnitune.errors import Mistake
from omnitune.nn.template import Prompt, Template
from omnitune.tasks import Facts, SelfSupervised

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder
    from omnitune.nn.language import WordsHead


@dataclass(frozen=True)
class Asked(SelfSupervised, ABC):
    """Several texts behind one prompt, told apart by how likely a language model takes them. See the kinds for `prompt`, `chat`, `system` and
    `answer_tokens`."""

    forks: ClassVar[bool] = True

    prompt: str
    chat: bool = field(default=False, kw_only=True)
    system: str | None = field(default=None, kw_only=True)
    answer_tokens: Annotated[int, Field(ge=2)] | None = field(default=None, kw_only=True)

    @pydantic.field_validator("prompt")
    @classmethod
    def _reads(cls, prompt: str) -> str:
        if problem := Template(prompt).problem():
            raise ValueError(problem)
        return prompt

    @pydantic.field_validator("system")
    @classmethod
    def _in_a_chat(cls, system: str | None, found: pydantic.ValidationInfo) -> str | None:
        if system is not None and not found.data.get("chat"):
            raise ValueError("is of use in a chat only: set chat: true")
        return system

    @property
    def prompts(self) -> Prompt:
        """See `Task.prompts`."""
        return Prompt(Template(self.prompt), self.chat, self.system)

    def learn_from(self, facts: Facts) -> Facts:
        """As of `speaks`."""
        return speaks(self.kind, self.of, facts, prompted=True)

    def says(self, facts: Facts, backbones: Mapping[str, Encoder]) -> WordsHead:
        """What says the words of the texts: the backbone itself, or its decoder."""
        from omnitune.nn.denoise import DenoiseHead
        from omnitune.nn.language import LanguageHead

        if "start" in facts:
            return DenoiseHead(self.of, backbones[self.of], [facts["start"]], facts["padding"])
        return LanguageHead(self.of, backbones[self.of])


def speaks(kind: str, of: str, facts: Facts, prompted: bool) -> Facts:
    """What a task must know of an input `of` whose backbone says words. `ends`: whether the tokenizer marks the end of a text; of an encoder-decoder
    the token that an answer begins with (`start`) and `padding`.

    Args:
        kind: of the task, for messages.
        of: the input.
        facts: its language.
        prompted: whether the task has a prompt.

    Raises:
        Mistake: the backbone reads texts as a whole, or was saved without the table that it says words by; or texts with a prompt are to be read
            in pieces.
    """
    if prompted and facts["pieces"]:
        raise Mistake(kind, f"a prompt is not read in pieces, as inputs.{of}.pieces has it", "Leave pieces out, or the prompt")
    if prompted and facts["decodes"]:
        if not facts["says"] or facts["start"] is None:
            wrong = f"the files of the backbone of {of!r} hold its encoder alone, or config.json names no decoder_start_token_id"
            raise Mistake(kind, wrong, "Choose a checkpoint that was saved with its decoder")
        return {name: facts[name] for name in ("ends", "start", "padding")}
    if not facts["causal"]:
        wrong = f"the backbone of {of!r} sees the words that it would be asked for"
        raise Mistake(kind, wrong, "Choose a GPT or another decoder, or ask masked_text of this one")
    if not facts["tied"] and not facts["says"]:
        wrong = f"the backbone of {of!r} says words by a table of its own, and its files do not hold it"
        raise Mistake(kind, wrong, "Choose a checkpoint that was saved with its language head")
    return {"ends": facts["ends"]}
