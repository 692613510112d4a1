"""Race: a language model of 135 million weights learns to write titles, by adapters; the Trainer of transformers with PEFT beside omnitune.

Both read the same tokens, ask for those of the answers alone, and take the same rates from the same seed; the Trainer groups rows by length and
pays attention by SDPA. The limit is the useful work (see `flops`, and the products of the table with the vectors that are asked about) by the
matmul peak; of adapters in the upper blocks what lies below them counts once.
"""

import statistics
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
from races import Done, Race, Side, timed
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from omnitune.data.prepared import Prepared, prepare
from omnitune.recipe import read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen

RATE, NOTHING, TOKENS = 2e-4, -100, 160
Row = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Size:
    """How much is learned.

    Args:
        backbone: a sample or a folder.
        rows: of the training part about eight tenths.
        batch: rows a step.
        epochs: over them.
        blocks: upper ones with adapters; None for all.
    """

    backbone: str = "sample:smollm2-135m"
    rows: int = 60
    batch: int = 8
    epochs: int = 1
    blocks: int | None = None

    @property
    def tuning(self) -> dict[str, Any]:
        """As a recipe says it."""
        return {"kind": "lora", "rank": 8} | ({} if self.blocks is None else {"blocks": self.blocks})


UPPER = Size(rows=40, epochs=3, blocks=10)


def race(size: Size) -> Race:
    """Training from the first step to the last; models and tokens are read before."""
    prepared = prepared_for(size)
    rows = token_rows(prepared, size)
    model = AutoModelForCausalLM.from_pretrained(Writing(size.backbone).folder, dtype=torch.float32, attn_implementation="sdpa")
    lengths = [len(row["input_ids"]) for row in rows]
    useful = flops.training(flops.Shape.of(model.config), size.tuning, size.epochs, lengths, [])
    asked = size.epochs * sum(int((row["labels"] != NOTHING).sum()) for row in rows)
    useful += 4.0 * asked * model.config.hidden_size * model.config.vocab_size
    tokens = size.epochs * sum(lengths)
    what = f"tune: LoRA in {size.blocks or 'all'} blocks, {len(rows)} rows of {min(lengths)} to {max(lengths)} tokens, {size.epochs} epochs"
    sides = {"omnitune": ours(prepared, size, tokens), "Trainer and PEFT": trainer(model, rows, size, tokens)}
    return Race(what, "tokens", tokens * flops.peak() / useful, sides)


def prepared_for(size: Size) -> Prepared:
    """Reviews and their titles."""
    recipe = read({
        "data": {"from": f"sample:women-reviews#{size.rows}", "split": [0.8, 0, 0.2]},
        "inputs": {"text": {"kind": "text", "backbone": size.backbone, "max_tokens": TOKENS}},
        "tasks": {"title": {"kind": "generate", "of": "text", "prompt": "Review: {text} Title:", "target": "title"}},
        "tuning": size.tuning,
        "train": {"epochs": size.epochs, "batch": size.batch, "micro_batch": size.batch, "lr": RATE, "seed": 0},
    })  # fmt: skip
    prepared = prepare(recipe)
    train, _ = auto.resolve(recipe, len(prepared.parts["train"]), torch.device("cpu"))
    return replace(prepared, recipe=recipe.replace(train=train))


def token_rows(prepared: Prepared, size: Size) -> list[Row]:
    """What omnitune reads of each row, and which tokens it asks for, as transformers takes them."""
    made = []
    for question in prepared.batches("train", size.batch, 0).epoch():
        batch, target = question.asked["title"]
        ids_BL, real_BL = batch.inputs["text"]["input_ids"], batch.inputs["text"]["attention_mask"].bool()
        asked_BL = torch.cat([torch.full_like(ids_BL[:, :1], -1), target["labels"][:, :-1]], 1)
        wanted_BL = torch.where(asked_BL < 0, NOTHING, asked_BL)
        made += [{"input_ids": ids[real], "labels": y[real]} for ids, y, real in zip(ids_BL, wanted_BL, real_BL, strict=True)]
    return made


def ours(prepared: Prepared, size: Size, tokens: int) -> Side:
    """As `omnitune fit` trains, with nothing kept from the run before."""
    place = Path(tempfile.mkdtemp())
    own_cache(place)
    torch.manual_seed(0)
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)

    def run() -> Done:
        cold(place)
        with closing(Frozen(model, prepared)) as frozen:
            settings = prepared.recipe.train
            loop = Loop(model, frozen.prepared.batches("train", size.batch, settings.seed), settings, {"title": 1.0})
            return Done(tokens, 0, note=f"mean loss {statistics.mean(step.losses['title'] for step in loop):.2f}")

    return lambda: timed(run)


def trainer(model: Any, rows: Sequence[Row], size: Size, tokens: int) -> Side:
    """As one writes it after reading the documentation of PEFT."""
    from peft import LoraConfig, get_peft_model

    upper = {module for block in model.model.layers[-(size.blocks or len(model.model.layers)) :] for module in block.modules()}
    names = [name for name, module in model.named_modules() if module in upper and isinstance(module, torch.nn.Linear)]
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=names))
    arguments = TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=size.epochs, per_device_train_batch_size=size.batch, learning_rate=RATE, lr_scheduler_type="cosine",
        optim="adamw_torch_fused", train_sampling_strategy="group_by_length", seed=0, use_cpu=True, report_to=[], save_strategy="no",
        logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    made = Trainer(adapted, arguments, padded, train_dataset=rows)
    made.remove_callback(PrinterCallback)
    return lambda: timed(lambda: Done(tokens, 0, note=f"mean loss {made.train().training_loss:.2f}"))


def padded(rows: Sequence[Row]) -> Row:
    """On the right."""
    ids, labels = ([row[name] for row in rows] for name in ("input_ids", "labels"))
    mask = [torch.ones_like(row) for row in ids]
    return {
        "input_ids": pad_sequence(ids, batch_first=True), "attention_mask": pad_sequence(mask, batch_first=True),
        "labels": pad_sequence(labels, batch_first=True, padding_value=NOTHING),
    }  # fmt: skip
