"""Described: items whose table says more of them than their ids, column by column, each by a kind of input."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from omnitune.modalities import Facts, Modality
from omnitune.nn import values as cells

if TYPE_CHECKING:
    from torch import Tensor

    from omnitune.nn.items import Description

CHUNK = 32
"""Cells that a pretrained model reads at once."""


def members(modality: Modality, cell: Any) -> list[Any]:
    """What a cell holds: its value, or the members of a list where a value is none itself; nothing where it is missing."""
    several = isinstance(cell, (list, tuple)) and not modality.lists
    return [one for one in (cell if several else [cell]) if one is not None and not cells.nan(one)]


def problem(modality: Modality, cell: Any) -> str | None:
    """What is wrong with a cell, in words for the user."""
    for one in members(modality, cell):
        if found := modality.check(one) or (None if isinstance(one, (bytes, list)) else cells.problem(one)):
            return found
    return None


def learn(modality: Modality, column: Sequence[Any], seen: int) -> Facts:
    """`facts`: what the kind learns from the first `seen` cells, those of items that training shows (all, where it shows none); `cells`, as JSON
    holds them."""
    known = column[: seen or len(column)]
    facts = modality.learn([one for cell in known for one in members(modality, cell)])
    return {"facts": facts, "cells": [[_written(one) for one in members(modality, cell)] for cell in column]}


def description(modality: Modality, learned: Facts, width: int) -> Description:
    """The module of one column: what is pretrained is read once and kept, all else learns."""
    from omnitune.nn.items import Description, Kept, Learned

    every = [_read(modality, one) for cell in learned["cells"] for one in cell]
    backbone = getattr(modality, "backbone", None)
    architecture = backbone.architecture() if backbone is not None else None
    if architecture is not None and architecture.pretrained:
        read, inner = Kept(lambda: _vectors(modality, every, learned["facts"]), len(every), architecture.width), architecture.width
        return Description(read, [len(cell) for cell in learned["cells"]], inner, width)
    encoder = modality.encoder(learned["facts"])
    encoded = modality.encode(every, learned["facts"])
    inner = int(encoder.width)  # type: ignore[arg-type]
    return Description(Learned(encoder, encoded), [len(cell) for cell in learned["cells"]], inner, width)


def _vectors(modality: Modality, every: list[Any], facts: Mapping[str, Any]) -> Tensor:
    """Pooled tokens of all members by the encoder as it was pretrained, (M, F)."""
    import torch

    encoder = modality.encoder(dict(facts)).eval()
    parts = [encoder(modality.encode(every[start : start + CHUNK], dict(facts))).pooled().float() for start in range(0, len(every), CHUNK)]
    return torch.cat(parts)


def _written(value: Any) -> Any:
    """Bytes of files in base64, so that a saved model needs no table; lists as they are."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    return list(value) if isinstance(value, (list, tuple)) else cells.scalar(value)


def _read(modality: Modality, value: Any) -> Any:
    return b64decode(value) if modality.media else value
