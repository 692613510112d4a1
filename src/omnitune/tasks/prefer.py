"""prefer: which of two answers to a prompt is better?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import pydantic
from pydantic import Field

from omnitune.component import component
from omnitune.nn import values as cells
from omnitune.nn.control import Controlled
from omnitune.nn.text_metrics import Judge, counts, held_metrics, text_metrics
from omnitune.tasks import Facts, Target
from omnitune.tasks._asked import Asked

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.encoder import Encoder
    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch

BETA = {"dpo": 0.1, "simpo": 2.0}
"""As the papers have it."""


@component
class Prefer(Asked):
    """Preference tuning: of two answers to a prompt the chosen one becomes likelier than the rejected one. Predictions write an answer, as `generate`
    does; begin with a model that can, such as the run of one.

    `dpo` compares with the model before training (direct preference optimisation, Rafailov et al. 2023, https://arxiv.org/abs/2305.18290), whose
    likelihoods are computed once, before the first step, and kept; `simpo` needs no reference and compares log-likelihoods per token (Meng et al.
    2024, https://arxiv.org/abs/2405.14734). The prompt is computed once for both answers where the backbone can. Answers have their end token. What
    spells a special token is text.

    Args:
        of: the text input whose backbone answers: one that reads from left to right (GPT, Llama), or an encoder-decoder (T5, BART).
        prompt: the question, with inputs or other columns in braces; `{{` stands for a brace. A missing value reads as nothing.
        chosen: the column of the better answers.
        rejected: the column of the worse ones; a row that lacks either teaches nothing.
        loss: see above.
        beta: how much a nat of difference counts; .1 for `dpo` and 2 for `simpo`, where it is left out.
        margin: by how much the chosen answer is to lead, in units of the loss; `simpo` alone has one, 1 where it is left out.
        chat: whether the prompt is a user's message in the checkpoint's own chat template.
        system: a message before it, in a chat.
        answer_tokens: of an answer at most, its end included; longer ones are cut, in training too. The longest of the training rows, and at most
            half of what the backbone reads, where it is left out.
        samples: test rows whose answers are written before and after training, to be compared with the chosen ones; 0 for none.
        control: what written answers must be, in measuring and in prediction; see `Control`.
    """

    form: ClassVar[Literal["preferences"]] = "preferences"

    chosen: str
    rejected: str
    loss: Literal["dpo", "simpo"] = "dpo"
    beta: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    margin: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    samples: Annotated[int, Field(ge=0)] = 100
    control: Controlled = None

    @pydantic.field_validator("rejected")
    @classmethod
    def _differs(cls, rejected: str, found: pydantic.ValidationInfo) -> str:
        if rejected == found.data.get("chosen"):
            raise ValueError("is the column of the chosen answers too")
        return rejected

    @pydantic.field_validator("margin")
    @classmethod
    def _of_simpo(cls, margin: float | None, found: pydantic.ValidationInfo) -> float | None:
        if margin is not None and found.data.get("loss") == "dpo":
            raise ValueError("is of use with loss: simpo only")
        return margin

    @property
    def writes(self) -> bool:
        """See `Task.writes`."""
        return True

    @property
    def refers(self) -> bool:
        """See `Task.refers`."""
        return self.loss == "dpo"

    def columns(self) -> tuple[str, ...]:
        """Both."""
        return (self.chosen, self.rejected)

    def together(self) -> tuple[str, ...]:
        """Both."""
        return self.columns()

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no text, and an empty text is no answer."""
        return cells.problem(value) or ("an answer of nothing but white space" if isinstance(value, str) and not value.strip() else None)

    def odd(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """Equal answers."""
        better, worse = row.get(self.chosen), row.get(self.rejected)
        there = not (cells.missing(better) or cells.missing(worse) or cells.problem(better) or cells.problem(worse))
        if there and cells.name(better).strip() == cells.name(worse).strip():
            return self.rejected, f"equals {self.chosen!r}, so nothing is preferred"
        return None

    def judge(self) -> Judge:
        """See `Task.judge`."""
        return Judge(counts, text_metrics if self.control is None else held_metrics)

    def behind(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
        """The chosen and the rejected answer, where there are both."""
        nothing = [None] * rows
        pairs = zip(columns.get(self.chosen, nothing), columns.get(self.rejected, nothing), strict=True)
        return [[] if cells.missing(a) or cells.missing(b) else [cells.text(a), cells.text(b)] for a, b in pairs]

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """`y` (B, 2): the tokens of the chosen and of the rejected answer; `weight` (B,), 1 or 0."""
        import torch

        inputs = batch.inputs[self.of]
        there_B = inputs["present"] & torch.tensor([len(pair) == 2 for pair in self.behind(columns, batch.size)])
        of_text = torch.stack([(inputs["text"] == i).sum(1) for i in (0, 1)], 1) if "text" in inputs else (inputs["labels"] >= 0).sum(2)
        y_B2 = torch.nn.functional.pad(of_text, (0, 2 - of_text.shape[1]))
        return batch, {"y": y_B2, "weight": there_B.float()}

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Encoder]) -> Head:
        """A `PreferHead` that the backbone says words for."""
        from omnitune.nn.prefer import PreferHead

        margin = 1.0 if self.margin is None else self.margin
        return PreferHead(self.says(facts, backbones), self.of, self.loss, BETA[self.loss] if self.beta is None else self.beta, margin)

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """How often and by how much the chosen answer leads."""
        from omnitune.nn.metrics import preference_metrics

        return preference_metrics()

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """A polite answer and one that is not."""
        return {self.chosen: [f"yes, number {i}, please" for i in range(n)], self.rejected: [f"no, not {i}" for i in range(n)]}
