"""What the reports of the history do not hold: how much a run read, and what its memory is worth by length."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from omnitune import Artifact
from omnitune.data.pieced import Pieced
from omnitune.data.prepared import Prepared, prepare
from omnitune.evaluation.answers import answer

MEMORIES = (0, 64, 128, 256, 512)
"""Tokens before its segment that a Transformer-XL is told of where it is measured."""
LONGEST = 12
"""Held-out documents on which memories are compared: short ones fit into one or two segments."""


def measure(made: Artifact, path: Path) -> dict[str, Any]:
    """What stands in `path`, or is measured and written there: `bytes` that training read, `documents` and their `tokens` that memories are compared
    on, and bits per byte by `memory`; none of a model that has no memory."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    prepared = prepare(made.recipe)
    found: dict[str, Any] = {"bytes": read_bytes(prepared) * round(float(made.recipe.train.epochs))}
    if made.model.backbones["text"].remembers:
        found |= by_memory(made, prepared)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found), encoding="utf-8")
    part.replace(path)
    return found


def read_bytes(prepared: Prepared) -> int:
    """UTF-8 bytes of the training documents, each of whose pieces is read."""
    return sum(len(text.encode()) for text in prepared.raw("text", prepared.once(prepared.parts["train"]))[:])


def by_memory(made: Artifact, prepared: Prepared) -> dict[str, Any]:
    """Bits per byte on the longest held-out documents, by memory; it tells no token from one before the memory, and asks for all of them."""
    rows, tokens = longest(prepared)
    config, train = made.model.backbones["text"].model.config, made.recipe.train
    own, found = config.eval_memory, {}
    try:
        for memory in MEMORIES:
            config.eval_memory = memory
            said = answer(made.model, prepared.batches("test", int(train.micro_batch), rows=rows), train.precision)["language"]
            found[memory] = float(said.p[:, 0].sum() / said.y[:, 1].sum() / math.log(2))
    finally:
        config.eval_memory = own
    return {"documents": len(np.unique(prepared.table.origin(rows))), "tokens": tokens, "memory": found}


def longest(prepared: Prepared) -> tuple[np.ndarray[Any, Any], int]:
    """The pieces of the longest held-out documents, and how many tokens the shortest of these has."""
    assert isinstance(prepared.table, Pieced)
    rows = prepared.parts["test"]
    _, which = np.unique(prepared.table.origin(rows), return_inverse=True)
    tokens = np.bincount(which, prepared.table.pieces.sizes[rows])
    chosen = np.argsort(-tokens, kind="stable")[:LONGEST]
    return rows[np.isin(which, chosen)], int(tokens[chosen].min())
