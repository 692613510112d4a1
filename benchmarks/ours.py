"""omnitune's side of every job, by the functions that its own commands are made of: from the table to the classes of the test rows."""

import inspect
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jobs import JOBS, Job
from safetensors.torch import save_file
from sides import Took, timed
from work import Rows, Work

from omnitune import samples
from omnitune.artifact import Artifact, load
from omnitune.commands.fit import fit
from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import answer
from omnitune.evaluation.assess import choose
from omnitune.evaluation.validate import Validate
from omnitune.recipe import Recipe, read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen

TOKENS, BATCH = 256, 32
TARGETS = {"text": "recommended", "image": "defective"}
TABLES = {"text": "women-reviews", "image": "elpv"}
VALIDATED = ("automl", "search")
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


def recipe(job: Job, rows: int, epochs: float, seed: int, place: Path) -> Recipe:
    """What the job says, as a recipe; seeds and sizes of batches are those of the peers."""
    text = {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": TOKENS}
    image = {"kind": "image", "backbone": str(place / "vit-s16"), "augment": False}
    target = TARGETS[job.data]
    return read({
        "data": {"from": f"sample:{TABLES[job.data]}#{rows}", "split": [0.8, 0.1, 0.1] if job.kind in VALIDATED else [0.8, 0, 0.2]},
        "inputs": {job.data: text if job.data == "text" else image},
        "tasks": {target: {"kind": "classify", "target": target}},
        "tuning": job.tuning,
        "train": {"epochs": epochs, "batch": BATCH, "micro_batch": BATCH, "seed": seed},
    })  # fmt: skip


def resolved(asked: Recipe) -> Prepared:
    """The data, with a recipe without `auto`."""
    prepared = prepare(asked)
    train, _ = auto.resolve(asked, len(prepared.parts["train"]), torch.device("cpu"))
    return replace(prepared, recipe=asked.replace(train=train))


def train(asked: Recipe) -> list[int]:
    """Trains, with a validation each epoch where there are validation rows, and answers the test rows."""
    prepared = resolved(asked)
    settings = prepared.recipe.train
    torch.manual_seed(settings.seed)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    prepared, task = frozen.prepared, next(iter(asked.tasks))
    validate = Validate(model, prepared)
    measured = validate if len(prepared.parts["validation"]) else None
    loop = Loop(model, prepared.batches("train", BATCH, settings.seed), settings, {task: 1.0}, measured)
    for _ in loop:
        pass
    if measured:
        choose(loop, validate)
    found = answer(model, prepared.batches("test", BATCH), settings.precision)[task]
    frozen.close()
    return classes(prepared, task, found.p)


def classes(prepared: Prepared, task: str, p: np.ndarray[Any, Any]) -> list[int]:
    """The likeliest class of every row, as the table writes it."""
    names = prepared.schema.tasks[task]["classes"]
    return [int(names[k]) for k in p.argmax(1)]


def search(asked: Recipe, job: Job) -> Took:
    """The trials of `omnitune search`, and the best setting trained once more for the test answers: those of half of the peer's test rows,
    since the other half are the validation rows that the trials are judged by."""
    from omnitune.commands.search import search as trials

    took = timed(lambda: train(trials(asked, trials=job.times).best))
    half = prepare(asked).parts["test"].tolist()
    whole = prepare(asked.replace(data=asked.data.replace(split=(0.8, 0.0, 0.2)))).parts["test"].tolist()
    return replace(took, places=[whole.index(row) for row in half])


def predict(job: Job, artifact: Artifact, texts: list[str]) -> Took:
    """Answers of a trained model."""
    rows, options = [{"text": text} for text in texts], {"int8": True} if job.int8 else {}
    done: Callable[[], list[int]] = lambda: [int(row["recommended"]["value"]) for row in artifact.predict(rows, **options)]  # noqa: E731
    return timed(done)


# What peers are given


def work(job: Job, given: Given, threads: int) -> Work:
    """The same rows, rates and settings as plain values."""
    place = Path(given.place)
    if job.kind == "predict":
        texts = new_reviews(given.rows)
        folder, head = str(samples.path("minilm-l6")), str(place / "head.safetensors")
        return Work("text", folder, job.tuning, Rows(), Rows(texts, answers_of(texts)), batch=BATCH, tokens=TOKENS, threads=threads, head=head)
    asked = recipe(job, given.rows, given.epochs, given.seed, place)
    if job.kind == "search":  # its peers answer the validation rows too, and so do the work of their other jobs
        asked = asked.replace(data=asked.data.replace(split=(0.8, 0.0, 0.2)))
    prepared = resolved(asked)
    settings = prepared.recipe.train
    folder = samples.path("minilm-l6") if job.data == "text" else place / "vit-s16"
    parts = [_rows(prepared, job, part) for part in ("train", "test", "validation")]
    return Work(
        job.data, str(folder), job.tuning, *parts, epochs=given.epochs, batch=BATCH, lr=float(settings.lr), head_lr=float(settings.head_lr),
        weight_decay=settings.weight_decay, warmup=settings.warmup, seed=given.seed, tokens=TOKENS, threads=threads,
    )  # fmt: skip


def _rows(prepared: Prepared, job: Job, part: str) -> Rows:
    values, y = (Column(prepared.table, name, prepared.parts[part])[:] for name in (job.data, TARGETS[job.data]))
    root = prepared.table.root
    return Rows([str(root / v) if job.data == "image" and root else v or "" for v in values], [int(k) for k in y])


def _reviews() -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    found: dict[str, list[Any]] = pq.read_table(samples.path("women-reviews") / "data.parquet", columns=["text", "recommended"]).to_pydict()
    return found


def new_reviews(rows: int) -> list[str]:
    """The last `rows` reviews that have a text."""
    return [text for text in _reviews()["text"] if text][-rows:]


def answers_of(texts: list[str]) -> list[int]:
    """What their writers answered."""
    found = _reviews()
    return [y for text, y in zip(found["text"], found["recommended"], strict=True) if text][-len(texts) :]


# What is made once a run of the suite


def make_model(place: Path, rows: int = 1000) -> None:
    """The model of the prediction jobs: a head over MiniLM; its head again as a file for the pipeline."""
    if (place / "model").exists():
        return
    artifact = fit(recipe(JOBS["text_probe"], rows, 3, 0, place), place / "model")
    head: Any = artifact.model.head("recommended")
    linear = head.logits.linear
    save_file({"weight": linear.weight / head.temperature, "bias": linear.bias / head.temperature}, place / "head.safetensors")


def make_vit(place: Path) -> None:
    """ViT-S/16 with random weights (seed 0): no package that pip installs carries pretrained ones."""
    from transformers import ViTConfig, ViTModel

    folder = place / "vit-s16"
    if folder.exists():
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ViTConfig(hidden_size=384, num_hidden_layers=12, num_attention_heads=6, intermediate_size=1536)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    pictures = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures), encoding="utf-8")
