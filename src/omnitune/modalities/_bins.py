"""Bins: a number as how far it has come through bins of equal count, and as its distance from the mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from omnitune.modalities import Facts

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

SAMPLE = 100_000
"""Training values that mean, deviation and bins are counted on: as many as there are, or so many drawn at random (always the same)."""
REACH = 8.0
"""Standard deviations beyond which one number is as far from the mean as another."""

Read = Callable[[Any], "float | None"]
"""A cell as a finite number; None where it has none."""


def count(values: Sequence[Any], read: Read, bins: int) -> Facts:
    """`mean`, `std` (1 where all numbers are equal) and `edges`, the borders of the bins (fewer than two where there is nothing to part)."""
    import numpy as np

    sample = _sample(values, read)
    if not len(sample):
        return {"mean": 0.0, "std": 1.0, "edges": []}
    mean, std = float(sample.mean()), float(sample.std())
    edges = np.unique(np.quantile(sample, np.linspace(0, 1, bins + 1), method="nearest"))
    return {"mean": mean, "std": std if std > 1e-12 * abs(mean) else 1.0, "edges": edges.tolist()}


def features(numbers: Sequence[float | None], facts: Facts) -> Tensor:
    """(B, `width`) float32: the distance from the mean, then the bins; those of the mean where there is no number."""
    import torch

    from omnitune.nn.tabular import piecewise_linear

    x_B = torch.tensor([facts["mean"] if x is None else x for x in numbers], dtype=torch.float64)
    z_B = ((x_B - facts["mean"]) / facts["std"]).clamp(-REACH, REACH)
    bins_BT = piecewise_linear(x_B, torch.tensor(facts["edges"], dtype=torch.float64))
    return torch.cat([z_B[:, None], bins_BT], 1).float()


def width(facts: Facts) -> int:
    """Features a number."""
    return 1 + max(0, len(facts["edges"]) - 1)


def _sample(values: Sequence[Any], read: Read) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The numbers among `values`, about `SAMPLE` of them where there are more."""
    import numpy as np

    kept = np.random.default_rng(0).random(len(values)) * len(values) < SAMPLE
    numbers = (read(value) for value, keep in zip(values, kept, strict=True) if keep)
    return np.fromiter((x for x in numbers if x is not None), np.float64)
