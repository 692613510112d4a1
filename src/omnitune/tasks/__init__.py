"""Tasks: questions put to the model. A task owns its question, its loss and its metrics; the loop knows none of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import Component
from omnitune.nn.text_metrics import Judge
from omnitune.nn.values import missing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.template import Prompt
    from omnitune.nn.tokens import Batch

Facts = dict[str, Any]
Target = dict[str, "Tensor"]
"""`y`: the answers, first dimension B; `weight` (B,): how much each row counts, 0 where there is no answer. `weight` is the loss's count."""


@dataclass(frozen=True)
class Task(Component, ABC):
    """One question. Missing answers are allowed in any row: such a row teaches other tasks only."""

    form: ClassVar[
        Literal["classes", "ordinal", "labels", "value", "quantiles", "ranks", "tokens", "pixels", "pairs", "neighbours", "series", "rebuilt"]
        | Literal["choices", "preferences", "spans", "tags"]
    ]
    """What a prediction looks like: (B, C) probabilities of one class, in no order or rising, or of one option of those that the row has (0 for
    others), (B, K) probabilities of labels, (B,) numbers, (B, Q) numbers that the answer lies below with given probabilities, of items (B, 2 K) the
    best ones and how likely they are (measured as `nn.ranking.figures` says), of a text (B, 2) the nats that its words cost and how many were said
    right, of a picture (B, 2) the squared error of hidden pixels and how far these lie apart, of a pair (B, 8) where the right one stands, see
    `nn.retrieval.found`, of a row among others (B, 3) how those nearest to it are labelled, see `nn.neighbours.found`, of a series (B, 2) the
    absolute errors of hidden numbers, summed, and their squares, of two answers (B, 3) their log-likelihoods and by how much the better one leads,
    or of what is rebuilt (B, 2) the squared errors, summed, and those that 8 bits a number leave."""
    supervised: ClassVar[bool] = True
    """Whether it reads answers from columns; else it asks inputs about themselves, see `SelfSupervised` and `compares`."""
    answers: ClassVar[bool] = True
    """Whether it has something to say of a row in prediction."""

    deep: ClassVar[bool] = False
    """Whether its head is a Transformer of its own, which bears smaller steps than a linear layer."""

    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = field(default=1.0, kw_only=True)
    """Factor of this task's mean loss in the sum."""
    table: str | None = field(default=None, kw_only=True)
    """One of the recipe's `tables`, whose rows alone are asked; the recipe's `data` where it is left out."""

    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns it reads as answers."""

    def compares(self) -> tuple[str, ...]:
        """Inputs whose values it tells apart: `Batch.same` then says which are equal. None, unless a kind says otherwise."""
        return ()

    def beside(self) -> dict[str, str]:
        """Columns that are read as an input is, each with that input; in training and measuring, not in prediction. None, unless a kind says so."""
        return {}

    @property
    def prompts(self) -> Prompt | None:
        """What its input `of` reads in the place of its own value; None for the value itself."""
        return None

    @property
    def writes(self) -> bool:
        """Whether its answers are texts that are written: by a language model behind a prompt (`nn.writing`), else as its input is heard to say
        (`nn.dictation`, `nn.letters`)."""
        return False

    def lacks(self, value: Any) -> bool:
        """Whether this value of a column of its answers says nothing, so that a row with no others is not learned from."""
        return missing(value)

    @property
    def quotes(self) -> bool:
        """Whether its answers are parts of its input's text, to be compared as words too."""
        return False

    @property
    def live(self) -> int:
        """Validation rows whose texts are written in every round."""
        return 0

    def judge(self) -> Judge:
        """How texts that it writes or quotes are measured."""
        from omnitune.nn.text_metrics import counts, text_metrics

        return Judge(counts, text_metrics)

    def lead(self, facts: Facts) -> str | None:
        """What stands before an answer where its input's backbone spells it: then `prepare` is given its tokens and bytes in the place of a text.
        None where answers come as they are."""
        return None

    @property
    def refers(self) -> bool:
        """Whether its loss compares with what the model before training says, see `training.reference`."""
        return False

    def needs(self) -> tuple[str, ...]:
        """Columns that its question is made of besides inputs and the names in its prompt, in prediction too. None, unless a kind says so."""
        return ()

    def together(self) -> tuple[str, ...]:
        """Columns of which `odd` looks at whole rows. None, unless a kind says so."""
        return ()

    def odd(self, row: Mapping[str, Any]) -> tuple[str, str] | None:
        """A column and what is wrong with its value beside the others of `together`, in words for the user; columns of answers may not be there."""
        return None

    @abstractmethod
    def check(self, value: Any) -> str | None:
        """What is wrong with one answer that is not None, in words for the user; None where it can be used."""

    @abstractmethod
    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """What is counted on the training rows (classes, their shares, a mean), as plain JSON values."""

    @abstractmethod
    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """Rows with an answer that was not there in training (a new class). It weighs nothing, and figures leave it out."""

    @abstractmethod
    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """The batch to be read, and what is asked of it. Supervised tasks return `batch` itself, untouched."""

    @abstractmethod
    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """The module that answers from the fused tokens of this width, or from those that one of the backbones (by input) made: an `Encoder`, or the
        small encoder of an input without a checkpoint; each has a `width`."""

    @abstractmethod
    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """Outputs of the head as answers a person reads: `value`, and `probabilities` where there are any."""

    @abstractmethod
    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Metrics by name, the one that early stopping and comparisons use first."""

    @abstractmethod
    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """Answers of `n` rows by column, for tests and documentation."""


@dataclass(frozen=True)
class SelfSupervised(Task, ABC):
    """A question that an input answers about itself: a part of it is hidden, or not there yet, and asked for. It needs no labels.

    Args:
        of: the input.
    """

    form: ClassVar[Literal["classes", "tokens", "pixels", "series", "rebuilt", "choices", "preferences", "spans", "tags"]] = "tokens"
    supervised: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    asks: ClassVar[Literal["language", "patches", "series", "whole", "speech"]] = "language"
    """The method of a modality that tells what such a task must know; inputs without one cannot be asked."""

    reasons: ClassVar[Mapping[int, str]] = {}
    """Why a row may not be asked about, as a sentence about several, by the numbers of `why` (B,) in a target."""
    forks: ClassVar[bool] = False
    """Whether several texts are read behind each prompt, see `behind`."""
    shows: ClassVar[bool] = False
    """Whether pictures and sounds may stand in its prompt."""
    windows: ClassVar[bool] = False
    """Whether its prompt is a question that is read beside the input's own value, in overlapping windows of that."""
    ends: ClassVar[bool] = True
    """Whether each of these has the token that ends it."""

    of: str

    def behind(self, columns: Mapping[str, Sequence[Any]], rows: int) -> list[list[str]]:
        """The texts that are read behind the prompt of each row; `columns` lacks those of answers in prediction."""
        return [[]] * rows

    def in_words(self, answer: dict[str, Any], texts: Sequence[str]) -> dict[str, Any]:
        """What `decode` gave of a row, told that these texts were read behind its prompt."""
        return answer

    def columns(self) -> tuple[str, ...]:
        """None."""
        return ()

    def check(self, value: Any) -> str | None:
        """There are no answers to check."""
        return None

    def learn(self, columns: Mapping[str, Sequence[Any]]) -> Facts:
        """Nothing from columns."""
        return {}

    @abstractmethod
    def learn_from(self, facts: Facts) -> Facts:
        """What it must know of what the input `of` learned, as plain JSON values. Raises `Mistake` where that cannot be asked."""

    def unseen(self, columns: Mapping[str, Sequence[Any]], facts: Facts) -> int:
        """None."""
        return 0

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """What each row cost: nats, or squared error."""
        return [{"value": cost} for cost, _ in output.tolist()]

    def example(self, n: int, rng: np.random.Generator) -> dict[str, list[Any]]:
        """No column."""
        return {}
