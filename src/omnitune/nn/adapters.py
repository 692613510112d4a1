"""Adapters inside a model, through `peft`: put in, read, write, fold into the weights."""

import copy
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake

NAME = "default"
PREFIX = "base_model.model."  # of every name in a PEFT file
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def inject(model: nn.Module, config: Any) -> None:
    """Puts the adapters that `config` (a `peft` configuration) describes into `model`; all else is frozen."""
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, model, adapter_name=NAME)


def only(config: Any, targets: Collection[str]) -> Any:
    """The configuration with these layers as its targets."""
    made = copy.copy(config)
    made.target_modules = set(targets)
    return made


def write(parts: Mapping[str, Any], folder: Path) -> None:
    """adapter_config.json and adapter_model.safetensors, as `peft.PeftModel.from_pretrained(base, folder)` reads them.

    Args:
        parts: models with adapters, by what their names begin with in the base: ended by a dot where that is more than nothing.
        folder: where to.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    configs = {inside: model.peft_config[NAME] for inside, model in parts.items()}
    targets = {inside + name for inside, config in configs.items() for name in config.target_modules}
    only(next(iter(configs.values())), targets).save_pretrained(str(folder))
    state = {
        inside + name: t
        for inside, model in parts.items()
        for name, t in get_peft_model_state_dict(model, adapter_name=NAME, save_embedding_layers=False).items()
    }
    path = folder / WEIGHTS
    path.unlink(missing_ok=True)  # never written into: other processes may have it mapped
    save_file({PREFIX + name: t.detach().contiguous() for name, t in state.items()}, path, {"format": "pt"})


def read(model: nn.Module, folder: Path, inside: str = "", but: str | None = None) -> bool:
    """Puts the adapter of `folder` into `model`, as far as it is this part's; whether anything was.

    Args:
        model: a part of what the adapter was made for.
        folder: where it lies.
        inside: what the names of `model` begin with there, ended by a dot, where that is more than nothing.
        but: what names of another part begin with.

    Raises:
        Mistake: the adapter is damaged or belongs to another model.
    """
    from peft import PeftConfig, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = folder / WEIGHTS
    try:
        config: Any = PeftConfig.from_pretrained(os.fspath(folder))
        whole = {name.removeprefix(PREFIX): t for name, t in load_file(path).items()}
        state = {name.removeprefix(inside): t for name, t in whole.items() if _own(name, inside, but)}
        if but and not state:
            return False
        config = only(config, {name.removeprefix(inside) for name in config.target_modules if not (but and name.startswith(but))})
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
    return True


def _own(name: str, inside: str, but: str | None) -> bool:
    """Whether a name begins with `inside`, and not with `but`."""
    return name.startswith(inside) and not (but and name.startswith(but))


def there(folder: Path) -> bool:
    """Whether an adapter lies in the folder."""
    return (folder / CONFIG).is_file()


def base(folder: Path, where: str) -> str:
    """The name of the checkpoint that the adapter in `folder` was made for. Raises `Mistake` where it does not tell."""
    try:
        name = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (OSError, ValueError, KeyError, TypeError):
        name = None
    if not isinstance(name, str) or not name:
        raise Mistake(where, f"holds an adapter without weights, and its {CONFIG} names no base_model_name_or_path", "Copy the folder again")
    return name


def fold(model: nn.Module, folder: Path) -> None:
    """Adds the adapter of `folder` to the weights of `model`, a part of the model that it was made for. Raises `Mistake` as `read`."""
    if read(model, folder, _inside(model, folder)):
        merge(model)


def fold_rest(model: nn.Module, folder: Path, but: str) -> None:
    """The same of all but the part whose names begin with `but`."""
    if read(model, folder, but=but):
        merge(model)


def _inside(model: nn.Module, folder: Path) -> str:
    """What names of the adapter begin with that those of `model` do not."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / WEIGHTS, "pt") as file:
            layers = [name.removeprefix(PREFIX).partition(".lora_")[0].split(".") for name in file.keys()]  # noqa: SIM118
    except (SafetensorError, OSError):
        return ""  # `read` says what is wrong
    own = {name for name, _ in model.named_modules()}
    starts = (".".join([*parts[:i], ""]) if i else "" for parts in _encoders_first(layers) for i in range(len(parts)) if ".".join(parts[i:]) in own)
    return next(starts, "")


def _encoders_first(layers: list[list[str]]) -> list[list[str]]:
    """Layers of a decoder last: they may be called as those of its encoder are."""
    return sorted(layers, key=lambda parts: "decoder" in parts)


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
