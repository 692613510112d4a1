"""Disturb: sounds made a little different in training. Every draw comes from the generator that is given.

Shape letters: S samples, T frames, M bands.
"""

import numpy as np
import torch
from torch import Tensor

Generator = np.random.Generator


def noise(x_S: Tensor, least: float, rng: Generator) -> Tensor:
    """White noise added, its level below that of the clip drawn evenly from `least` to `least` + 20 dB. Silence stays."""
    level = float(x_S.square().mean().sqrt()) * 10 ** (-rng.uniform(least, least + 20) / 20)
    return x_S + level * torch.from_numpy(rng.standard_normal(len(x_S), dtype=np.float32))


def shift(x_T: Tensor, most: int, fill: float, rng: Generator) -> Tensor:
    """Moved in time by up to `most` frames or samples, earlier or later; `fill` comes in, as much falls out."""
    by = int(rng.integers(-most, most + 1))
    by = max(1 - len(x_T), min(len(x_T) - 1, by))
    moved = torch.full_like(x_T, fill)
    moved[max(0, by) : len(x_T) + min(0, by)] = x_T[max(0, -by) : len(x_T) - max(0, by)]
    return moved


def mask_times(x_T: Tensor, masks: int, most: int, share: float, fill: float, rng: Generator) -> Tensor:
    """`masks` stretches set to `fill`, each of up to `most` frames or samples and up to a `share` of the clip (Park et al. 2019,
    https://arxiv.org/abs/1904.08779, section 2: T and p)."""
    x_T = x_T.clone()
    for _ in range(masks):
        wide = int(rng.integers(min(most, int(share * len(x_T))) + 1))
        start = int(rng.integers(len(x_T) - wide + 1))
        x_T[start : start + wide] = fill
    return x_T


def mask_bands(x_TM: Tensor, masks: int, most: int, fill: float, rng: Generator) -> Tensor:
    """`masks` stretches of the bands set to `fill`, each up to `most` wide (Park et al. 2019: F)."""
    return mask_times(x_TM.T, masks, most, 1.0, fill, rng).T


def mask_frequencies(x_S: Tensor, masks: int, share: float, rng: Generator) -> Tensor:
    """The same for a wave: stretches of its spectrum, up to a `share` of it wide, taken out."""
    left: Tensor = torch.fft.irfft(mask_times(torch.fft.rfft(x_S), masks, len(x_S), share, 0.0, rng), len(x_S))
    return left
