"""Inputs: the recipe, rows, backbones and trained model of every job, for omnitune as they are and for peers as plain values."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jobs import JOBS, Job
from safetensors.torch import save_file
from work import Rows, Work

from omnitune import samples
from omnitune.commands.fit import fit
from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import Recipe, read
from omnitune.training import auto

TOKENS, BATCH = 256, 32
TARGETS = {"text": "recommended", "image": "defective"}
TABLES = {"text": "women-reviews", "image": "elpv"}
VALIDATED = ("automl", "search")


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


# What peers are given


def work(job: Job, rows: int, epochs: float, seed: int, place: Path, threads: int) -> Work:
    """The same rows, rates and settings as plain values."""
    if job.kind == "predict":
        texts = new_reviews(rows)
        folder, head = str(samples.path("minilm-l6")), str(place / "head.safetensors")
        return Work("text", folder, job.tuning, Rows(), Rows(texts, answers_of(texts)), batch=BATCH, tokens=TOKENS, threads=threads, head=head)
    asked = recipe(job, rows, epochs, seed, place)
    if job.kind == "search":  # its peers answer the validation rows too, and so do the work of their other jobs
        asked = asked.replace(data=asked.data.replace(split=(0.8, 0.0, 0.2)))
    folder = samples.path("minilm-l6") if job.data == "text" else place / "vit-s16"
    with closing(resolved(asked)) as prepared:
        settings, parts = prepared.recipe.train, [_rows(prepared, job, part) for part in ("train", "test", "validation")]
    return Work(
        job.data, str(folder), job.tuning, *parts, epochs=epochs, batch=BATCH, lr=float(settings.lr), head_lr=float(settings.head_lr),
        weight_decay=settings.weight_decay, warmup=settings.warmup, seed=seed, tokens=TOKENS, threads=threads,
    )  # fmt: skip


def _rows(prepared: Prepared, job: Job, part: str) -> Rows:
    values, y = (Column(prepared.table, name, prepared.parts[part])[:] for name in (job.data, TARGETS[job.data]))
    root = prepared.table.root
    return Rows([str(root / v) if job.data == "image" and root else v or "" for v in values], [int(k) for k in y])


def _reviews() -> dict[str, list[Any]]:
    import pyarrow.parquet as pq

    found: dict[str, list[Any]] = pq.read_table(samples.path("women-reviews") / "data.parquet", columns=["text", "recommended"]).to_pydict()
    return found


def reviews_of(rows: int) -> tuple[list[str], list[int]]:
    """The first `rows` reviews that have a text, and what their writers answered."""
    found = [(text, y) for text, y in zip(*(_reviews()[name] for name in ("text", "recommended")), strict=True) if text][:rows]
    return [text for text, _ in found], [int(y) for _, y in found]


def new_reviews(rows: int) -> list[str]:
    """The last `rows` reviews that have a text."""
    return [text for text in _reviews()["text"] if text][-rows:]


def answers_of(texts: list[str]) -> list[int]:
    """What their writers answered."""
    found = _reviews()
    return [y for text, y in zip(found["text"], found["recommended"], strict=True) if text][-len(texts) :]


# What is made once a run of the suite


def make_model(place: Path, rows: int) -> None:
    """The model of the prediction jobs: a head over MiniLM; its head again as a file for the pipeline."""
    if (place / "model").exists():
        return
    artifact = fit(recipe(JOBS["text_probe"], rows, 10, 0, place), place / "model")
    head: Any = artifact.model.head("recommended")
    linear = head.logits.linear
    save_file({"weight": linear.weight / head.temperature, "bias": linear.bias / head.temperature}, place / "head.safetensors")


def make_vit(place: Path, blocks: int = 12) -> None:
    """ViT-S/16 with random weights (seed 0): no package that pip installs carries pretrained ones. Tests take fewer blocks."""
    from transformers import ViTConfig, ViTModel

    folder = place / "vit-s16"
    if folder.exists():
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = ViTConfig(hidden_size=384, num_hidden_layers=blocks, num_attention_heads=6, intermediate_size=1536)
        ViTModel(config, add_pooling_layer=False).save_pretrained(folder)
    pictures = {
        "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True,
        "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    }  # fmt: skip
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures), encoding="utf-8")
