"""Pre-training speed: tokens a second of a GPT-2 from nothing, in omnitune's loop, the transformers Trainer and a plain loop.

python benchmarks/pretrain.py [ROUNDS] [--depth 6] [--width 384] [--length 256] [--batch 8] [--steps 6]

The same reviews, token numbers, sizes and optimiser (fused AdamW, gradients clipped) on all sides; rows are full, so nothing is padding. The
sides take turns; a side's speed in a round is that of its median step after the first. The Trainer runs GPT-2 as its configuration comes (dropout
.1, GELU of seven operations), and without dropout. The plain loop is what one writes after reading nanoGPT: no dropout, SDPA, fused GELU, all logits.
"""

import argparse
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any

import torch
from flops import Shape, peak
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from omnitune.data.prepared import Prepared, prepare
from omnitune.data.table import read as read_table
from omnitune.recipe import read
from omnitune.training import auto
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune

JOINED = 10
"""Reviews a row, so that every row is longer than the context."""
VOCABULARY = 8192
RATE = 3e-4
Steps = Callable[[], list[float]]


@dataclass(frozen=True)
class Size:
    """Of model and batch."""

    depth: int
    width: int
    length: int
    batch: int
    steps: int

    def flops(self) -> float:
        """Of a step: forward, and twice as much backward (Chowdhery et al. 2022, appendix B)."""
        shape = Shape(self.depth, self.width, 4 * self.width)
        return 3 * self.batch * (shape.forward(self.length) + 2.0 * self.length * self.width * VOCABULARY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rounds", nargs="?", type=int, default=5)
    for name, value in (("depth", 6), ("width", 384), ("length", 256), ("batch", 8), ("steps", 6)):
        parser.add_argument(f"--{name}", type=int, default=value)
    given = vars(parser.parse_args())
    rounds, size = given.pop("rounds"), Size(**given)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    warnings.simplefilter("ignore")
    prepared = prepared_for(size)
    rows = token_rows(prepared, size)
    with tempfile.TemporaryDirectory() as place:
        sides: dict[str, Steps] = {"omnitune": ours(prepared, size)}
        sides |= {f"Trainer, dropout {share}": trainer(rows, size, place, share) for share in (0.1, 0.0)}
        sides["plain loop"] = plain(rows, size)
        taken: dict[str, list[float]] = {name: [] for name in sides}
        best = peak()
        for _ in range(rounds):
            for name, side in sides.items():
                taken[name].append(statistics.median(side()[1:]))
        best = max(best, peak())
    print(report(taken, size, best))


def report(taken: dict[str, list[float]], size: Size, best: float) -> str:
    """Tokens a second, useful share of the matmul peak, and how much faster omnitune is in the same round."""
    lines = [f"{'':22} {'tokens/s':>9} {'of peak':>8} {'omnitune is faster by':>30}"]
    for name, seconds in taken.items():
        middle = statistics.median(seconds)
        ratios = [other / own for other, own in zip(seconds, taken["omnitune"], strict=True)]
        spread = f"{statistics.median(ratios):.2f}x ({min(ratios):.2f} - {max(ratios):.2f})"
        lines.append(f"{name:22} {size.batch * size.length / middle:9,.0f} {size.flops() / middle / best:8.0%} {spread:>30}")
    return "\n".join(lines)


def prepared_for(size: Size) -> Prepared:
    """Rows of reviews joined, each longer than the context, and the tokenizer learned from them."""
    table = read_table("sample:women-reviews#6000")
    texts = [text for text in table.take("text", range(len(table))) if text]
    rows = [{"text": " ".join(texts[i : i + JOINED])} for i in range(0, len(texts), JOINED)]
    gpt = {"kind": "gpt", "depth": size.depth, "width": size.width, "context": size.length, "vocabulary": VOCABULARY}
    recipe = read({
        "data": {"from": rows}, "inputs": {"text": {"kind": "text", "backbone": gpt, "max_tokens": size.length}},
        "tasks": {"language": {"kind": "generate", "of": "text"}}, "train": {"batch": size.batch, "lr": RATE, "cache": 0},
    })  # fmt: skip
    train, _ = auto.resolve(recipe, len(rows), torch.device("cpu"))
    return prepare(recipe.replace(train=train))


def token_rows(prepared: Prepared, size: Size) -> Tensor:
    """What omnitune reads, (rows, length) int64."""
    asked = (question.asked["language"][0].inputs["text"] for question in prepared.batches("train", size.batch, 0).epoch())
    rows = torch.cat([inputs["input_ids"] for inputs in asked if inputs["input_ids"].shape[1] == size.length and inputs["attention_mask"].all()])
    assert len(rows) >= size.batch * size.steps, "there are too few reviews for so many steps"
    return rows


def ours(prepared: Prepared, size: Size) -> Steps:
    """Steps of the loop, as `omnitune fit` takes them."""
    model = Model(prepared.recipe, prepared.schema)
    tune(model, prepared.recipe)
    endless = prepared.recipe.train.replace(epochs=1e6)

    def run() -> list[float]:
        loop = Loop(model, prepared.batches("train", size.batch, 0), endless, {"language": 1.0})
        times = [time.perf_counter(), *(time.perf_counter() for _ in islice(loop, size.steps))]
        return differences(times)

    return run


class Clock(TrainerCallback):
    """When steps end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.times = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


def trainer(rows: Tensor, size: Size, place: str, dropout: float) -> Steps:
    """Steps of the transformers Trainer with its GPT-2."""
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=size.length, n_embd=size.width, n_layer=size.depth, n_head=size.width // 64, resid_pdrop=dropout,
        embd_pdrop=dropout, attn_pdrop=dropout, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    arguments = TrainingArguments(
        place, max_steps=size.steps, per_device_train_batch_size=size.batch, learning_rate=RATE, optim="adamw_torch_fused", report_to=[],
        use_cpu=True, save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    clock = Clock()
    made = Trainer(GPT2LMHeadModel(config), arguments, train_dataset=[{"input_ids": row, "labels": row} for row in rows], callbacks=[clock])
    made.remove_callback(PrinterCallback)

    def run() -> list[float]:
        made.train()
        return differences(clock.times)

    return run


class Layer(nn.Module):
    """A block of the plain GPT-2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.back = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x_BLD: Tensor) -> Tensor:
        """(B, L, D) to the same."""
        q, k, v = (part.unflatten(-1, (self.heads, 64)).transpose(1, 2) for part in self.qkv(self.before(x_BLD)).chunk(3, -1))
        x_BLD = x_BLD + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x_BLD + self.back(F.gelu(self.wide(self.between(x_BLD)), approximate="tanh"))


