"""choose: which of several texts goes on from a prompt?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.errors import did_you_mean
from omnitune.nn import values as cells
from omnitune.tasks import Facts, Target
from omnitune.tasks._asked import Asked

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

SEPARATOR = "|"


@component
class Choose(Asked):
    """Multiple choice by likelihood: each option is read behind the prompt, and the one that a language model takes for the likeliest is chosen
    (Brown et al. 2020, https://arxiv.org/abs/2005.14165, section 2.4). The options of all rows may be the same, which makes a classifier of any
    language model, without training too; or each row has its own.

    What is learned is a softmax over the options' scores, by `tuning` in the backbone, and how steep it is. The prompt is computed once for all
    options where the backbone can. Options have no end token. What spells a special token is text.

    Args:
        of: the text input whose backbone is asked: one that reads from left to right (GPT, Llama), or an encoder-decoder (T5, BART).
        prompt: the question, with inputs or other columns in braces; `{{` stands for a brace. A missing value reads as nothing.
        target: the column of the right option, as it stands among the options; with `counts_from` its number.
        choices: the options of every row; else they are in `options`.
        options: a column that holds a list (or a text with `|` between them), or several columns that hold one each; an empty cell is none.
        counts_from: the number of the first option, usually 0 or 1, where `target` holds numbers.
        by: what the log-likelihood of an option is divided by, so that long ones are not always less likely: the number of its `token`s (Brown et
            al. 2020), of its `byte`s (which of English texts is `acc_norm` of the lm-evaluation-harness), or `none`.
        most: options that a row may have, where a column holds lists; rows with more are refused.
        chat: whether the prompt is a user's message in the checkpoint's own chat template.
        system: a message before it, in a chat.
        answer_tokens: of an option at most; longer ones are cut. The longest of the training rows, and at most half of what the backbone reads,
            where it is left out.
    """

    form: ClassVar[Literal["choices"]] = "choices"
    answers: ClassVar[bool] = True
    ends: ClassVar[bool] = False
    shows: ClassVar[bool] = True

    target: str
    choices: tuple[cells.Scalar, ...] | None = None
    options: Annotated[str | tuple[str, ...] | None, Field(validate_default=True)] = None
    counts_from: int | None = None
    by: Literal["token", "byte", "none"] = "token"
    most: Annotated[int, Field(ge=2)] = 16

    @pydantic.field_validator("choices")
    @classmethod
    def _differ(cls, choices: tuple[cells.Scalar, ...] | None) -> tuple[cells.Scalar, ...] | None:
        if choices is not None and (problem := _wrong([cells.name(choice) for choice in choices])):
            raise ValueError(problem)
        return choices

    @pydantic.field_validator("options")
    @classmethod
    def _somewhere(cls, options: str | tuple[str, ...] | None, found: pydantic.ValidationInfo) -> str | tuple[str, ...] | None:
        if options is None and found.data.get("choices", ()) is None:
            raise ValueError("say what there is to choose from: choices, or the column of the options")
        if options is not None and found.data.get("choices") is not None:
            raise ValueError("choices are the options already")
        if isinstance(options, tuple) and (len(set(options)) < len(options) or len(options) < 2):
            raise ValueError("expected two different columns at least, or one that holds lists")
        return options

    def columns(self) -> tuple[str, ...]:
        """The target."""
        return (self.target,)

    def needs(self) -> tuple[str, ...]:
        """The columns of the options."""
        return () if self.options is None else (self.options,) if isinstance(self.options, str) else self.options

    def together(self) -> tuple[str, ...]:
        """Options, and the target among them."""
        return (*self.needs(), self.target)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no option."""
        return None if cells.missing(value) else cells.problem(value)

    def odd(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Options that are missing, equal, only one or too many; a target that is none of them."""
        where = next(iter(self.needs()), self.target)
        try:
            options = self._options(row)
        except TypeError as error:
            return where, str(error)
        if self.needs() and (
            problem := _wrong(options) or (f"{len(options)} options, more than most: {self.most}" if len(options) > self.width else None)
        ):
            return where, problem
        right = row.get(self.target)
        if cells.missing(right) or cells.problem(right) or self._place(right, options) >= 0:
            return None
        fix = did_you_mean(cells.name(right), options) if self.counts_from is None else f"numbers count from {self.counts_from}"
        return self.target, f"{cells.name(right)!r} is none of the {len(options)} options; {fix}"

    def behind(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
        """The options."""
        needs = self.needs()
        return [self._options({column: columns[column][i] for column in needs}) for i in range(rows)]

    @property
    def width(self) -> int:
        """Options of a row at most."""
        return self.most if isinstance(self.options, str) else len(self.choices or self.needs())

    def _options(self, row: Mapping[str, Any]) -> list[str]:
        """Raises TypeError for what cannot be one."""
        if self.choices is not None:
            return [cells.name(choice) for choice in self.choices]
        found: Sequence[Any] = [row.get(column) for column in self.needs()]
        if isinstance(self.options, str):
            held = found[0]
            if not isinstance(held, (list, tuple, str, type(None))):
                raise TypeError(f"expected a list of options or a text with {SEPARATOR} between them, got {type(held).__name__}")
            found = held.split(SEPARATOR) if isinstance(held, str) else held or []
        return [cells.name(option).strip() for option in found if not cells.missing(option)]

    def _place(self, right: Any, options: list[str]) -> int:
        """The number of the right option, from 0; -1 where it is none."""
        name = cells.name(right).strip()
        if self.counts_from is None:
            return options.index(name) if name in options else -1
        number = int(name) - self.counts_from if name.lstrip("-").isdigit() else -1
        return number if 0 <= number < len(options) else -1

    def learn_from(self, facts: Facts) -> Facts:
        """As of `speaks`; and `classes`, where the options of all rows are the same."""
        return super().learn_from(facts) | ({} if self.choices is None else {"classes": [*self.choices]})

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B,) int64, the number of the right option, -1 where there is none; `weight` (B,), 1 or 0."""
        import torch

        options, right = self.behind(columns, batch.size), columns[self.target]
        places = [-1 if cells.missing(value) else self._place(value, some) for value, some in zip(right, options, strict=True)]
        y_B = torch.where(batch.inputs[self.of]["present"], torch.tensor(places, dtype=torch.int64), -1)
        return batch, {"y": y_B, "weight": (y_B >= 0).float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `ChooseHead` that the backbone says words for."""
        from omnitune.nn.told import ChooseHead

        return ChooseHead(self.says(facts, backbones), self.of, self.width, self.by)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`, the likeliest option, by its number from 0 where each row has its own; `probabilities` by name or number."""
        names = [cells.name(choice) for choice in self.choices or range(self.width)]
        chosen = self.choices or range(self.width)
        return [
            {"value": chosen[best], "probabilities": {name: p for name, p in zip(names, row, strict=True) if p}}
            for best, row in zip(output.argmax(1).tolist(), output.tolist(), strict=True)
        ]

    def in_words(self, answer: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """Options in the place of their numbers, where each row has its own."""
        if self.choices is not None:
            return answer
        p = {text: answer["probabilities"].get(str(place), 0.0) for place, text in enumerate(texts)}
        return {"value": texts[answer["value"]] if any(p.values()) else None, "probabilities": p}

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of one option out of several."""
        from omnitune.nn.metrics import choice_metrics

        return choice_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Options in turn."""
        options = [cells.name(choice) for choice in self.choices or ("stop", "go on", "wait a little")]
        made: dict[str, list[Any]] = {self.target: [options[i % len(options)] for i in range(n)]}
        if isinstance(self.options, str):
            made[self.options] = [options] * n
        return made | {column: [option] * n for column, option in zip(self.needs(), options, strict=False) if not isinstance(self.options, str)}


def _wrong(options: Sequence[str]) -> str | None:
    """Why nothing can be chosen among these."""
    twice = [option for option, times in Counter(options).items() if times > 1]
    if not options:
        return "no option"
    if any(not option.strip() for option in options):
        return "an option of nothing but white space"
    if twice:
        return f"option {twice[0]!r} stands there twice"
    return f"one option only, {options[0]!r}: there is nothing to choose" if len(options) == 1 else None
