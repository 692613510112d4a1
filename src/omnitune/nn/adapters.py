"""Adapters inside a model, through `peft`: put in, read, write, fold into the weights."""

import copy
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake

NAME = "default"
PREFIX = "base_model.model."  # of every name in a PEFT file


def inject(model: nn.Module, config: Any) -> None:
    """Puts the adapters that `config` (a `peft` configuration) describes into `model`; all else is frozen."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, model, adapter_name=NAME)


def write(model: Any, folder: Path, inside: str = "") -> None:
    """adapter_config.json and adapter_model.safetensors, as `peft.PeftModel.from_pretrained(base, folder)` reads them.

    Args:
        model: with adapters.
        folder: where to.
        inside: what the names of `model` begin with in the base, ended by a dot, where that is more.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = copy.copy(model.peft_config[NAME])
    config.target_modules = {inside + name for name in config.target_modules}
    config.save_pretrained(str(folder))
    state = get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False)
    path = folder / "adapter_model.safetensors"
    path.unlink(missing_ok=True)  # never written into: other processes may have it mapped
    save_file({PREFIX + inside + name: t.detach().contiguous() for name, t in state.items()}, path, {"format": "pt"})


def read(model: nn.Module, folder: Path, inside: str = "") -> None:
    """Puts the adapter of `folder` into `model`; `inside` as in `write`.

    Raises:
        Mistake: the adapter is damaged or belongs to another model.
    """
    from peft import PeftConfig, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / "adapter_model.safetensors"
    try:
        config: Any = PeftConfig.from_pretrained(os.fspath(folder))
        config.target_modules = {name.removeprefix(inside) for name in config.target_modules}
        state = {name.removeprefix(PREFIX + inside): t for name, t in load_file(path).items()}
        config.inference_mode = False
        inject(model, config)
        found: Any = set_peft_model_state_dict(model, state, adapter_name=NAME)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, RuntimeError) as error:
        raise Mistake(str(path), f"no adapter for this model: {str(error).splitlines()[0]}", "Copy the folder again") from None
    lacking = [name for name in found.missing_keys if f".{NAME}." in name]
    if lacking or found.unexpected_keys:
        raise Mistake(str(path), f"weights do not fit this model: {(lacking or found.unexpected_keys)[0]}", "Copy the folder again")
    if any(not t.isfinite().all() for t in state.values()):
        raise Mistake(str(path), "damaged: weights that are not finite", "Copy the folder again")


def without(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a model as it was before adapters came in."""
    return {name.replace(".base_layer.", "."): t for name, t in state.items() if f".{NAME}." not in name}


@torch.no_grad()
def merge(model: Any) -> None:
    """Adds every adapter to the weight it stands beside, and takes it out."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)]:
        layer.merge()
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    del model.peft_config