class Plain(nn.Module):
    """GPT-2 with tied tables; the mean loss of the next tokens."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, size.width), nn.Embedding(size.length, size.width)
        self.layers, self.norm = nn.Sequential(*(Layer(size.width) for _ in range(size.depth))), nn.LayerNorm(size.width)
        self.apply(lambda m: nn.init.normal_(m.weight, std=0.02) if isinstance(m, nn.Linear | nn.Embedding) else None)

    def forward(self, ids_BL: Tensor) -> Tensor:
        """Of (B, L) tokens."""
        x_BLD = self.norm(self.layers(self.words(ids_BL) + self.places.weight[: ids_BL.shape[1]]))
        logits_BLV = x_BLD @ self.words.weight.T
        return F.cross_entropy(logits_BLV[:, :-1].flatten(0, 1), ids_BL[:, 1:].flatten())


def plain(rows: Tensor, size: Size) -> Steps:
    """Steps of a loop of five lines."""
    model = Plain(size)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, fused=True)

    def run() -> list[float]:
        times = [time.perf_counter()]
        for ids_BL in batches(rows, size):
            optimizer.zero_grad()
            model(ids_BL).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            times.append(time.perf_counter())
        return differences(times)

    return run


def batches(rows: Tensor, size: Size) -> Iterator[Tensor]:
    """Random rows."""
    return (rows[torch.randint(len(rows), (size.batch,))] for _ in range(size.steps))


def differences(times: list[float]) -> list[float]:
    """Between neighbours."""
    return [after - before for before, after in pairwise(times)]


if __name__ == "__main__":
    main()
