"""Reference: what the model before training says about rows, computed once before the first step and kept for later runs."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from omnitune.data.prepared import Prepared
from omnitune.data.store import Store
from omnitune.nn.tokens import Batch
from omnitune.settings import plain
from omnitune.training.device import autocast
from omnitune.training.model import Model

Array = np.ndarray[Any, Any]
VERSION = 1
"""Of what is stored; a change of it leaves older files unused."""
NAME = "reference"
"""Under which a target holds it."""


def referred(model: Model, prepared: Prepared) -> Prepared:
    """The same data with a `reference` for tasks that compare with the model before training, which is `model` as it stands."""
    given = {name: _computed(model, prepared, name) for name, task in prepared.recipe.tasks.items() if task.refers}
    return replace(prepared, given={name: {NAME: values} for name, values in given.items()}) if given else prepared


@torch.inference_mode()
def _computed(model: Model, prepared: Prepared, name: str) -> Array:
    """Two log-likelihoods a row of the table, float32; rows of no part have none."""
    head: Any = model.eval().head(name)
    recipe, device = prepared.recipe, model.device
    made = np.full((1 + max((int(rows.max(initial=-1)) for rows in prepared.parts.values()), default=-1), 2), np.nan, np.float32)
    store = prepared.room.open(_fingerprint(model, prepared, name), made.nbytes, {"holds": "reference likelihoods", "about": name})
    for rows in (rows for rows in prepared.parts.values() if len(rows)):
        for question in prepared.batches("train", int(recipe.train.micro_batch), rows=rows).epoch():
            batch, _ = question.asked[name]
            keys = _keys(batch, recipe.tasks[name].of)
            kept = store.read(keys) if isinstance(store, Store) else None
            if kept is None:
                with autocast(device, recipe.train.precision):
                    found = head.likelihoods(model(batch.to(device))).float().cpu().numpy()
                if isinstance(store, Store):
                    store.write(keys, list(found))
            made[question.rows] = found if kept is None else np.stack(kept)
    if isinstance(store, Store):
        store.close()
    return made


def _keys(batch: Batch, of: str) -> list[bytes]:
    """What decides the likelihoods of each row: its tokens, and which of them are asked for; padding is no part of it."""
    inputs, found = batch.inputs[of], []
    for i in range(batch.size):
        read = inputs["input_ids"][i][inputs["attention_mask"][i].bool()].tolist()
        told = [of[of >= 0].tolist() for of in (inputs["labels"][i] if "labels" in inputs else (inputs["text"][i], inputs["says"][i]))]
        found.append(hashlib.blake2b(json.dumps([read, told, bool(inputs["present"][i])]).encode(), digest_size=16).digest())
    return found


def _fingerprint(model: Model, prepared: Prepared, name: str) -> str:
    """SHA-256 of all else that decides them: weights, precision, versions."""
    encoder, train = model.backbones[prepared.recipe.tasks[name].of], prepared.recipe.train
    facts = {
        "version": VERSION,
        "torch": torch.__version__,
        "precision": train.precision,
        "flat": train.flat,
        "task": plain(prepared.recipe.tasks[name]),
    }
    total = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    own = encoder.lm_head.state() if encoder.lm_head else {}
    for key, tensor in [*sorted(encoder.model.state_dict().items()), *sorted(own.items())]:
        total.update(key.encode())
        total.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()[:32]
