"""Fine-tuning speed: useful tokens a second of SmolLM2-135M with LoRA that learns answers to prompts, in omnitune's loop and in the transformers
Trainer with PEFT.

python benchmarks/instructions.py [ROUNDS] [--rows 48] [--batch 8] [--rank 8]

The same reviews, the same tokens of prompt and answer, adapters on the same matrices, fused AdamW, gradients clipped; a token is useful where it is
no padding. The Trainer is given batches of like length, padded to their longest row only, SDPA, and labels of the answers alone. The sides take
turns; each first run is not counted.
"""

import argparse
import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from _timing import interleaved, table
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from omnitune import samples
from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune

MODEL = "smollm2-135m"
RATE = 5e-4
PROMPT = "Review of {rating} stars: {text}\nTitle:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    for name, value in (("rows", 48), ("batch", 8), ("rank", 8)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    warnings.simplefilter("ignore")
    prepared = prepared_for(given.rows, given.batch, given.rank)
    rows = token_rows(prepared)
    useful = sum(len(row["input_ids"]) for row in rows)
    with tempfile.TemporaryDirectory() as place:
        cases = {"omnitune": ours(prepared), "Trainer and PEFT": theirs(rows, given.batch, given.rank, place)}
        taken = interleaved(cases, given.rounds)
    print(f"{len(rows)} rows, {useful:,} useful tokens a round")
    print(table(taken))
    for name, seconds in taken.items():
        print(f"{name:24} {useful / sorted(seconds)[len(seconds) // 2]:8,.0f} useful tokens/s")
    ratios = sorted(other / own for own, other in zip(*taken.values(), strict=True))
    print(f"omnitune is faster by {ratios[len(ratios) // 2]:.2f}x ({ratios[0]:.2f} - {ratios[-1]:.2f})")


def prepared_for(rows: int, batch: int, rank: int) -> Prepared:
    """So many training rows with both columns."""
    recipe = read({
        "data": {"from": f"sample:women-reviews#{2 * rows}", "split": [1, 0, 0]},
        "inputs": {"text": {"kind": "text", "backbone": f"sample:{MODEL}", "max_tokens": 192}},
        "tasks": {"title": {"kind": "generate", "of": "text", "prompt": PROMPT, "target": "title"}},
        "tuning": {"kind": "lora", "rank": rank}, "train": {"batch": batch, "lr": RATE, "cache": 0, "epochs": 1},
    })  # fmt: skip
    train, _ = auto.resolve(recipe, rows, torch.device("cpu"))
    made = prepare(recipe.replace(train=train))
    return replace(made, parts=made.parts | {"train": made.answered[:rows]})


def token_rows(prepared: Prepared) -> list[dict[str, list[int]]]:
    """What omnitune reads, as the Trainer takes it."""
    found = []
    for question in prepared.batches("train", 8, 0).epoch():
        batch, target = question.asked["title"]
        inputs = batch.inputs["text"]
        for ids, mask, labels in zip(inputs["input_ids"], inputs["attention_mask"].bool(), target["labels"], strict=True):
            asked = torch.full_like(ids, -100)
            asked[1:] = torch.where(labels[:-1] >= 0, labels[:-1], -100)
            found.append({"input_ids": ids[mask].tolist(), "labels": asked[mask].tolist()})
    return found


def ours(prepared: Prepared) -> Callable[[], Any]:
    """An epoch of the loop, as `omnitune fit` takes it."""
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    batches = prepared.batches("train", int(prepared.recipe.train.batch), 0)
    return lambda: [step.step for step in Loop(model, batches, prepared.recipe.train, {"title": 1.0})]


def theirs(rows: list[dict[str, list[int]]], batch: int, rank: int, place: str) -> Callable[[], Any]:
    """An epoch of the Trainer."""
    folder = samples.path(MODEL)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    model = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM"))
    arguments = TrainingArguments(
        place, num_train_epochs=1, per_device_train_batch_size=batch, learning_rate=RATE, optim="adamw_torch_fused", report_to=[], use_cpu=True,
        save_strategy="no", logging_strategy="no", disable_tqdm=True, train_sampling_strategy="group_by_length",
    )  # fmt: skip
    collate = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(folder))
    made = Trainer(model, arguments, collate, train_dataset=[row | {"attention_mask": [1] * len(row["input_ids"])} for row in rows])
    made.remove_callback(PrinterCallback)
    return made.train


if __name__ == "__main__":
    main()
