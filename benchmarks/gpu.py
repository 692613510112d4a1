"""Fine-tuning of every weight on a GPU: tokens and pictures a second, and the share of the peak, against the transformers Trainer.

python benchmarks/gpu.py [JOB ...] [--rounds 3] [--epochs 3] [--rows N] [--sides SIDE ...] [--small] [--out FILE]

BERT-base and a Llama of 1.1 billion weights on reviews of clothes, ViT-B/16 on pictures; weights and pictures are random, since only time is
measured. Both sides compute in bfloat16 by autocast, from float32 weights, with the same batches' sizes, fused AdamW and no dropout. The first
epoch is not timed: it compiles, and finds kernels; its extra seconds are told. A round takes the sides in turns. `--small` is a tiny try on any
machine.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import torch
from flops import Shape
from inputs import TOKENS, reviews_of
from work import Rows, Work

from omnitune import samples
from omnitune.data.prepared import prepare
from omnitune.recipe import Recipe, read
from omnitune.training import auto
from omnitune.training.device import best_device
from omnitune.training.loop import Loop
from omnitune.training.model import Model, tune
from omnitune.training.prefix import Frozen

Record = dict[str, Any]
LR = 1e-5
PEAK = 8192
"""Side of the matrices whose product in bfloat16 is the peak."""
ROWS = {"bert": 8192, "vit": 2048, "llama": 2048}
BATCH = {"bert": 512, "vit": 256, "llama": 128}
"""So many rows that the GPU, not the launching of its kernels, takes the time."""
FILES = 256
"""Different pictures."""


@dataclass(frozen=True)
class Took:
    """What a side did: seconds of the first epoch and of every later one, most memory of the GPU in MiB, and the mean loss of the last epoch."""

    first: float
    epochs: list[float]
    peak_mb: float
    loss: float


# What both are given


def make_backbone(job: str, folder: Path, small: bool) -> None:
    """A checkpoint with random weights (seed 0)."""
    from transformers import AutoModel, BertConfig, LlamaConfig, ViTConfig

    torch.manual_seed(0)
    blocks, width = (2, 64) if small else {"llama": (16, 2048)}.get(job, (12, 768))
    size: Record = {"num_hidden_layers": blocks, "hidden_size": width, "num_attention_heads": max(2, width // 64), "intermediate_size": 4 * width}
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    if job == "vit":
        config: Any = ViTConfig(**size, **still)
        (folder / "preprocessor_config.json").write_text(json.dumps(PICTURES), encoding="utf-8")
    elif job == "bert":
        config = BertConfig(**size, **still)
    else:
        config = LlamaConfig(vocab_size=30522, num_key_value_heads=max(1, width // 256), max_position_embeddings=2048, pad_token_id=0, **size)
    AutoModel.from_config(config, **({} if job == "llama" else {"add_pooling_layer": False})).save_pretrained(folder)
    if job != "vit":
        for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
            if (file := samples.path("minilm-l6") / name).exists():
                (folder / name).write_bytes(file.read_bytes())


PICTURES = {
    "image_processor_type": "ViTImageProcessor", "do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_rescale": True,
    "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
}  # fmt: skip


def make_rows(job: str, rows: int, place: Path) -> Rows:
    """Texts, or files of random pictures, and their classes."""
    if job != "vit":
        return Rows(*reviews_of(rows))
    from PIL import Image

    random, files = np.random.default_rng(0), []
    for i in range(min(rows, FILES)):
        files.append(place / f"{i}.jpg")
        Image.fromarray(random.integers(0, 256, (28, 28, 3), dtype=np.uint8)).resize((224, 224)).save(files[-1])
    return Rows([str(files[i % len(files)]) for i in range(rows)], [int(k) for k in random.integers(0, 2, rows)])


def recipe(job: str, work: Work, compiled: bool) -> Recipe:
    """The same as a recipe."""
    kind = {"kind": "image", "augment": False} if job == "vit" else {"kind": "text", "max_tokens": TOKENS}
    pool = {"vit": "first", "bert": "mean", "llama": "last"}[job]
    table = Path(work.backbone) / "rows.jsonl"
    names = [Path(x).name if job == "vit" else x for x in work.train.values]
    table.write_text("\n".join(json.dumps({"x": x, "y": y}) for x, y in zip(names, work.train.y, strict=True)), encoding="utf-8")
    return read({
        "data": {"from": str(table), "split": [1, 0, 0]},
        "inputs": {"x": kind | {"backbone": {"kind": "pretrained", "name": work.backbone, "pool": pool}}},
        "tasks": {"y": {"kind": "classify", "target": "y"}},
        "train": {"epochs": work.epochs, "batch": work.batch, "micro_batch": work.batch, "lr": work.lr, "head_lr": work.head_lr, "compile": compiled},
    })  # fmt: skip


# The sides


def ours(job: str, work: Work, compiled: bool = False) -> Took:
    """omnitune's own loop."""
    asked = recipe(job, work, compiled)
    with closing(prepare(asked)) as prepared:
        train, _ = auto.resolve(asked, len(prepared.parts["train"]), best_device())
        prepared = replace(prepared, recipe=asked.replace(train=train))
        torch.manual_seed(train.seed)
        model = Model(prepared.recipe, prepared.schema)
        tune(model, prepared.recipe)
        with closing(Frozen(model.to(best_device()), prepared)) as frozen:
            loop = Loop(model, frozen.prepared.batches("train", work.batch, train.seed), train, {"y": 1.0})
            clock, losses = Clock(), []
            for step in loop:
                losses.append(step.losses["y"])
                if step.step % len(loop.batches) == 0:
                    clock.note()
        told = model.paths()
        took = clock.took(float(np.mean(losses[-len(loop.batches) :])))
    print(f"  {told}")
    return took


