"""Optimisers: which weights move how fast, and when."""

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from omnitune.recipe import Train
from omnitune.training.model import Model, slug

NAMES = {"adadelta": "Adadelta", "adafactor": "Adafactor", "adagrad": "Adagrad", "adam": "Adam", "adamax": "Adamax", "adamw": "AdamW",
         "asgd": "ASGD", "nadam": "NAdam", "radam": "RAdam", "rmsprop": "RMSprop", "rprop": "Rprop", "sgd": "SGD"}  # fmt: skip

DECOUPLED = {"adafactor", "adam", "adamw", "nadam", "radam"}
"""Those of torch that decay weights apart from the gradient; for the others it is done here."""

PROPORTIONAL = {"adadelta", "adagrad", "adam", "adamax", "adamw", "nadam", "radam", "rmsprop", "sgd"}
"""Those whose step, decay aside, is the rate times what the gradients say, weight by weight; whatever the weights are."""


def groups(model: Model, train: Train) -> list[dict[str, Any]]:
    """Parameter groups with their own `lr` and `weight_decay`.

    Pretrained weights, those that say hidden words among them, take `lr`, times `layer_decay` for every block below the top (Howard and
    Ruder 2018; Clark et al. 2020); all else takes `head_lr`. Biases, norms and other vectors are spared weight decay (Loshchilov and
    Hutter 2019 decay weights apart from the gradient; sparing vectors follows BERT's own training).
    """
    rates = _rates(model, train)
    made: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.learning().items():
        key = (rates[name], train.weight_decay if parameter.ndim > 1 else 0.0)
        made.setdefault(key, {"params": [], "lr": key[0], "weight_decay": key[1]})["params"].append(parameter)
    return list(made.values())


def _rates(model: Model, train: Train) -> dict[str, float]:
    assert isinstance(train.lr, float) and isinstance(train.head_lr, float), "auto values are resolved before"
    rates = dict.fromkeys(model.learning(), train.head_lr)
    for name, backbone in model.backbones.items():
        prefix, top = f"encoders.{slug(name)}.backbone.", len(backbone.blocks)
        for parameter, _ in backbone.named_parameters():
            if prefix + parameter in rates:
                rates[prefix + parameter] = train.lr * train.layer_decay ** max(0, top - backbone.depth(parameter))
        words = model.words(name)
        if words and words.trained:
            rates |= {f"{place}.{n}": train.lr for place, m in model.named_modules() if m is words for n, _ in words.named_parameters()}
    return rates


def optimizer(model: Model, train: Train, balance: nn.Parameter | None = None, rate: float | None = None) -> torch.optim.Optimizer:
    """The optimiser of the recipe over what learns; fused where torch has it (one pass over the weights instead of several).

    Args:
        model: what learns.
        train: how.
        balance: weights that balance tasks, see `balance.Balance.learned`; spared weight decay.
        rate: their learning rate; None: that of heads.
    """
    more = [] if balance is None else [{"params": [balance], "lr": train.head_lr if rate is None else rate, "weight_decay": 0.0}]
    return _made([*groups(model, train), *more], train)


def direction(step: nn.Parameter, train: Train) -> torch.optim.Optimizer:
    """The optimiser of the recipe with rate 1 and no decay: from zero, it makes of `step` what a rate has to be multiplied with."""
    assert train.optimizer in PROPORTIONAL
    return _made([{"params": [step], "lr": 1.0, "weight_decay": 0.0}], train)


def _made(parts: list[dict[str, Any]], train: Train) -> torch.optim.Optimizer:
    kind = getattr(torch.optim, NAMES[train.optimizer])
    known = inspect.signature(kind).parameters
    options: dict[str, Any] = {"fused": True} if "fused" in known else {}
    if train.optimizer == "sgd":
        options["momentum"] = 0.9
    if train.optimizer in DECOUPLED:
        options |= {"decoupled_weight_decay": True} if "decoupled_weight_decay" in known else {}
    else:
        parts = [{"decay" if k == "weight_decay" else k: v for k, v in part.items()} for part in parts]
        options |= {"weight_decay": 0.0} if "weight_decay" in known else {}
    made = kind(parts, **options)
    for group in made.param_groups:
        group["peak"] = group["lr"]
    return made  # type: ignore[no-any-return]


@torch.no_grad()
def step(optimizer: torch.optim.Optimizer) -> None:
    """One step, after the decay of weights that the optimiser itself would mix with the gradient."""
    for group in optimizer.param_groups:
        if group.get("decay"):
            torch._foreach_mul_(group["params"], 1 - group["lr"] * group["decay"])
    optimizer.step()


def set_rate(optimizer: torch.optim.Optimizer, train: Train, progress: float, steps: int) -> None:
    """Sets every group's rate for `progress` in [0, 1] through a run of `steps`."""
    factor = rate(train, progress, steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def rate(train: Train, progress: float, steps: int) -> float:
    """Warm-up from zero, then the schedule down to zero (or constant). A warm-up shorter than a step would be a step lost: it is left out."""
    if progress < train.warmup and steps * train.warmup >= 1:
        return progress / train.warmup
    rest = min(1.0, max(0.0, (progress - train.warmup) / max(1e-9, 1 - train.warmup)))
    return {"cosine": (1 + math.cos(math.pi * rest)) / 2, "linear": 1 - rest, "constant": 1.0}[train.schedule]


def clip(weights: Iterable[nn.Parameter], largest: float) -> float:
    """Scales gradients so that their norm is at most `largest` (0: leaves them); returns the norm before."""
    return float(nn.utils.clip_grad_norm_([p for p in weights if p.grad is not None], largest or math.inf))
