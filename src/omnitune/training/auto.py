"""Auto: the one place where `auto` becomes a number. Each rule gives a value, a reason and its source."""

import math
from collections.abc import Callable
from typing import Any

import torch

from omnitune.backbones import Architecture, Backbone
from omnitune.recipe import Recipe, Train
from omnitune.training import device as devices
from omnitune.tuning import Tuning
from omnitune.tuning.full import Full
from omnitune.tuning.lora import LoRA

Rule = Callable[[Recipe, int, torch.device], tuple[Any, str]]

BASE = 5e-5
"""For full fine-tuning of a Transformer of width 768: the highest of the rates in Devlin et al. 2019."""
SCRATCH = 6e-4
"""For a Transformer of width 768 that starts from nothing."""
POST_NORM = 2.5e-4
"""The same at width 410 where norms stand behind each half of a block: with more, such a model stays at the shares of words for long."""
FACTORS = {
    "full": (1.0, "full fine-tuning"),
    "auto": (1.0, "full fine-tuning; the rungs below take as much more as they do alone"),
    "freeze": (2.5, "the last blocks alone bear larger steps (measured, docs/log.md 2026-11-23)"),
    "lora": (10.0, "adapters bear about ten times the rate of full fine-tuning (Schulman et al. 2025, LoRA Without Regret)"),
    "bias": (20.0, "biases bear larger steps (Ben Zaken et al. 2022, section 4)"),
}
HIGHEST = 1e-3
PATIENCE = {"probe": 0, "freeze": 2, "lora": 2, "full": 2}
"""Rounds without progress after which a rung gives way to the next, where the recipe names none. Epochs of the probe cost next to nothing: with 2
it ended after 4 of them on 268 rows, far below a probe that is fitted to the end (validation AUROC .60)."""
CONVOLUTIONS = 2e-4
PART = 128
"""Rows of a backbone in memory at once on a CPU: 512 pictures of 224 x 224 in a small convolutional network take 8 GB."""
COMPILED_STEPS = 1000
"""That a compiled run must have, at the least."""


def resolve(recipe: Recipe, rows: int, device: torch.device) -> tuple[Train, dict[str, str]]:
    """`recipe.train` without `auto`, and the reason for every value that was chosen here.

    Args:
        recipe: the recipe.
        rows: training rows.
        device: where it will run.
    """
    train, reasons = recipe.train, {}
    for field, rule in RULES.items():
        if getattr(train, field) == "auto":
            value, reason = rule(recipe.replace(train=train), rows, device)
            train = train.replace(**{field: value})
            reasons[f"train.{field}"] = f"{value}: {reason}"
    return train, reasons


def _batch(recipe: Recipe, rows: int, device: torch.device) -> tuple[int, str]:
    size = min(32, 2 ** max(0, int(math.log2(max(1, rows / 8)))))
    return size, "32, or an eighth of few rows (Devlin et al. 2019 use 16 and 32)"


def _micro_batch(recipe: Recipe, rows: int, device: torch.device) -> tuple[int, str]:
    if device.type == "cpu" and _shapes(recipe) and int(recipe.train.batch) > PART:
        return PART, "a part of the batch: on a CPU a run that asks for too much memory is killed without a word"
    return int(recipe.train.batch), "the whole batch; halved when memory ends"


def _epochs(recipe: Recipe, rows: int, device: torch.device) -> tuple[float, str]:
    steps = math.ceil(rows / int(recipe.train.batch))
    epochs = min(20, max(3, round(600 / steps)))
    return float(epochs), "at least 3 (Devlin et al. 2019), and some 600 steps for few rows, at most 20 epochs (Mosbach et al. 2021)"


def _lr(recipe: Recipe, rows: int, device: torch.device) -> tuple[float, str]:
    """Smaller models bear larger steps: the rate falls with the square of the width (measured, docs/log.md 2026-11-23)."""
    shapes = [shape for name, shape in _shaped(recipe).items() if not recipe.tuning.of or recipe.reader(name) in recipe.tuning.of]
    if recipe.tuning.kind not in FACTORS or not shapes:
        return HIGHEST, "no pretrained weight learns"
    factor, reason = FACTORS[recipe.tuning.kind]
    if not any(shape.attention for shape in shapes):
        return CONVOLUTIONS, "convolutional networks (measured, docs/log.md 2026-11-23)"
    width = max(shape.width for shape in shapes if shape.attention)
    if not any(shape.pretrained for shape in shapes) and any(shape.post_norm for shape in shapes):
        rate = float(f"{min(HIGHEST, POST_NORM * 410 / width):.1g}")
        return (
            rate,
            f"2.5e-4 at width 410 from scratch with norms behind each half (Dai et al. 2019), here {width}: narrower models bear larger steps",
        )
    if not any(shape.pretrained for shape in shapes):
        rate = float(f"{min(HIGHEST, SCRATCH * 768 / width):.1g}")
        return rate, f"6e-4 at width 768 from scratch (Brown et al. 2020, table 2.1), here {width}: narrower models bear larger steps"
    rate = float(f"{min(HIGHEST, factor * BASE * (768 / width) ** 2):.1g}")
    return rate, f"5e-5 at width 768 (Devlin et al. 2019), here {width}: smaller models bear larger steps; {reason}"