def trainer(job: str, work: Work, **options: Any) -> Took:
    """See `peers/trainer.py`."""
    from peers.trainer import made
    from transformers import TrainerCallback

    clock = Clock()

    class Note(TrainerCallback):
        def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
            clock.note()

    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as place:
        readers = {"dataloader_num_workers": 4, "dataloader_persistent_workers": True} if gpu else {"use_cpu": True}
        made_trainer, _ = made(work, place, bf16=gpu, **readers, **options)
        made_trainer.add_callback(Note())
        clock.start()
        found = made_trainer.train()
    return clock.took(found.training_loss)


class Clock:
    """Seconds between the ends of epochs, with all work done."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begins here."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.times = [self._now()]

    def note(self) -> None:
        """An epoch ends."""
        self.times.append(self._now())

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    def took(self, loss: float) -> Took:
        """What it saw."""
        first, *epochs = np.diff(self.times).tolist()
        return Took(first, epochs, torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0, loss)


SIDES: dict[str, Callable[[str, Work], Took]] = {
    "omnitune": ours,
    "omnitune, compiled": lambda job, work: ours(job, work, True),
    "Trainer": trainer,
}
ALSO = {"Trainer, torch_compile": lambda job, work: trainer(job, work, torch_compile=True)}


# The figures


def peak() -> float:
    """FLOPs a second of a large product in bfloat16, median of 20."""
    side = PEAK if torch.cuda.is_available() else 256
    a, b = (torch.randn(side, side, device=best_device(), dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(25):
        clock = Clock()
        a @ b
        clock.note()
        seconds.append(clock.times[1] - clock.times[0])
    return 2.0 * side**3 / statistics.median(seconds[5:])


def tokens(job: str, work: Work) -> list[int]:
    """Of every row."""
    if job == "vit":
        return [197] * len(work.train.values)
    from transformers import AutoTokenizer

    encoded = AutoTokenizer.from_pretrained(work.backbone)(work.train.values, truncation=True, max_length=work.tokens)["input_ids"]
    return [len(ids) for ids in encoded]


def measure(job: str, work: Work, sides: dict[str, Callable[[str, Work], Took]], rounds: int) -> Iterator[Record]:
    """One record a side and round."""
    from transformers import AutoConfig

    lengths, shape = tokens(job, work), Shape.of(AutoConfig.from_pretrained(work.backbone))
    useful = sum(shape.forward(n) + shape.learn(n, {"kind": "full"}) for n in lengths)
    for i in range(rounds):
        for name in sides if i % 2 == 0 else reversed(sides):
            torch._dynamo.reset()
            took, most = sides[name](job, work), peak()
            seconds = statistics.median(took.epochs)
            yield {
                "job": job, "side": name, "seconds": seconds, "first": took.first, "rows_a_second": len(lengths) / seconds,
                "tokens_a_second": sum(lengths) / seconds, "tflops": useful / seconds / 1e12, "peak_tflops": most / 1e12,
                "mfu": useful / seconds / most, "peak_mb": took.peak_mb, "loss": took.loss,
            }  # fmt: skip
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()


def table(records: list[Record]) -> str:
    """Medians over the rounds."""
    lines = [
        "| job | side | rows/s | tokens/s | share of the peak | times the Trainer | first epoch, s | MiB | loss |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for job, side in dict.fromkeys((r["job"], r["side"]) for r in records):
        own = [r for r in records if (r["job"], r["side"]) == (job, side)]
        theirs = [r["seconds"] for r in records if (r["job"], r["side"]) == (job, "Trainer")]
        middle = {key: statistics.median(r[key] for r in own) for key in own[0] if key not in ("job", "side")}
        ratio = f"{statistics.median(theirs) / middle['seconds']:.2f}" if theirs else ""
        lines.append(
            f"| {job} | {side} | {middle['rows_a_second']:,.0f} | {middle['tokens_a_second']:,.0f} | {middle['mfu']:.2f} | {ratio} | "
            f"{middle['first']:.1f} | {middle['peak_mb']:,.0f} | {middle['loss']:.3f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=", ".join(ROWS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3, help="The first is not timed.")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--sides", nargs="*", choices=[*SIDES, *ALSO], default=list(SIDES))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--out", type=Path, help="A file for the figures as JSON lines.")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, torch {torch.__version__}")
    records = []
    for job in given.jobs or ROWS:
        with tempfile.TemporaryDirectory(prefix="omnitune-gpu-") as place:
            make_backbone(job, Path(place), given.small)
            rows = make_rows(job, given.rows or (32 if given.small else ROWS[job]), Path(place))
            batch = 8 if given.small else BATCH[job]
            work = Work(
                "image" if job == "vit" else "text", place, {"kind": "full"}, rows, Rows(), epochs=given.epochs, batch=batch, lr=LR, head_lr=LR,
                tokens=TOKENS,
            )  # fmt: skip
            for record in measure(job, work, {name: (SIDES | ALSO)[name] for name in given.sides}, given.rounds):
                records.append(record)
                print("  " + ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{v}" for k, v in record.items()), flush=True)
                if given.out:
                    with given.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(record) + "\n")
    print(table(records))


if __name__ == "__main__":
    main()
