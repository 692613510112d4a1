"""The jobs: what is done, with which peers, and what is hoped for. Plain values; nothing is imported here that loads a model."""

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Job:
    """One line of the table.

    Args:
        name, about: for people.
        kind: `train` from the table to test answers, `search` (many such runs), `automl` (with validation rows), `predict`.
        data: `text` is MiniLM-L6 on reviews of clothes, `image` ViT-S/16 on photographs of solar cells.
        target: how many times as fast as the first peer it is to be.
        tuning: as a recipe says it.
        epochs: at full size.
        peers: names in `sides.PEERS`; the first is the one that the ratio is taken to.
        also: slower variants of peers, run on demand.
        times: how often a peer must do its work for what this job does once.
        warm: what earlier runs on the same data kept is there.
        int8: in eight bits.
        peak: hoped-for share of the matmul peak.
    """

    name: str
    about: str
    kind: Literal["train", "search", "automl", "predict"]
    data: Literal["text", "image"]
    target: float
    tuning: dict[str, Any] = field(default_factory=lambda: {"kind": "probe"})
    epochs: int = 3
    peers: tuple[str, ...] = ("Trainer",)
    also: tuple[str, ...] = ()
    times: int = 1
    warm: bool = False
    int8: bool = False
    peak: float | None = None

    @property
    def work(self) -> tuple[object, ...]:
        """Jobs for which this is equal share one measurement of their peers in every round."""
        return self.data, self.kind in ("predict", "automl") and self.kind, str(self.tuning), self.epochs, self.peers


STILL = ("Trainer, frozen part in evaluation mode",)
BY_HAND = ("Trainer", "features once, by hand")
PIPELINE = ("pipeline, batches of 32", "pipeline, sorted by length")
LAST2 = {"kind": "freeze", "blocks": 2}
_ALL = [
    Job("text_full", "every weight of MiniLM learns", "train", "text", 2.7, {"kind": "full"}, peak=0.65),
    Job("text_lora", "LoRA of rank 8 in every layer", "train", "text", 3, {"kind": "lora", "rank": 8}),
    Job("text_last2", "the last two blocks learn", "train", "text", 6.5, LAST2, 10, also=STILL),
    Job("text_probe", "the head alone learns", "train", "text", 30, epochs=10, peers=BY_HAND, also=STILL),
    Job("text_probe_again", "the same once more, on the same data", "train", "text", 100, epochs=10, peers=BY_HAND, also=STILL, warm=True),
    Job("text_20_trials", "20 heads with 20 settings", "search", "text", 500, epochs=10, peers=BY_HAND, also=STILL, times=20),
    Job("image_full", "every weight of the ViT learns", "train", "image", 1.15, {"kind": "full"}, peak=0.75),
    Job("image_probe", "the head alone learns", "train", "image", 9, epochs=10, also=STILL),
    Job("image_last2", "the last two blocks learn", "train", "image", 4, LAST2, 10, also=STILL),
    Job("predict_text", "answers for new reviews", "predict", "text", 2.2, epochs=0, peers=PIPELINE),
    Job("predict_text_int8", "the same, linear layers in int8", "predict", "text", 3, epochs=0, peers=PIPELINE, int8=True),
    Job("automl_text", "every weight learns, best round on validation", "automl", "text", 3, {"kind": "full"}, peers=("AutoGluon",)),
]
JOBS = {job.name: job for job in _ALL}


@dataclass(frozen=True)
class Sizes:
    """How much of it.

    Args:
        rows: of the table, by data; and `predict`.
        most_epochs: no job runs more.
        peak_rows: rows of the small runs that peak memory is read from.
    """

    rows: dict[str, int]
    most_epochs: float
    peak_rows: int

    def of(self, job: Job) -> int:
        """Rows of a job."""
        return self.rows["predict" if job.kind == "predict" else job.data]

    def epochs(self, job: Job) -> float:
        """Epochs of a job."""
        return min(job.epochs, self.most_epochs)


FULL = Sizes({"text": 6000, "image": 2000, "predict": 20_000}, 100, 400)
QUICK = Sizes({"text": 160, "image": 30, "predict": 400}, 2, 100)
