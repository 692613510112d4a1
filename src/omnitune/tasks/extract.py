"""extract: which part of a text answers a question, if any?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.nn import values as cells
from omnitune.nn.template import Prompt, Template
from omnitune.nn.text_metrics import Judge, counts, quote_metrics
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

Span = tuple[int, int]
GOLD = 8
"""Different right answers of a row that figures count."""


@component
class Extract(SelfSupervised):
    """A part of a text that answers a question, or that it holds no answer (Rajpurkar et al. 2016, https://arxiv.org/abs/1606.05250; 2018,
    https://arxiv.org/abs/1806.03822). Predictions give the words, where they stand (in characters) and how likely they are.

    A text that is too long to be read at once is read in windows that overlap, each with the question before it. An answer is learned wherever it
    stands; the backbone best sees both sides of a word (BERT).

    Args:
        of: the text input that answers are parts of.
        question: with columns in braces, such as `{question}` or `Which version added {name}?`; `{{` stands for a brace.
        target: the column of the answers: a text, or a list of several that are right; an empty one says that the text holds none. A mapping with
            `text` and `answer_start`, as SQuAD has it, says where, too. A missing one is not known.
        start: the column of the character, from 0, at which the answer starts; wherever it stands in the text, where that is left out.
        missing: what a missing answer means: `unknown` or `none`, that the text holds none; files without types cannot tell these apart.
        overlap: tokens that windows share; less than an answer has, and it may be cut in two. At most half of a window.
        answer_tokens: of an answer at most; longer ones are not learned. The longest of the training rows, where it is left out.
        samples: test rows whose answers are compared as words, by exact match and F1 as SQuAD does; 0 for none.
    """

    form: ClassVar[Literal["spans"]] = "spans"
    answers: ClassVar[bool] = True
    windows: ClassVar[bool] = True

    question: str
    target: str
    start: str | None = None
    missing: Literal["unknown", "none"] = "unknown"
    overlap: Annotated[int, Field(ge=0)] = 64
    answer_tokens: Annotated[int, Field(ge=2)] | None = None
    samples: Annotated[int, Field(ge=0)] = 1000

    @pydantic.field_validator("question")
    @classmethod
    def _reads(cls, question: str) -> str:
        if problem := Template(question).problem():
            raise ValueError(problem)
        return question

    @property
    def prompts(self) -> Prompt:
        """See `Task.prompts`."""
        return Prompt(Template(self.question))

    @property
    def quotes(self) -> bool:
        """See `Task.quotes`."""
        return True

    def judge(self) -> Judge:
        """By what SQuAD has."""
        return Judge(counts, quote_metrics)

    def columns(self) -> tuple[str, ...]:
        """The target, and where it starts."""
        return (self.target,) if self.start is None else (self.target, self.start)

    def lacks(self, value: Any) -> bool:
        """An empty answer says that there is none, as a missing one may."""
        return self.missing == "unknown" and (value is None or cells.nan(value))

    def together(self) -> tuple[str, ...]:
        """Both, beside the text."""
        return self.columns()

    def check(self, value: Any) -> str | None:
        """Anything may be; `odd` looks at answers beside their text."""
        return None

    def odd(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """An answer that is not in its text, or not where it is said to be."""
        try:
            self._spans(cells.text(row.get(self.of)), row)
        except (TypeError, ValueError) as error:
            return self.target, str(error)
        return None

    def behind(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
        """The answers, none of them empty."""
        found = columns.get(self.target, [None] * rows)
        return [[text for text, _ in self._answers(value, None) or () if text] for value in found]

    def located(self, texts: Sequence[str], columns: Mapping[str, Sequence[Any]]) -> list[list[Span] | None]:
        """Of each text the parts that are right; None where they are not known."""
        names = self.columns()
        if self.target not in columns:
            return [None] * len(texts)
        return [self._spans(text, {name: columns[name][i] for name in names}) for i, text in enumerate(texts)]

    def _spans(self, text: str, row: Mapping[str, Any]) -> list[Span] | None:
        """Raises TypeError and ValueError for what is no answer of this text."""
        answers = self._answers(row.get(self.target), row.get(self.start) if self.start else None)
        if answers is None:
            return None
        found: list[Span] = []
        for answer, start in answers:
            if answer:
                found += _places(text, answer, start)
        return list(dict.fromkeys(found))[:GOLD]

    def _answers(self, value: Any, start: Any) -> list[tuple[str, int | None]] | None:
        """Texts, each with where it starts or None; None where answers are not known."""
        if isinstance(value, Mapping):
            if "text" not in value:
                raise TypeError("expected a mapping with `text` and `answer_start`")
            return self._answers(value["text"], value.get("answer_start"))
        if value is None or cells.nan(value):
            return None if self.missing == "unknown" else []
        several = isinstance(value, (list, tuple)) or hasattr(value, "tolist")
        texts = [cells.name(one) for one in (value if several else [value])]
        starts = list(start) if several and start is not None else [start] * len(texts)
        if len(starts) != len(texts):
            raise ValueError(f"{len(texts)} answers, and {len(starts)} places where they start")
        return [(text, None if place is None or cells.nan(place) else int(place)) for text, place in zip(texts, starts, strict=True)]

    def learn_from(self, facts: Facts) -> Facts:
        """Nothing. Raises `Mistake` where texts are to be read in pieces."""
        if facts["pieces"]:
            raise Mistake("extract", f"windows are read, and not pieces, as inputs.{self.of}.pieces has it", "Leave pieces out")
        return {}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B, 2 GOLD): where right parts start and stop, 0 where there is no answer; `weight` (B,), 1 where that is known and can be said."""
        import torch

        inputs = batch.inputs[self.of]
        sayable_B = (inputs["answered"] == 0) | (inputs["pairs"][:, 0, 0] >= 0)
        weight_B = (inputs["present"] & (inputs["answered"] >= 0) & sayable_B).float()
        spans_BG2 = inputs["spans"]
        lacking = spans_BG2[:, :1].expand(-1, GOLD - spans_BG2.shape[1], -1)
        return batch, {"y": torch.cat([spans_BG2, lacking], 1).flatten(1), "weight": weight_B}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `SpanHead` on the backbone's own tokens."""
        from omnitune.nn.quoted import SpanHead

        return SpanHead(self.of, backbones[self.of].width, facts["answer"])

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`, where the answer starts and stops, None where it is likelier that there is none; `probability`, and that of `no_answer`."""
        return [
            {"value": [int(start), int(stop)] if p >= nothing else None, "probability": max(p, nothing), "no_answer": nothing}
            for start, stop, p, nothing in output.tolist()
        ]

    def in_words(self, answer: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """The words, and their place as `start` and `stop`."""
        start, stop = answer["value"] or (None, None)
        words = None if start is None else texts[0][start:stop]
        return answer | {"value": words, "start": start, "stop": stop}

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Of parts of a text."""
        from omnitune.nn.span_metrics import span_metrics

        return span_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Questions without an answer."""
        return {self.target: [""] * n}


def _places(text: str, answer: str, start: int | None) -> list[Span]:
    """Where `answer` stands in `text`: at `start`, or everywhere."""
    shown = answer if len(answer) <= 40 else answer[:40] + "..."
    if start is not None:
        if text[start : start + len(answer)] != answer or start < 0:
            raise ValueError(f"{shown!r} does not stand at character {start} of its text, where {text[max(0, start) :][: len(shown)]!r} does")
        return [(start, start + len(answer))]
    found, place = list[Span](), text.find(answer)
    while place >= 0 and len(found) < GOLD:
        found.append((place, place + len(answer)))
        place = text.find(answer, place + 1)
    if not found:
        raise ValueError(f"{shown!r} does not stand in its text")
    return found
