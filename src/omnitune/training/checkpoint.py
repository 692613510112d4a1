"""Checkpoint: the whole state of a run in one safetensors file, replaced in one step, so that a kill at any moment loses nothing."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from omnitune.data.cached import NO_ROOM
from omnitune.errors import Mistake

KEY = "omnitune"


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Writes both at `path`. Whoever reads it sees the old file or the new one, whole.

    Raises:
        Mistake: the disk is full; the old file is still there.
    """
    part = path.with_name(f"{path.name}.part")  # one name, so that what a kill leaves behind is written over by the next save
    try:
        with room(path):
            save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, str(part), {KEY: json.dumps(facts)})
            with part.open("rb+") as file:
                os.fsync(file.fileno())
            part.chmod(0o644)  # safetensors leaves files that only their owner can read
            os.replace(part, path)
            _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def room(place: Path) -> Iterator[None]:
    """For all that writes below `place`: a full disk, an exhausted quota or a limit on files is told as such.

    Raises:
        Mistake: there was no room.
    """
    try:
        yield
    except Exception as error:  # libraries in Rust raise classes of their own, whose text alone names the system's error
        found = re.search(r"os error (\d+)", str(error))
        if (getattr(error, "errno", None) or int(found[1] if found else 0)) in NO_ROOM:
            raise Mistake(str(place), "the disk is full", "Free some space and go on with --resume; the last checkpoint is whole") from None
        raise


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `save` wrote. Raises `Mistake` where the file is damaged."""
    try:
        with safe_open(path, "pt") as file:
            return {k: file.get_tensor(k) for k in file.keys()}, json.loads((file.metadata() or {})[KEY])  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError) as error:
        raise Mistake(str(path), f"damaged: {error}", "Start again without --resume, into another folder") from None


def pack_optimizer(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and plain values."""
    state = optimizer.state_dict()
    tensors = {f"optimizer.{i}.{k}": v for i, values in state["state"].items() for k, v in values.items() if isinstance(v, Tensor)}
    rest = {str(i): {k: v for k, v in values.items() if not isinstance(v, Tensor)} for i, values in state["state"].items()}
    return tensors, {"state": rest, "groups": state["param_groups"]}


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Puts back what `pack_optimizer` took."""
    state: dict[int, dict[str, Any]] = {int(i): dict(values) for i, values in facts["state"].items()}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, i, key = name.split(".", 2)
            state[int(i)][key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
