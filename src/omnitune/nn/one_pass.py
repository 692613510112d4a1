"""One pass: several encoded inputs that one backbone reads, laid under one another, so that it reads them all at once.

Shape letters: B rows of an input, L tokens of its longest row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.nn.tokens import Tokens

Inputs = Mapping[str, Tensor]
PADDED = {"input_ids": 0, "words": -1, "attention_mask": 0, "token_type_ids": 0, "hidden": 0, "mask": 0, "sound": 0}
"""What is as long as the longest row, and what stands behind shorter ones."""
MOST = 1.25
"""How much longer padded texts may become by lying under longer ones, in all, before a pass for each is quicker."""


def alike(inputs: Mapping[str, Inputs], readers: Mapping[str, str], padded: Any) -> list[list[str]]:
    """Inputs that can be read at once: by one reader, and made of the same tensors.

    Args:
        inputs: by name.
        readers: who reads each.
        padded: whether a reader multiplies the padding of texts.
    """
    groups: dict[tuple[str, frozenset[str]], list[str]] = {}
    for name, tensors in inputs.items():
        groups.setdefault((readers[name], frozenset(tensors)), []).append(name)
    made = []
    for (reader, _), names in groups.items():
        apart = len(names) > 1 and padded(reader) and _grows([inputs[name] for name in names])
        made += [[name] for name in names] if apart else [names]
    return made


def _grows(parts: Sequence[Inputs]) -> bool:
    shapes = [shape for part in parts if (shape := _of_texts(part))]
    apart = sum(rows * longest for rows, longest in shapes)
    return sum(rows for rows, _ in shapes) * max([0, *(longest for _, longest in shapes)]) > MOST * apart


def _of_texts(part: Inputs) -> tuple[int, int] | None:
    found = part.get("attention_mask", part.get("mask"))
    return None if found is None else (found.shape[0], found.shape[1])


def under(parts: Sequence[Inputs]) -> dict[str, Tensor]:
    """All rows of inputs made of the same tensors, those of the first on top."""
    return parts[0] if len(parts) == 1 else {name: _stacked(name, [part[name] for part in parts]) for name in parts[0]}  # type: ignore[return-value]


def _stacked(name: str, tensors: Sequence[Tensor]) -> Tensor:
    if name not in PADDED:
        return torch.cat(list(tensors))
    longest = max(tensor.shape[1] for tensor in tensors)
    behind = [(0, 0) * (tensor.ndim - 2) + (0, longest - tensor.shape[1]) for tensor in tensors]
    return torch.cat([nn.functional.pad(t, by, value=PADDED[name]) for t, by in zip(tensors, behind, strict=True)])


def places(parts: Iterable[Inputs]) -> list[slice]:
    """Where the rows of each input lie."""
    made, start = [], 0
    for part in parts:
        stop = start + len(part["present"])
        made.append(slice(start, stop))
        start = stop
    return made


def part(tokens: Tokens, place: slice, inputs: Inputs) -> Tokens:
    """The tokens of one input, as many as if it had been read alone."""
    x_BLD, mask_BL = tokens.x_BLD[place], tokens.mask_BL[place]
    text = _of_texts(inputs)
    longest = text[1] if text else max(1, int(mask_BL.sum(1).max())) if "length" in inputs and len(mask_BL) else x_BLD.shape[1]
    return replace(tokens, x_BLD=x_BLD[:, :longest], mask_BL=mask_BL[:, :longest])