def _head_lr(recipe: Recipe, rows: int, device: torch.device) -> tuple[float, str]:
    if any(recipe.shown(task) for task in recipe.tasks):
        return HIGHEST, "a projector of pictures or sounds into prompts (Liu et al. 2023, section 4)"
    if recipe.fusion.deep:
        return 5e-4, "a Transformer from scratch does not bear the 3e-3 of a linear layer (measured, docs/log.md 2026-11-23)"
    if any(part.deep for part in (*recipe.tasks.values(), *recipe.inputs.values())):
        return HIGHEST, "a narrow Transformer from scratch beside the backbones bears what a backbone from scratch does"
    width = max([384, *(shape.width for shape in _shapes(recipe))])
    rate = float(f"{3e-3 * 384 / width:.1g}")
    return (
        rate,
        "3e-3 up to width 384, then less in proportion: wider layers need smaller steps of each weight (Yang et al. 2022; docs/log.md 2026-11-23)",
    )


def from_nothing(recipe: Recipe) -> list[str]:
    """The inputs whose backbone starts from nothing."""
    return [name for name, shape in _shaped(recipe).items() if not shape.pretrained]


def _shapes(recipe: Recipe) -> list[Architecture]:
    return list(_shaped(recipe).values())


def _shaped(recipe: Recipe) -> dict[str, Architecture]:
    return {name: m.backbone.architecture() for name, m in recipe.inputs.items() if isinstance(getattr(m, "backbone", None), Backbone)}


def _attention_dropout(recipe: Recipe, rows: int, device: torch.device) -> tuple[float | str, str]:
    if device.type == "cpu":
        return 0.0, "with dropout, attention leaves its fast kernel on a CPU (measured, docs/log.md 2026-11-23)"
    if device.type == "cuda" and recipe.train.flat:
        return 0.0, "the kernel that reads rows without padding on a GPU has none"
    return recipe.train.dropout, "as train.dropout"


def _compile(recipe: Recipe, rows: int, device: torch.device) -> tuple[bool, str]:
    steps = float(recipe.train.epochs) * math.ceil(rows / int(recipe.train.batch))
    if device.type != "cuda":
        return False, f"does not pay on {device.type} (measured, docs/log.md 2026-11-26)"
    return (
        steps >= COMPILED_STEPS,
        f"compiling takes as long as some {COMPILED_STEPS} steps save (measured, docs/log.md 2026-11-27), here {steps:.0f}",
    )


def _precision(recipe: Recipe, rows: int, device: torch.device) -> tuple[str, str]:
    return devices.precision(device), f"what {device.type} computes natively"


# The rungs of `tuning: auto`

LARGE = 500_000_000
"""Weights of backbones above which not all learn: AdamW holds 16 bytes a weight (Rajbhandari et al. 2020, ZeRO)."""
FEW_STEPS = 100
"""Adapters start at zero: 33 steps left them there (docs/log.md, 2026-11-23)."""


def on_rung(recipe: Recipe, tuning: Tuning, minutes: float | None) -> Train:
    """`recipe.train`, resolved for `tuning: auto`, as a rung of `tuning` takes it."""
    train, convolutions = recipe.train, not any(shape.attention for shape in _shapes(recipe))
    factor = 1.0 if convolutions else FACTORS.get(tuning.kind, (1.0, ""))[0]
    return train.replace(
        lr=min(max(HIGHEST, float(train.lr)), factor * float(train.lr)), minutes=minutes, patience=train.patience or PATIENCE[tuning.kind]
    )


def top_rung(weights: int, steps: float, fits: Callable[[str], bool]) -> tuple[Tuning, str]:
    """All weights or LoRA, for the last rung.

    Args:
        weights: of all backbones.
        steps: of the rung, if all its epochs fit.
        fits: whether the rest of the time holds a rung of this kind.
    """
    if weights > LARGE:
        return LoRA(), f"{weights / 1e6:,.0f} million weights: the optimiser of all would need {16 * weights / 1e9:,.0f} GB"
    if steps >= FEW_STEPS and fits("lora") and not fits("full"):
        return LoRA(), "time for adapters, whose backward pass makes no gradients of the large weights, not for all (Hu et al. 2022)"
    return Full(), "all weights fit into memory and reach at least what adapters reach (Biderman et al. 2024, LoRA Learns Less and Forgets Less)"


RULES: dict[str, Rule] = {
    "batch": _batch, "micro_batch": _micro_batch, "epochs": _epochs, "lr": _lr, "head_lr": _head_lr, "precision": _precision,
    "attention_dropout": _attention_dropout, "compile": _compile,
}  # fmt: skip
