"""Fine-tuning MiniLM-L6 on reviews, against the transformers Trainer (with PEFT) as a good user runs it. Whole jobs, from the table to test answers.

python benchmarks/text.py [--rows 1200] [--epochs 3] [--rounds 3] [--threads 2] [JOB ...]

Both read the same rows with the same backbone, mean pooling, one linear head, dropout as the checkpoint has it, AdamW (fused), the same rates,
batches of 32, no padding beyond the batch, batches of like length, SDPA. The Trainer does not know the test rows' order by length, so they
are sorted for it. Jobs take turns in one process; the cache of frozen parts is empty at the start of every job but `text_probe_again`.
"""

import argparse
import json
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments
from transformers import logging as transformers_logging

from omnitune import samples
from omnitune.data.columns import Column
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import answer
from omnitune.recipe import Recipe, read
from omnitune.training import auto, cache
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen

TOKENS = 256
JOBS: dict[str, dict[str, Any]] = {
    "text_full": {"kind": "full"},
    "text_lora": {"kind": "lora", "rank": 8},
    "text_last2": {"kind": "freeze", "blocks": 2},
    "text_probe": {"kind": "probe"},
    "text_probe_again": {"kind": "probe"},
}


def recipe(tuning: dict[str, Any], rows: int, epochs: float) -> Recipe:
    return read({
        "data": {"from": f"sample:women-reviews#{rows}", "split": [0.8, 0, 0.2]},
        "inputs": {"text": {"kind": "text", "backbone": "sample:minilm-l6", "max_tokens": TOKENS}},
        "tasks": {"recommended": {"kind": "classify", "target": "recommended"}},
        "tuning": tuning,
        "train": {"epochs": epochs, "batch": 32, "micro_batch": 32},
    })  # fmt: skip


def resolved(asked: Recipe) -> Prepared:
    prepared = prepare(asked)
    train, _ = auto.resolve(asked, len(prepared.parts["train"]), torch.device("cpu"))
    return replace(prepared, recipe=asked.replace(train=train))


def ours(asked: Recipe) -> float:
    """Accuracy on the test rows."""
    prepared = resolved(asked)
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    frozen = Frozen(model, prepared)
    train = prepared.recipe.train
    for _ in Loop(model, frozen.prepared.batches("train", 32, 0), train, {"recommended": 1.0}):
        pass
    found = answer(model, frozen.prepared.batches("test", 32), train.precision)["recommended"]
    frozen.close()
    return float((found.p.argmax(1) == found.y).mean())


class Classifier(nn.Module):
    """What a user of transformers writes: backbone, mean of the tokens, linear head."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, nn.Linear(backbone.config.hidden_size, 2)

    def forward(self, input_ids: Any, attention_mask: Any, labels: Any = None) -> dict[str, Any]:
        x_BLD = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask[..., None].to(x_BLD.dtype)
        logits = self.head((x_BLD * mask).sum(1) / mask.sum(1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def theirs(asked: Recipe, tuning: dict[str, Any]) -> float:
    """Accuracy on the test rows."""
    prepared = resolved(asked)
    train = prepared.recipe.train
    folder = samples.path("minilm-l6")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(0)
    backbone = AutoModel.from_pretrained(folder, add_pooling_layer=False)
    if tuning["kind"] == "lora":
        from peft import LoraConfig, get_peft_model

        targets = ["query", "key", "value", "dense"]
        backbone = get_peft_model(backbone, LoraConfig(r=tuning["rank"], lora_alpha=2 * tuning["rank"], target_modules=targets))
    elif tuning["kind"] != "full":
        backbone.requires_grad_(False)
        for block in backbone.encoder.layer[len(backbone.encoder.layer) - tuning.get("blocks", 0) :]:
            block.requires_grad_(True)
    model = Classifier(backbone)

    def rows(part: str) -> list[dict[str, Any]]:
        texts, labels = (Column(prepared.table, name, prepared.parts[part])[:] for name in ("text", "recommended"))
        encoded = tokenizer(["" if t is None else t for t in texts], truncation=True, max_length=TOKENS)
        return [{"input_ids": ids, "attention_mask": [1] * len(ids), "labels": int(y)} for ids, y in zip(encoded["input_ids"], labels, strict=True)]

    heads = {"params": list(model.head.parameters()), "lr": train.head_lr}
    body = {"params": [p for p in model.backbone.parameters() if p.requires_grad], "lr": train.lr}
    optimizer = torch.optim.AdamW([group for group in (heads, body) if group["params"]], weight_decay=0.01, fused=True)
    with tempfile.TemporaryDirectory() as place:
        arguments = TrainingArguments(
            place, num_train_epochs=float(train.epochs), per_device_train_batch_size=32, per_device_eval_batch_size=32,
            train_sampling_strategy="group_by_length", lr_scheduler_type="cosine", warmup_steps=0.06, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, use_cpu=True, seed=0, remove_unused_columns=False,
        )  # fmt: skip
        trainer = Trainer(model, arguments, DataCollatorWithPadding(tokenizer), train_dataset=rows("train"), optimizers=(optimizer, None))
        trainer.train()
        test = sorted(rows("test"), key=lambda row: -len(row["input_ids"]))
        found = trainer.predict(test)
    return float((found.predictions.argmax(1) == found.label_ids).mean())


def timed(job: Callable[[], float]) -> tuple[float, float]:
    began = time.perf_counter()
    accuracy = job()
    return time.perf_counter() - began, accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", default=list(JOBS), metavar="JOB", help=", ".join(JOBS))
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="Where to write the figures.")
    given = parser.parse_args()
    transformers_logging.set_verbosity_error()
    torch.set_num_threads(given.threads)
    place = Path(tempfile.mkdtemp())
    cache.folder = lambda: place
    ours(recipe(JOBS["text_probe"], 100, 1))  # first calls load code
    theirs(recipe(JOBS["text_probe"], 100, 1), JOBS["text_probe"])
    found: dict[str, Any] = {}
    for job in given.jobs:
        asked, rounds = recipe(JOBS[job], given.rows, given.epochs), []
        if job == "text_probe_again":
            ours(asked)
        for _ in range(given.rounds):
            peer, peer_accuracy = timed(lambda asked=asked, job=job: theirs(asked, JOBS[job]))
            if job != "text_probe_again":
                cache.empty()
            own, accuracy = timed(lambda asked=asked: ours(asked))
            rounds.append((peer / own, own, peer, accuracy, peer_accuracy))
        ratios, own, peer, accuracy, peer_accuracy = (list(column) for column in zip(*rounds, strict=True))
        found[job] = {
            "ratio": {"median": round(statistics.median(ratios), 2), "min": round(min(ratios), 2), "max": round(max(ratios), 2)},
            "seconds": round(statistics.median(own), 2), "peer_seconds": round(statistics.median(peer), 2),
            "accuracy": round(float(np.median(accuracy)), 4), "peer_accuracy": round(float(np.median(peer_accuracy)), 4),
        }  # fmt: skip
        print(job, json.dumps(found[job]), flush=True)
    shutil.rmtree(place, ignore_errors=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    if given.json:
        given.json.write_text(json.dumps({"machine": machine, "rows": given.rows, "epochs": given.epochs, "jobs": found}, indent=1), encoding="utf-8")
    print(machine)


if __name__ == "__main__":
    main()
