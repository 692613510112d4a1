"""Space: the settings that a search tries, drawn at random around those of the recipe (Bergstra and Bengio 2012)."""

from typing import Any

import numpy as np

from omnitune.recipe import Recipe

REACH = 8.0
"""How many times higher or lower than the recipe's a learning rate may be; on a log scale every rate is as likely."""
DECAYS = (1e-3, 0.3)
DROPOUTS = (0.0, 0.1, 0.3, 0.5)
SHARES = (0.5, 1.0)
"""Of the recipe's epochs: never more, since they are the user's budget."""

Setting = dict[str, float]


def draw(recipe: Recipe, pretrained: bool, number: int, seed: int) -> Setting:
    """The settings of trial `number`; those of trial 0 are the recipe's own. They depend on no other trial, so more can be asked for later.

    Args:
        recipe: without `auto`.
        pretrained: whether weights of a backbone learn, so that `train.lr` counts.
        number: of the trial.
        seed: of the search.

    Returns:
        `head_lr` and, where it counts, `lr`: from an eighth to eight times the recipe's, log-uniform; `weight_decay`: 0.001 to 0.3,
        log-uniform; `dropout` of all heads: 0, 0.1, 0.3 or 0.5; `epochs`: the recipe's, or half of them.
    """
    train, rng = recipe.train, np.random.default_rng([seed, number])
    own = {"head_lr": train.head_lr, "lr": train.lr, "weight_decay": train.weight_decay, "dropout": _dropout(recipe), "epochs": train.epochs}
    if number:
        own |= {name: _log(rng, float(own[name]) / REACH, float(own[name]) * REACH) for name in ("head_lr", "lr")}  # type: ignore[arg-type]
        own |= {"weight_decay": _log(rng, *DECAYS), "dropout": float(rng.choice(DROPOUTS)), "epochs": float(train.epochs) * float(rng.choice(SHARES))}
    return {name: value for name, value in own.items() if isinstance(value, float) and (name != "lr" or pretrained)}


def apply(recipe: Recipe, setting: Setting) -> Recipe:
    """`recipe` with these settings."""
    changes = dict(setting)
    dropout = changes.pop("dropout", None)
    tasks: dict[str, Any] = recipe.tasks
    if dropout is not None:
        tasks = {name: task.replace(dropout=dropout) if hasattr(task, "dropout") else task for name, task in tasks.items()}
    return recipe.replace(train=recipe.train.replace(**changes), tasks=tasks)


def _dropout(recipe: Recipe) -> float | None:
    """The one of all heads; None where they differ, which leaves each its own in trial 0."""
    found = {getattr(task, "dropout", None) for task in recipe.tasks.values()}
    return found.pop() if len(found) == 1 else None


def _log(rng: np.random.Generator, low: float, high: float) -> float:
    """Log-uniform, to three digits, so that it can be read."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")
