"""Race: a language model of 135 million weights learns which of two titles is the better one (DPO), by adapters; TRL's DPOTrainer beside omnitune.

A review's own title is better than that of the next one. All sides read the same texts and take the same rates; omnitune computes what the model
says before training once and keeps nothing from the run before, the DPOTrainer does so at every step or, where it is told, once. The limit is
the useful work (see `flops`) by the matmul peak: prompts once for both titles, once before training and in every epoch.

TRL is installed by `make bench-trl`.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flops
import torch
from ours import cold, own_cache
from race_generate import Size as Writing
from race_tune import RATE, TOKENS
from races import Done, Race, Side, timed
from transformers import AutoModelForCausalLM, AutoTokenizer

from omnitune.data.prepared import Prepared, prepare
from omnitune.data.table import read as read_table
from omnitune.recipe import read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen
from omnitune.training.reference import referred

TRL = Path(__file__).parents[1] / ".trl"
LORA: dict[str, Any] = {"kind": "lora", "rank": 8}


@dataclass(frozen=True)
class Size:
    """How much is learned.

    Args:
        backbone: a sample or a folder.
        rows: of them about eight tenths teach.
        batch: pairs a step.
        epochs: over them.
    """

    backbone: str = "sample:smollm2-135m"
    rows: int = 30
    batch: int = 8
    epochs: int = 2


def race(size: Size) -> Race:
    """Training from the first step to the last, with what is computed before it; models are read before."""
    prepared = prepared_for(size)
    pairs = [prepared.table.take(name, prepared.parts["train"]) for name in ("text", "title", "other")]
    folder = Writing(size.backbone).folder
    tokenizer = AutoTokenizer.from_pretrained(folder)
    done, lengths = size.epochs * len(pairs[0]), [[len(tokenizer(value)["input_ids"]) for value in some] for some in pairs]
    shape = flops.Shape.of(AutoModelForCausalLM.from_pretrained(folder).config)
    rows = [sum(row) for row in zip(*lengths, strict=True)]
    useful = flops.training(shape, LORA, size.epochs, rows, rows)
    sides = {"omnitune": ours(prepared, size, done), **theirs(folder, list(zip(*pairs, strict=True)), size, done)}
    what = f"prefer: {len(rows)} pairs, {size.epochs} epochs, LoRA in all blocks"
    return Race(what, "pairs", done * flops.peak() / useful, sides)


def prepared_for(size: Size) -> Prepared:
    """Reviews, their titles and the next one's."""
    table = read_table(f"sample:women-reviews#{2 * size.rows}")
    values = zip(*(table.take(name, range(len(table))) for name in ("text", "title")), strict=True)
    read_rows = [(text, title) for text, title in values if text and title and len(text) < TOKENS * 3]
    titles = [title for _, title in read_rows]
    rows = [
        {"text": text, "title": title, "other": other}
        for (text, title), other in zip(read_rows, titles[1:] + titles[:1], strict=True)
        if title != other
    ][: size.rows]
    task = {"kind": "prefer", "of": "text", "prompt": "Review: {text} Title:", "chosen": "title", "rejected": "other"}
    recipe = read({
        "data": {"from": rows, "split": [0.8, 0, 0.2]},
        "inputs": {"text": {"kind": "text", "backbone": size.backbone, "max_tokens": TOKENS}},
        "tasks": {"better": task},
        "tuning": LORA,
        "train": {"epochs": size.epochs, "batch": size.batch, "micro_batch": size.batch, "lr": RATE, "seed": 0},
    })  # fmt: skip
    prepared = prepare(recipe)
    train, _ = auto.resolve(recipe, len(prepared.parts["train"]), torch.device("cpu"))
    return replace(prepared, recipe=recipe.replace(train=train))


def ours(prepared: Prepared, size: Size, done: int) -> Side:
    """As `omnitune fit` trains."""
    place = Path(tempfile.mkdtemp())
    own_cache(place)
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)

    def run() -> Done:
        cold(place)
        with closing(Frozen(model, referred(model, prepared))) as frozen:
            settings = prepared.recipe.train
            loop = Loop(model, frozen.prepared.batches("train", size.batch, settings.seed), settings, {"better": 1.0})
            losses = [step.losses["better"] for step in loop]
        return Done(done, 0, note=f"first loss {losses[0]:.3f}")

    return lambda: timed(run)


def theirs(folder: str, pairs: Sequence[tuple[str, str, str]], size: Size, done: int) -> dict[str, Side]:
    """As one writes it after reading the documentation of TRL, and with the reference computed before."""
    sys.path.append(str(TRL))
    from datasets import Dataset
    from peft import LoraConfig, get_peft_model
    from trl import DPOConfig, DPOTrainer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = [{"prompt": f"Review: {text} Title:", "chosen": f" {title}", "rejected": f" {other}"} for text, title, other in pairs]
    lora = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")

    def run(model: Any, before: bool) -> Done:
        arguments = DPOConfig(
            tempfile.mkdtemp(), num_train_epochs=size.epochs, per_device_train_batch_size=size.batch, learning_rate=RATE,
            lr_scheduler_type="cosine", optim="adamw_torch_fused", seed=0, use_cpu=True, bf16=False, report_to=[], save_strategy="no",
            logging_strategy="no", disable_tqdm=True, gradient_checkpointing=False, precompute_ref_log_probs=before,
        )  # fmt: skip
        made = DPOTrainer(model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
        return Done(done, 0, note=f"mean loss {made.train().training_loss:.3f}")

    def side(before: bool) -> Done:  # a DPOTrainer leaves an adapter behind, so each has a model of its own
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), lora)
        return timed(lambda: run(model, before))

    return {"DPOTrainer": lambda: side(False), "DPOTrainer, reference before": lambda: side(True)}
