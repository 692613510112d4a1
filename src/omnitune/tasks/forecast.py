"""forecast: which numbers come next?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.component import component
from omnitune.errors import Mistake
from omnitune.tasks import Facts, SelfSupervised, Target

if TYPE_CHECKING:
    import numpy as np

    from omnitune.nn.heads import Head
    from omnitune.nn.metrics import Metric
    from omnitune.nn.tokens import Batch


@component
class Forecast(SelfSupervised):
    """The next numbers of a series, a patch at a time (autoregressive over patches, as TimesFM: Das et al. 2024, https://arxiv.org/abs/2310.10688).

    In training the next patch is asked for behind every patch. On validation and test rows the last `horizon` numbers are hidden and foretold from
    the others alone, each patch from those before it, foretold ones among them. Predictions continue a series beyond its end. A series no longer
    than what is hidden is asked for nothing.

    Args:
        of: the series input, which must be causal.
        horizon: numbers that are foretold.
        period: after how many numbers a season begins anew (24 hours, 12 months), for the rival that repeats the last one.
        loss: `huber` (squared near the number, linear beyond one deviation; Huber 1964) or `mse`.
    """

    form: ClassVar[Literal["tokens", "series", "rebuilt"]] = "series"
    answers: ClassVar[bool] = True
    asks: ClassVar[Literal["language", "series", "whole"]] = "series"

    horizon: Annotated[int, Field(ge=1, le=4096)] = 8
    period: Annotated[int, Field(ge=2)] | None = None
    loss: Literal["huber", "mse"] = "huber"

    def learn_from(self, facts: Facts) -> Facts:
        """The `patch` of the input.

        Raises:
            Mistake: its encoder sees what would be asked for.
        """
        if not facts["causal"]:
            wrong = f"the encoder of {self.of!r} sees the numbers that it would be asked for"
            raise Mistake("forecast", wrong, f"Set inputs.{self.of}.causal: true")
        return {"patch": facts["patch"]}

    def prepare(self, batch: Batch, columns: Mapping[str, Sequence[Any]], facts: Facts, rng: np.random.Generator | None) -> tuple[Batch, Target]:
        """A batch without its last numbers; `after` and `after_known` (B, A), those; `y` (B, 2): how many are there, and by how much the numbers
        before differ from one to the next on average, in the table's units; `weight` (B,): 1 where there are numbers on both sides."""
        import torch
        from torch.nn.functional import pad

        inputs = batch.inputs[self.of]
        values_BL, known_BL = inputs["values"], inputs["known"]
        hidden = min(self._hidden(facts, rng is not None), values_BL.shape[1])
        seen, after = slice(0, values_BL.shape[1] - hidden), slice(values_BL.shape[1] - hidden, None)
        shown = {"values": values_BL[:, seen], "known": known_BL[:, seen]}
        if not shown["values"].shape[1]:  # no row is longer than what is hidden
            shown = {name: pad(tensor, (1, 0)) for name, tensor in shown.items()}
        shown["present"] = shown["known"].any(1)
        weight_B = (shown["present"] & known_BL[:, after].any(1)).float()
        step_B = _step(shown["values"], shown["known"]) * inputs["spread"]
        y_B2 = torch.stack([known_BL[:, after].sum(1).float(), step_B], 1)
        target = {"after": values_BL[:, after], "after_known": known_BL[:, after], "y": y_B2, "weight": weight_B}
        return replace(batch, inputs=batch.inputs | {self.of: inputs | shown}), target

    def _hidden(self, facts: Facts, training: bool) -> int:
        """In training no more than a patch, so that patches lie as they do where the horizon is hidden, and the last is asked for too."""
        patch = int(facts["patch"])
        return min(self.horizon, patch + self.horizon % patch) if training else self.horizon

    def head(self, width: int, facts: Facts, backbones: Mapping[str, Any]) -> Head:
        """A `ForecastHead` on the encoder of the input."""
        from omnitune.nn.forecast import ForecastHead

        return ForecastHead(self.of, backbones[self.of], self.horizon, self.loss)

    def decode(self, output: np.ndarray, facts: Facts) -> list[dict[str, Any]]:
        """`value`: the next numbers; None where the series is missing."""
        return [{"value": None if row[0] != row[0] else row} for row in output.tolist()]

    def metrics(self, facts: Facts) -> dict[str, Metric]:
        """Errors of the numbers that were hidden."""
        from omnitune.nn.metrics import series_metrics

        return series_metrics()


def _step(values_BL: Any, known_BL: Any) -> Any:
    """Mean difference of neighbours that are both there, (B,); 0 where there are none."""
    both_BL = known_BL[:, 1:] & known_BL[:, :-1]
    steps_BL = (values_BL[:, 1:] - values_BL[:, :-1]).abs() * both_BL
    return steps_BL.sum(1) / both_BL.sum(1).clamp(min=1)
