"""Control: what a text that is written must be, hold, or leave out."""

from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from omnitune.errors import Mistake
from omnitune.nn import grammar
from omnitune.settings import Settings, in_our_words, problem, settings

TRIES = 4
Words = tuple[Annotated[str, Field(min_length=1)], ...]


@settings
class Control(Settings):
    """What a text that is written must be. Tokens that cannot lead there are never written; those that can keep their order.

    Args:
        choices: it is one of these.
        regex: a regular expression that all of it matches, as Rust writes them: nothing that looks around or back.
        json_schema: it is JSON of this schema (draft 2020-12, its properties in their order); `{}` for any JSON.
        forbid: words or phrases that no word of it begins with, in small or capital letters.
        require: words or phrases that it holds, in small or capital letters. Of a text that is free otherwise, those that are lacking are written
            where the model would end, or where there is just room for them.
        min_tokens: it does not end before, unless it must.
        parses: as this language; a text that does not is drawn again, up to `tries` texts in all, and the first that does is kept.
        tries: see `parses`.
    """

    choices: Words = ()
    regex: str | None = None
    json_schema: dict[str, Any] | None = None
    forbid: Words = ()
    require: Words = ()
    min_tokens: Annotated[int, Field(ge=0)] = 0
    parses: Literal["python"] | None = None
    tries: Annotated[int, Field(ge=1)] = TRIES

    @pydantic.field_validator("forbid", "require")
    @classmethod
    def _words(cls, words: Words) -> Words:
        if any(word != word.strip() or not word for word in words):
            raise ValueError("words and phrases have no white space around them")
        return words

    @pydantic.model_validator(mode="after")
    def _can_be(self) -> Self:
        forms = [name for name in ("choices", "regex", "json_schema") if getattr(self, name) not in ((), None)]
        if len(forms) > 1:
            raise problem(f"a text cannot be held to {' and '.join(forms)} at once", "Keep one of them")
        if forms == ["json_schema"] and (self.forbid or self.require):
            raise problem("words are not looked for in JSON", "Say it in json_schema, by pattern, enum or const")
        if self.parses is None and self.tries != TRIES:
            raise problem("tries is of use with parses only", "Leave it out, or set parses: python")
        try:
            wrong = None if self.grammar is None else grammar.problem(self.grammar)
        except Mistake as mistake:
            raise problem(mistake.what, mistake.fix) from None
        if wrong:
            raise problem(f"{' and '.join(forms) or 'forbid and require'} cannot be held to: {wrong}")
        return self

    @property
    def grammar(self) -> str | None:
        """For `grammar.problem` and llguidance; None where any text will do."""
        if self.json_schema is not None:
            return grammar.of_schema(self.json_schema)
        form = grammar.one_of(self.choices) if self.choices else self.regex
        return grammar.regular(form, self.forbid, self.require) if form is not None or self.forbid or self.require else None

    @property
    def formed(self) -> bool:
        """Whether it says what the whole text is, which a space before it is no part of."""
        return bool(self.choices) or self.regex is not None or self.json_schema is not None


def _read(value: Any) -> Control | None:
    if value is None or isinstance(value, Control):
        return value
    try:
        return pydantic.TypeAdapter(Control).validate_python(value)
    except pydantic.ValidationError as error:
        raise in_our_words(error, Control) from None


Controlled = Annotated[Control | None, pydantic.PlainValidator(_read), pydantic.WithJsonSchema(pydantic.TypeAdapter(Control).json_schema())]
"""The type of a setting of a recipe that holds a `Control`, or none."""
