"""Checkpoints: folders in the Hugging Face layout, read into base models and written again. A folder never touches the network.

What a damaged file shows: a wrong header or length always (safetensors); a changed bit where the folder or the hub's cache carries a
SHA-256 (`SHA256SUMS`, `NAME.sha256`, the name of the cached blob); without one, only numbers that are not finite or beyond any training.
"""

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.errors import Mistake, did_you_mean

SUMS = "SHA256SUMS"
LARGEST = 1e10  # no trained weight comes near; a flipped exponent bit goes far beyond
AGAIN = "Fetch or copy it again"


def read(folder: Path, where: str) -> Any:
    """The base model of a checkpoint in float32 and evaluation mode: without heads, of CLIP the picture tower, of T5 the encoder.

    Raises:
        Mistake: the folder is no checkpoint, needs code of its own, is damaged, holds only pickles, or lacks weights of the model.
    """
    config = configuration(folder, where)
    for path in weight_files(folder, where):
        _check_file(path, where)
    made, options = _class(config)
    try:
        with _quiet():
            model, found = made.from_pretrained(
                folder, config=config, dtype=torch.float32, output_loading_info=True,
                local_files_only=True, trust_remote_code=False, use_safetensors=True, **options,
            )  # fmt: skip
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise Mistake(where, f"its weights do not fit its config.json: {_first_line(error)}", AGAIN) from None
    _nothing_made_up(found["missing_keys"], config, where)
    model = _encoder_of(model, config)
    _plausible(model, where)
    return model.eval()


def skeleton(folder: Path, where: str) -> Any:
    """The same model from config.json alone; its weights are whatever memory held."""
    from transformers.initialization import no_init_weights

    config = configuration(folder, where)
    made, options = _class(config)
    with no_init_weights():
        model = made._from_config(config, dtype=torch.float32, **options)
    return _encoder_of(model, config).eval()


