"""generate: which word comes next, in a text, or in the answer to a prompt?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.nn import values as cells
from omnitune.nn.control import Controlled
from omnitune.nn.template import Prompt, Template
from omnitune.nn.text_metrics import Judge, counts, held_metrics, text_metrics
from omnitune.tasks import Facts, SelfSupervised, Target
from omnitune.tasks._asked import speaks

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Generate(SelfSupervised):
    """The next word at every place of a text: autoregressive pre-training (Radford et al. 2018), or more of it for a checkpoint. With a prompt, the
    words of an answer: supervised fine-tuning (Ouyang et al. 2022, https://arxiv.org/abs/2203.02155, section 3.1), and texts in prediction.

    The backbone must read from left to right (GPT, Llama), or with a prompt be an encoder-decoder (T5, BART), whose decoder writes the answer.

    Words beyond `max_tokens` are not asked for, and where a text is cut there, its end is not either; of a text that is read in pieces every word is
    asked for once, the first of a piece by the piece before it.

    A prompt stands in the place of the text. Of its own words none is asked for, of the answer every one and its end. Where both are longer than
    `max_tokens`, values are cut at their ends, the longest first; the template and the answer never are. What spells a special token in the
    template, a value or an answer is text.

    Args:
        of: the text input that is continued, or whose backbone answers.
        prompt: the question, with inputs or other columns in braces; `{{` stands for a brace. A missing value reads as nothing. In the place of a
            picture or a sound stands what its backbone makes of it, through a projector that learns (Liu et al. 2023,
            https://arxiv.org/abs/2304.08485); a missing one is a learned vector.
        target: the column of the answers.
        chat: whether the prompt is a user's message in the checkpoint's own chat template.
        system: a message before it, in a chat.
        answer_tokens: of an answer at most, its end included; longer ones are cut, in training too. The longest of the training rows, and at most
            half of what the backbone reads, where it is left out.
        samples: test rows whose answers are written before and after training, to be compared with the true ones; 0 for none.
        control: what written answers must be, in measuring and in prediction; see `Control`.
    """

    shows: ClassVar[bool] = True

    prompt: str | None = None
    target: Annotated[str | None, Field(validate_default=True)] = None
    chat: Annotated[bool, Field(validate_default=True)] = False
    system: Annotated[str | None, Field(validate_default=True)] = None
    answer_tokens: Annotated[int, Field(ge=2)] | None = None
    samples: Annotated[int, Field(ge=0)] = 100
    control: Controlled = None

    @pydantic.field_validator("prompt")
    @classmethod
    def _reads(cls, prompt: str | None) -> str | None:
        if prompt is not None and (problem := Template(prompt).problem()):
            raise ValueError(problem)
        return prompt

    @pydantic.field_validator("target", "chat", "system", "control")
    @classmethod
    def _fits(cls, value: Any, found: pydantic.ValidationInfo) -> Any:
        asks = found.data.get("prompt", "") is not None
        if found.field_name == "target" and asks and value is None:
            raise ValueError("a prompt needs the column of its answers")
        if value and not asks:
            raise ValueError("is of use with a prompt only")
        if found.field_name == "system" and value is not None and not found.data.get("chat"):
            raise ValueError("is of use in a chat only: set chat: true")
        return value

    @property
    def prompts(self) -> Prompt | None:
        """See `SelfSupervised.prompts`."""
        return None if self.prompt is None else Prompt(Template(self.prompt), self.chat, self.system)

    @property
    def writes(self) -> bool:
        """See `Task.writes`."""
        return self.prompt is not None

    def judge(self) -> Judge:
        """See `Task.judge`."""
        return Judge(counts, text_metrics if self.control is None else held_metrics)

    def behind(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
        """The answer, where there is one."""
        found = columns.get(self.target or "", [None] * rows)
        return [[] if cells.missing(answer) else [cells.text(answer)] for answer in found]

    def columns(self) -> tuple[str, ...]:
        """The target, where there is a prompt."""
        return () if self.target is None else (self.target,)

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no text, and an empty text is no answer."""
        return cells.problem(value) or ("an answer of nothing but white space" if isinstance(value, str) and not value.strip() else None)

    def learn_from(self, facts: Facts) -> Facts:
        """As of `speaks`."""
        return speaks(self.kind, self.of, facts, self.writes)

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`labels` (B, L), of an encoder-decoder (B, T): the next token, -1 where there is none; `y` (B, 2): their number and their UTF-8 bytes;
        `weight` (B,): the number."""
        import torch

        from omnitune.nn.language import NOT_ASKED

        inputs = batch.inputs[self.of]
        labels_BL = inputs["labels"] if "labels" in inputs else self._answers(inputs) if self.writes else self._following(inputs, facts)
        labels_BL = torch.where(inputs["present"][:, None], labels_BL, NOT_ASKED)
        asked_B = (labels_BL != NOT_ASKED).sum(1)
        y_B2 = torch.stack([asked_B, torch.where(inputs["present"], inputs["bytes"], 0)], 1)
        return batch, {"labels": labels_BL, "y": y_B2, "weight": asked_B.float()}

    def _following(self, inputs: Mapping[str, Any], facts: Facts) -> Any:
        """Of every token the next one, (B, L)."""
        import torch

        from omnitune.nn.language import NOT_ASKED

        ids_BL, real_BL = inputs["input_ids"], inputs["attention_mask"].bool()
        rows = torch.arange(len(ids_BL))
        labels_BL = torch.full_like(ids_BL, NOT_ASKED)
        labels_BL[:, :-1] = torch.where(real_BL[:, 1:], ids_BL[:, 1:], NOT_ASKED)
        if facts["ends"]:
            before_last_B = (real_BL.sum(1) - 2).clamp(min=0)
            labels_BL[rows, before_last_B] = torch.where(inputs["cut"], NOT_ASKED, labels_BL[rows, before_last_B])
        last_B = (real_BL.sum(1) - 1).clamp(min=0)
        labels_BL[rows, last_B] = torch.where(inputs["next"] >= 0, inputs["next"], labels_BL[rows, last_B])
        return labels_BL

    def _answers(self, inputs: Mapping[str, Any]) -> Any:
        """Of every token the next one where that is part of the answer, (B, L)."""
        import torch

        from omnitune.nn.language import NOT_ASKED

        ids_BL, length_B1 = inputs["input_ids"], inputs["attention_mask"].sum(1, keepdim=True)
        place_L = torch.arange(ids_BL.shape[1])
        said_BL = (place_L >= length_B1 - inputs["answer"][:, None]) & (place_L < length_B1)
        labels_BL = torch.full_like(ids_BL, NOT_ASKED)
        labels_BL[:, :-1] = torch.where(said_BL[:, 1:], ids_BL[:, 1:], NOT_ASKED)
        return labels_BL

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Answers to a prompt of nothing in particular."""
        return {column: [f"answer {number}" for number in rng.integers(10, size=n).tolist()] for column in self.columns()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `LanguageHead` with the words of the backbone, or a `DenoiseHead` with its decoder."""
        from omnitune.nn.denoise import DenoiseHead
        from omnitune.nn.language import LanguageHead

        if "start" in facts:
            return DenoiseHead(self.of, backbones[self.of], [facts["start"]], facts["padding"])
        return LanguageHead(self.of, backbones[self.of])

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Bits per byte, which compares models of any tokenizer; perplexity and accuracy of a token, which do not."""
        from omnitune.nn.metrics import token_metrics

        return token_metrics()
