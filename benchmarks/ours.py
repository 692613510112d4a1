"""omnitune's side of every job, by the functions that its own commands are made of: from the table to the classes of the test rows."""

import inspect
import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from inputs import new_reviews, recipe, resolved
from inputs import work as plain_work
from jobs import JOBS, Job
from sides import Took, timed
from work import Work

from omnitune import samples
from omnitune.artifact import Artifact, load
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import Answers, answer
from omnitune.evaluation.assess import choose
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe, Train
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen

KEPT = ("samples", "tables")
"""What every run finds in the cache folder: downloads, not results."""


@dataclass(frozen=True)
class Given:
    """What this side is given.

    Args:
        job: its name.
        rows, epochs, seed: see `jobs.Sizes`.
        place: the folder of this suite's run, with the ViT and the trained model.
    """

    job: str
    rows: int
    epochs: float
    seed: int
    place: str

    def run(self) -> Took:
        """Does the job; a warm one needs one run before, which is not timed."""
        job, place = JOBS[self.job], Path(self.place)
        if job.kind == "predict":
            return predict(job, load(place / "model"), new_reviews(self.rows))
        asked = recipe(job, self.rows, self.epochs, self.seed, place)
        cold(place)
        if job.kind == "search":
            return search(asked, job)
        if job.warm:
            train(asked)
        return timed(lambda: train(asked))

    def work(self, threads: int) -> Work:
        """The same for a peer."""
        return plain_work(JOBS[self.job], self.rows, self.epochs, self.seed, Path(self.place), threads)

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> "Given":
        """What `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def lacking(job: Job) -> str | None:
    """Why this omnitune cannot do a job; None where it can."""
    if job.int8 and "int8" not in inspect.signature(Artifact.predict).parameters:
        return "this omnitune does not predict in int8"
    try:
        if job.kind == "search":
            import omnitune.commands.search  # noqa: F401
    except ImportError:
        return "this omnitune has no `omnitune search`"
    return None


# The cache folder, emptied before every run that is not a second one


def own_cache(place: Path) -> None:
    """From now on omnitune keeps what it computes in `place`; downloads stay where they are."""
    before, after = samples.folder().parent, place / "cache"
    after.mkdir(parents=True, exist_ok=True)
    for name in KEPT:
        (before / name).mkdir(parents=True, exist_ok=True)
        (after / name).symlink_to(before / name)
    os.environ["OMNITUNE_CACHE"] = str(after)


def cold(place: Path) -> None:
    """Forgets what earlier runs kept."""
    for path in (place / "cache").iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# The jobs


def train(asked: Recipe) -> list[int]:
    """Trains, and the classes that the first task says of the test rows."""
    prepared, answers = answered(asked)
    task = next(iter(answers))
    return classes(prepared, task, answers[task].p)


def answered(asked: Recipe) -> tuple[Prepared, dict[str, Answers]]:
    """Trains, with a validation each epoch where there are validation rows, and answers the test rows."""
    with closing(resolved(asked)) as prepared:
        settings = prepared.recipe.train
        torch.manual_seed(settings.seed)
        model = Model(prepared.recipe, prepared.schema)
        tune(model, prepared.recipe)
        with closing(Frozen(model, prepared)) as frozen:
            _train(model, frozen.prepared, settings)
            return prepared, answer(model, frozen.prepared.batches("test", int(settings.micro_batch)), settings.precision)


def _train(model: Model, prepared: Prepared, settings: Train) -> None:
    validate = Validate(model, prepared)
    measured = validate if len(prepared.parts["validation"]) else None
    weights = {name: task.weight for name, task in prepared.recipe.tasks.items()}
    batches = prepared.batches("train", int(settings.batch), settings.seed)
    loop = Loop(model, batches, settings, weights, measured, validate.higher(settings.stop_on))
    for _ in loop:
        pass
    if measured:
        choose(loop, validate)


def classes(prepared: Prepared, task: str, p: np.ndarray[Any, Any]) -> list[int]:
    """The likeliest class of every row, as the table writes it."""
    names = prepared.schema.tasks[task]["classes"]
    return [int(names[k]) for k in p.argmax(1)]


def search(asked: Recipe, job: Job) -> Took:
    """The trials of `omnitune search`, and the best setting trained once more for the test answers: those of half of the peer's test rows,
    since the other half are the validation rows that the trials are judged by."""
    from omnitune.commands.search import search as trials

    took = timed(lambda: train(trials(asked, trials=job.times).best))
    half, whole = test_rows(asked), test_rows(asked.replace(data=asked.data.replace(split=(0.8, 0.0, 0.2))))
    return replace(took, places=[whole.index(row) for row in half])


def test_rows(asked: Recipe) -> list[int]:
    """Their numbers in the table."""
    with closing(prepare(asked)) as prepared:
        found: list[int] = prepared.parts["test"].tolist()
        return found


def predict(job: Job, artifact: Artifact, texts: list[str]) -> Took:
    """Answers of a trained model."""
    rows, options = [{"text": text} for text in texts], {"int8": True} if job.int8 else {}
    done: Callable[[], list[int]] = lambda: [int(row["recommended"]["value"]) for row in artifact.predict(rows, **options)]  # noqa: E731
    return timed(done)