def configuration(folder: Path, where: str) -> Any:
    """The configuration of the base model in `folder` (of its picture tower where it has one)."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, AutoConfig

    values = raw_config(folder, where)
    kind = values.get("model_type")
    if kind not in CONFIG_MAPPING:
        if "auto_map" in values:
            raise Mistake(where, f"model type {kind!r} needs code that comes with the checkpoint, which is never run", "Choose another checkpoint")
        raise Mistake(where, f"config.json names no known model type: {kind!r}", did_you_mean(kind, list(CONFIG_MAPPING)).partition("There")[0])
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StrictDataclassError) as error:
        raise Mistake(where, f"config.json is wrong: {_first_line(error)}", AGAIN) from None
    return getattr(config, "vision_config", None) or config


def raw_config(folder: Path, where: str) -> dict[str, Any]:
    """config.json as plain values."""
    path = folder / "config.json"
    if not path.is_file():
        raise Mistake(where, "no config.json there", "Give a folder in the Hugging Face layout")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise Mistake(where, f"config.json cannot be read: {error}", AGAIN) from None
    if not isinstance(values, dict):
        raise Mistake(where, "config.json is no mapping", AGAIN)
    return values


def weight_files(folder: Path, where: str) -> list[Path]:
    """The safetensors files that hold the weights.

    Raises:
        Mistake: there is none, or a part is missing.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            files = [folder / name for name in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise Mistake(where, f"{index.name} cannot be read: {_first_line(error)}", AGAIN) from None
    else:
        files = [folder / "model.safetensors"]
    missing = [path.name for path in files if not path.is_file()]
    if not missing:
        return files
    pickles = [path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt") for path in folder.glob(pattern)]
    if pickles and not index.is_file():
        fix = "Where you trust its source, convert it once: AutoModel.from_pretrained(folder).save_pretrained(folder)"
        raise Mistake(where, f"its weights are a pickle ({pickles[0]}), which can run any code and is never read", fix)
    raise Mistake(where, f"no {missing[0]} there", AGAIN)


def has_weights(folder: Path) -> bool:
    """Whether the folder is meant to hold a model's weights, whole or not."""
    return any((folder / name).exists() for name in ("model.safetensors", "model.safetensors.index.json"))


def write(model: Any, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    """config.json, and with a `state` the weights and their checksums, as `read` and transformers take them."""
    if state is None:
        model.config.save_pretrained(folder)
        return
    if model.config.is_encoder_decoder:
        from safetensors.torch import save_file

        model.config.save_pretrained(folder)
        whole = {f"encoder.{name}": t.detach().contiguous() for name, t in state.items()}
        save_file(whole, folder / "model.safetensors", {"format": "pt"})
    else:
        with _quiet():
            model.save_pretrained(folder, state_dict=dict(state))
    lines = [f"{_sha256(path)}  {path.name}\n" for path in weight_files(folder, str(folder))]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def same_shapes(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], where: str) -> None:
    """Raises `Mistake` where two states differ in a name or a shape."""
    for name in sorted(wanted.keys() | got.keys()):
        if name not in wanted or name not in got or wanted[name].shape != got[name].shape:
            raise Mistake(where, f"its weights belong to another model: they differ at {name}", AGAIN)


def width(config: Any) -> int:
    """D: `hidden_size`, or of convolutional networks the channels of the last map."""
    sizes = getattr(config, "hidden_sizes", None)
    found = getattr(config, "hidden_size", None) or (sizes[-1] if sizes else getattr(config, "hidden_dim", None))
    assert isinstance(found, int), f"no width in the configuration of {config.model_type}"
    return found


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether `function` has a parameter of that name."""
    return name in inspect.signature(function).parameters


def _class(config: Any) -> tuple[Any, dict[str, Any]]:
    """The base model's class, and what keeps it from making layers that only `pooler_output` reads."""
    from transformers import MODEL_MAPPING

    made: Any = MODEL_MAPPING[type(config)]
    made = made[0] if isinstance(made, tuple) else made
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False
    return made, {"add_pooling_layer": False} if accepts(made, "add_pooling_layer") else {}


def _encoder_of(model: Any, config: Any) -> Any:
    if not config.is_encoder_decoder:
        return model
    encoder = model.get_encoder()
    encoder.config = config  # T5 hands its encoder a copy that has forgotten what it is part of
    return encoder


def _nothing_made_up(missing: Any, config: Any, where: str) -> None:
    """Weights the checkpoint lacks would be random. Poolers and decoders may be: they are never read."""
    lacking = sorted(name for name in missing if "pooler." not in name)
    if config.is_encoder_decoder:
        lacking = [name for name in lacking if name.startswith(("encoder.", "shared."))]
    if lacking:
        raise Mistake(where, f"the checkpoint lacks {len(lacking)} weights of its model, {lacking[0]} first", AGAIN)


def _plausible(model: nn.Module, where: str) -> None:
    for name, weight in model.named_parameters():
        low, high = torch.aminmax(weight.detach())
        if not (low >= -LARGEST and high <= LARGEST):  # NaN fails every comparison
            raise Mistake(where, f"its weights are damaged: {name} holds {float(low)} to {float(high)}", AGAIN)


def _check_file(path: Path, where: str) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise Mistake(where, f"{path.name} is damaged or cut short: {_first_line(error)}", AGAIN) from None
    wanted = _known_sum(path)
    if wanted and _sha256(path) != wanted:
        raise Mistake(where, f"{path.name} is damaged: its SHA-256 is not the one noted when it was written", AGAIN)


def _known_sum(path: Path) -> str | None:
    """The SHA-256 that the folder, or the hub's cache, notes for `path`."""
    for note in (path.parent / SUMS, path.with_name(path.name + ".sha256")):
        if note.is_file():
            for line in note.read_text(encoding="utf-8").splitlines():
                digest, _, name = line.partition(" ")
                if name.strip().lstrip("*") == path.name:
                    return digest.lower()
    blob = path.resolve().name  # the hub's cache names large files by their SHA-256
    return blob if path.is_symlink() and re.fullmatch(r"[0-9a-f]{64}", blob) else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and its table of unused heads: what matters here is a Mistake."""
    from transformers.utils import logging as untyped

    logging: Any = untyped
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
