"""Features: everything that stays the same while heads learn, computed once for all epochs and trials, and held in memory."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omnitune.data.batches import Question
from omnitune.data.held import Memory
from omnitune.data.prepared import Prepared
from omnitune.nn.tokens import Batch, Tokens
from omnitune.training.device import autocast
from omnitune.training.model import Model

Pieces = dict[str, dict[str, list[Tensor]]]
READ = 1024
"""Rows a batch where nothing has to be computed."""


class Read:
    """A frozen backbone of which every row is held: one vector each, as `hidden` (B, 1, D)."""

    def tokens(self, inputs: dict[str, Tensor]) -> Tokens:
        """The tokens of these rows."""
        hidden = inputs["hidden"]
        return Tokens(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool, device=hidden.device), "first")

    def __call__(self, rows: np.ndarray[Any, Any], view: int | None = None) -> None:
        """Nothing but what batches hold already."""
        return

    def knows(self, rows: np.ndarray[Any, Any]) -> bool:
        """All of them."""
        return True

    def keep(self, rows: np.ndarray[Any, Any], inputs: Mapping[str, Tensor], tokens: Tokens, place: slice) -> None:
        """All is held already."""


def hold(model: Model, prepared: Prepared, parts: tuple[str, ...]) -> Memory:
    """What the rows of `parts` are asked, and what the frozen backbones of `model` say about them; `model` reads that from then on.

    Inputs that are augmented are left out, and inputs whose encoded rows differ in shape.

    Args:
        model: on its device; no weight of a backbone learns, and the fusion reads one vector of each (`pools`).
        prepared: the data.
        parts: no other rows are looked at.
    """
    rows = np.sort(np.concatenate([prepared.answered if part == "train" else prepared.parts[part] for part in parts]))
    steady = {name for name, modality in prepared.recipe.inputs.items() if not modality.augments}
    inputs, targets, order = _all(model, prepared, rows, steady)
    back = torch.from_numpy(np.argsort(order, kind="stable")).to(model.device)
    held = {name: found for name, tensors in inputs.items() if (found := _joined(tensors, back))}
    asked = {name: _joined(tensors, back) for name, tensors in targets.items()}
    model.known = {**model.known, **{name: Read() for name in model.pretrained if name in held}}
    return Memory(rows, held, {name: target for name, target in asked.items() if target})


@torch.no_grad()
def _all(model: Model, prepared: Prepared, rows: np.ndarray[Any, Any], steady: set[str]) -> tuple[Pieces, Pieces, np.ndarray[Any, Any]]:
    """All inputs and targets in pieces, and the row numbers as they come."""
    train = prepared.recipe.train
    frozen = [name for name in model.pretrained if name in steady]
    known = all(name in model.known and model.known[name].knows(rows) for name in frozen)
    inputs: Pieces = defaultdict(lambda: defaultdict(list))
    targets: Pieces = defaultdict(lambda: defaultdict(list))
    order = []
    model.eval()
    for question in prepared.batches("train", READ if known else int(train.micro_batch), rows=rows).epoch():
        order.append(question.rows)
        batch = _batch(question).to(model.device)
        with autocast(model.device, train.precision):
            made = {name: batch.inputs[name] for name in steady} | _vectors(model, frozen, batch)
        for pieces, found in ((inputs, made), (targets, {name: target for name, (_, target) in question.asked.items()})):
            for name, tensors in found.items():
                for key, tensor in tensors.items():
                    pieces[name][key].append(tensor.to(model.device))
    return inputs, targets, np.concatenate(order)


def _batch(question: Question) -> Batch:
    batch, *others = {id(batch): batch for batch, _ in question.asked.values()}.values()
    assert not others, "tasks that hide or add something ask about batches of their own"
    return batch


def _vectors(model: Model, names: list[str], batch: Batch) -> dict[str, dict[str, Tensor]]:
    read = model.read(names, batch)
    return {name: {"hidden": tokens.pooled()[:, None], "present": batch.inputs[name]["present"]} for name, tokens in read.items()}


def _joined(tensors: dict[str, list[Tensor]], back: Tensor) -> dict[str, Tensor]:
    """Each tensor whole, its rows in rising order; nothing where the pieces differ in shape."""
    if any(len({piece.shape[1:] for piece in pieces}) > 1 for pieces in tensors.values()):
        return {}
    return {name: torch.cat(pieces)[back] for name, pieces in tensors.items()}
