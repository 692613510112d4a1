"""Useful work: multiplications and additions that a job must do, and how many a second this machine can do.

Of the linear layers and the attention of a Transformer, for real tokens only: no padding, no recomputation, what is frozen below the cut once
per row. Two FLOPs a multiplication with its addition. The forward pass counts all blocks in full, also where the last one is shortened.
Norms, activations, softmax, optimisers and embeddings are left out, as is usual (Chowdhery et al. 2022, appendix B).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

SIZES = ((2048, 2048, 2048), (4096, 384, 1536), (4096, 1536, 384), (4096, 1024, 1024))
SECONDS = 0.25


@dataclass(frozen=True)
class Shape:
    """A Transformer.

    Args:
        blocks, width, inner: how many, D, and width of the perceptron.
        stem: FLOPs a row before the blocks (patches).
        norm_first: a norm stands before the attention of a block, and learns with it (ViT; BERT has it after).
        products: weights of a block's linear layers; 0 for those of a block without gates and with a key for each query.
    """

    blocks: int
    width: int
    inner: int
    stem: float = 0.0
    norm_first: bool = False
    products: int = 0

    @classmethod
    def of(cls, config: Any) -> "Shape":
        """From a configuration of transformers."""
        stem = 0.0
        if hasattr(config, "patch_size"):
            patches = (config.image_size // config.patch_size) ** 2
            stem = 2.0 * patches * config.num_channels * config.patch_size**2 * config.hidden_size
        if config.model_type == "llama":
            keys = 2 * config.hidden_size * config.num_key_value_heads * config.head_dim
            products = 2 * config.hidden_size**2 + keys + 3 * config.hidden_size * config.intermediate_size
            return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size, norm_first=True, products=products)
        return cls(config.num_hidden_layers, config.hidden_size, config.intermediate_size, stem, norm_first=stem > 0)

    def linear(self, n: int) -> float:
        """Of one block's linear layers, for n tokens."""
        return 2.0 * n * (self.products or 4 * self.width**2 + 2 * self.width * self.inner)

    def attention(self, n: int) -> float:
        """Scores and their products with the values, of one block, for a row of n tokens."""
        return 4.0 * n * n * self.width

    def forward(self, n: int, first: int = 0) -> float:
        """A row through the blocks from number `first` on, and through the stem where that is 0."""
        return (self.blocks - first) * (self.linear(n) + self.attention(n)) + (self.stem if first == 0 else 0.0)

    def learn(self, n: int, tuning: dict[str, Any]) -> float:
        """What learning adds to the forward pass of a row: adapters, gradients of activations and of weights."""
        kind = tuning["kind"]
        if kind == "probe":
            return 0.0
        above = self.still(tuning)
        blocks = self.blocks - above
        back = blocks * (self.linear(n) + 2 * self.attention(n))
        into = 6.0 * n * self.width**2  # gradients that would enter the frozen part below, by query, key and value
        if kind == "lora":
            thin = 2.0 * n * tuning["rank"]
            adapters = blocks * thin * (8 * self.width + 2 * (self.width + self.inner))
            return back - into + 3 * adapters - 3 * thin * self.width
        weights = blocks * self.linear(n) + (self.stem if kind == "full" else 0.0)
        return back + weights - (0.0 if kind == "full" or self.norm_first else into)

    def still(self, tuning: dict[str, Any]) -> int:
        """Blocks below the lowest that learns."""
        kind = tuning["kind"]
        if kind == "probe":
            return self.blocks
        return 0 if kind == "full" else self.blocks - (tuning.get("blocks") or self.blocks)


def training(shape: Shape, tuning: dict[str, Any], epochs: float, train: Sequence[int], test: Sequence[int], kept: bool = False) -> float:
    """FLOPs from the table to test answers; rows are given by their lengths. `kept`: what is frozen was computed by an earlier run."""
    still = shape.still(tuning)
    if still == 0:
        return epochs * sum(shape.forward(n) + shape.learn(n, tuning) for n in train) + sum(shape.forward(n) for n in test)
    below = 0.0 if kept else sum(shape.forward(n) - shape.forward(n, still) for n in (*train, *test))
    above = epochs * sum(shape.forward(n, still) + shape.learn(n, tuning) for n in train) + sum(shape.forward(n, still) for n in test)
    return below + above


def peak() -> float:
    """FLOPs a second of the fastest float32 matrix product, best of several shapes and repetitions, on the threads that torch has."""
    best = 0.0
    for rows, inner, columns in SIZES:
        a, b = torch.randn(rows, inner), torch.randn(inner, columns)
        a @ b
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            start = time.perf_counter()
            a @ b
            best = max(best, 2.0 * rows * inner * columns / (time.perf_counter() - start))
    return best
