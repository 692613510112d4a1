"""Rungs: which a ladder has, what each of them needs, and the time that is left for it."""

from collections.abc import Callable
from dataclasses import replace

import torch

from omnitune.data.batches import Batches
from omnitune.data.prepared import Prepared
from omnitune.training import auto
from omnitune.training.device import autocast
from omnitune.training.model import Model
from omnitune.tuning import Tuning
from omnitune.tuning.auto import Auto
from omnitune.tuning.freeze import Freeze
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA
from omnitune.tuning.probe import Probe

COSTS: dict[str, Callable[[float], float]] = {
    "probe": lambda share: 1.0, "freeze": lambda share: 1.0 + 2 * share, "lora": lambda share: 4.0, "full": lambda share: 6.0,
}  # fmt: skip
"""What a rung needs at least, in forward passes, by the share of blocks that learn: an epoch, and of the last rung two, since with less it cost
the rung before more than it brought (docs/decisions/0006). A backward pass takes two (Kaplan et al. 2020), one without gradients of the weights."""


class Rungs:
    """The rungs for one model, rows and budget.

    Args:
        model: on its device.
        prepared: the data, its recipe with `tuning: auto`.
        clock: seconds that only grow.
    """

    def __init__(self, model: Model, prepared: Prepared, clock: Callable[[], float]) -> None:
        self.model, self.prepared, self.clock = model, prepared, clock
        self.train, tuning = prepared.recipe.train, prepared.recipe.tuning
        assert isinstance(tuning, Auto)
        self.tuning: Auto = tuning
        self.encoders = list(model.backbones.values())
        blocks = min((len(encoder.blocks) for encoder in self.encoders), default=0)
        own = (*model.heads.parameters(), *model.inlays.parameters())  # heads of a language may have no weights of their own
        alone = not self.encoders or bool(own)
        self.names = [*(["probe"] if alone else []), *(["freeze"] if blocks > 1 else []), *(["top"] if self.encoders else [])]
        self.upper = min(tuning.blocks, max(1, blocks - 1))
        self.share = max((self.upper / len(encoder.blocks) for encoder in self.encoders if encoder.blocks), default=1.0)
        self.pass_seconds = self.began = 0.0

    def choose(self, name: str) -> tuple[Tuning, str]:
        """What learns on a rung, and why."""
        if name == "probe":
            return Probe(), "heads alone, on features computed once" if self.encoders else "nothing is pretrained: all learns at once"
        if name == "freeze":
            return Freeze(self.upper), "upper blocks hold what is special to a task (Yosinski et al. 2014)"
        if self.tuning.top != "auto":
            return (Full() if self.tuning.top == "full" else LoRA()), "as asked"
        if not all(encoder.blocks for encoder in self.encoders):
            return Full(), "a backbone has no blocks for adapters"
        if auto.from_nothing(self.prepared.recipe):
            return Full(), "a backbone starts from nothing: adapters would stand beside weights that never learned"
        weights = sum(p.numel() for encoder in self.encoders for p in encoder.parameters())
        steps = float(self.train.epochs) * len(self.batches(self.prepared))
        return auto.top_rung(weights, steps, lambda kind: self.need(kind) <= self.rest())

    def batches(self, prepared: Prepared) -> Batches:
        """Of the training rows."""
        return prepared.batches("train", int(self.train.batch), self.train.seed)

    # Time

    @property
    def seconds(self) -> float:
        """Since the climb began."""
        return self.clock() - self.began

    def rest(self) -> float:
        """Seconds that are left."""
        return 60 * self.train.minutes - self.seconds if self.train.minutes else float("inf")

    def need(self, kind: str) -> float:
        """Seconds a rung needs at least, with a round of validation and one of the average."""
        return COSTS[kind](self.share) * self.pass_seconds + 2 * self.validation()

    def validation(self) -> float:
        """Seconds of a round."""
        return self.pass_seconds * len(self.prepared.parts["validation"]) / max(1, len(self.prepared.answered))

    def minutes(self, at: int) -> float | None:
        """Of rung `at`: half of the rest where that holds the next one, else all of it; but for a round that measures the average."""
        if not self.train.minutes:
            return None
        kinds = {"freeze": "freeze", "top": "lora" if self.tuning.top == "auto" else self.tuning.top}
        rest, later = self.rest(), self.names[at + 1 : at + 2]
        seconds = rest / 2 if any(self.need(kinds[name]) <= rest / 2 for name in later) else rest
        return max(1e-3, seconds - (self.validation() if at else 0.0)) / 60

    @torch.no_grad()
    def measure(self) -> None:
        """Times one forward pass over the training rows, by the batch whose length is nearest to the mean."""
        if not self.encoders or not self.train.minutes:
            return
        batches = replace(self.batches(self.prepared), known={})
        order = batches.order(0)
        lengths = dict(zip(batches.rows.tolist(), batches.lengths.tolist(), strict=True))
        long = [sum(lengths[row] for row in rows.tolist()) for rows in order]
        middle = min(range(len(order)), key=lambda i: abs(long[i] - sum(long) / len(long)))
        known, self.model.known = self.model.known, {}
        question = batches.question(order[middle]).to(self.model.device)
        self.model.eval()
        turns = []
        for _ in range(2):  # the first one of a process is slower
            began = self.clock()
            with autocast(self.model.device, self.train.precision):
                sum(float(loss.sum) for loss in self.model.losses(question).values())
            turns.append(self.clock() - began)
        self.model.known = known
        self.pass_seconds = min(turns) * len(batches.rows) / len(order[middle])
