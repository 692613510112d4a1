"""Checkpoints: folders in the Hugging Face layout, read into base models and written again. A folder never touches the network."""

import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from omnitune.checksums import AGAIN
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn import weights

OURS = {
    "gpt3": "omnitune.nn.gpt",
    "transformer_xl": "omnitune.nn.transformer_xl",
    "vit_pooled": "omnitune.nn.vit",
    "spectrogram": "omnitune.nn.spectrogram",
}
"""Model types of this library, and where they are."""
READ_AS = {"vit_mae": "vit"}
"""The ViTMAE of transformers hides patches at random whenever it is run. What it trained is a ViT, with the same names of weights."""
LARGEST = 1e10  # no trained weight comes near; a flipped exponent bit goes far beyond


def read(folder: Path, where: str) -> Any:
    """The base model of a checkpoint in float32 and evaluation mode: without heads, of CLIP the picture tower, of T5 the encoder.

    Raises:
        Mistake: the folder is no checkpoint, needs code of its own, is damaged, holds only pickles, or lacks weights of the model.
    """
    config = configuration(folder, where)
    made, options = _class(config)
    model, missing = _loaded(made, config, folder, where, **options)
    _nothing_made_up(missing, config, where)
    model = _encoder_of(model)
    _plausible(model, where)
    return model.eval()


def read_whole(folder: Path, where: str) -> Any:
    """The encoder-decoder of a checkpoint with the layers that say words, in float32 and evaluation mode.

    Raises:
        Mistake: the checkpoint lacks some of it, or is damaged.
    """
    config = configuration(folder, where)
    model, missing = _loaded(conditional(config), config, folder, where)
    if missing:
        raise Mistake(where, f"the checkpoint holds no {min(missing)}, with which it writes", "Choose one that was saved with its decoder")
    _plausible(model, where)
    return model.eval()


def _loaded(made: Any, config: Any, folder: Path, where: str, **options: Any) -> tuple[Any, set[str]]:
    """A model of class `made` with the weights of a checkpoint, and the names of those that it lacks."""
    state = weights.read(weights.files(folder, where), where)
    try:
        with quiet():  # by state, since with a folder transformers would follow an adapter_config.json to other files
            model, found = made.from_pretrained(None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True, **options)
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError, AttributeError) as error:
        raise Mistake(where, f"its weights do not fit its config.json: {weights.first_line(error)}", AGAIN) from None
    return model, set(found["missing_keys"])


def skeleton(folder: Path, where: str) -> Any:
    """The same model from config.json alone; its weights are whatever memory held."""
    from transformers.initialization import no_init_weights

    config = configuration(folder, where)
    made, options = _class(config)
    with no_init_weights():
        model = made._from_config(config, dtype=torch.float32, **options)
    return _encoder_of(model).eval()


def configuration(folder: Path, where: str) -> Any:
    """The configuration of the base model in `folder` (of its picture tower where it has one)."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING, AutoConfig

    values = raw_config(folder, where)
    kind = values.get("model_type")
    if kind in OURS:
        importlib.import_module(OURS[kind])  # which registers it
    if kind not in CONFIG_MAPPING:
        if "auto_map" in values:
            raise Mistake(where, f"model type {kind!r} needs code that comes with the checkpoint, which is never run", "Choose another checkpoint")
        raise Mistake(where, f"config.json names no known model type: {kind!r}", did_you_mean(kind, list(CONFIG_MAPPING)).partition("There")[0])
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, StrictDataclassError) as error:
        raise Mistake(where, f"config.json is wrong: {weights.first_line(error)}", AGAIN) from None
    return getattr(config, "vision_config", None) or _read_as(config)


def _read_as(config: Any) -> Any:
    from transformers import CONFIG_MAPPING

    if config.model_type not in READ_AS:
        return config
    made = CONFIG_MAPPING[READ_AS[config.model_type]]
    return made(
        **{name: value for name, value in config.to_dict().items() if name in made().to_dict() and name not in ("model_type", "architectures")}
    )


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


def write(model: Any, folder: Path, state: Mapping[str, Tensor] | None) -> None:
    """config.json, and with a `state` the weights and their checksums, as `read` and transformers take them."""
    if state is None:
        model.config.save_pretrained(folder)
        return
    for old in folder.glob("model*.safetensors"):
        old.unlink()  # never written into: other processes may have it mapped
    if model.config.is_encoder_decoder and not model.can_generate():  # its encoder alone
        from safetensors.torch import save_file

        model.config.save_pretrained(folder)
        whole = {f"encoder.{name}": t.detach().contiguous() for name, t in state.items()}
        save_file(whole, folder / "model.safetensors", {"format": "pt"})
    else:
        with quiet():
            model.save_pretrained(folder, state_dict=dict(state))
    weights.note_sums(folder)


def same_shapes(wanted: Mapping[str, Tensor], got: Mapping[str, Tensor], where: str) -> None:
    """Raises `Mistake` where two states differ in a name or a shape."""
    for name in sorted(wanted.keys() | got.keys()):
        if name not in wanted or name not in got or wanted[name].shape != got[name].shape:
            raise Mistake(where, f"its weights belong to another model: they differ at {name}", AGAIN)


@torch.no_grad()
def widen(model: Any, words: int) -> int:
    """Gives the table of `words` rows where it has fewer; how many came in. Raises `Mistake` where words lie in clusters and there are more."""
    if getattr(model.config, "cutoffs", None):
        if words > model.config.vocab_size:
            raise Mistake("resize", "words in clusters are numbered by frequency, which leaves no place for more", "Take the tokenizer as it was")
        return 0
    old = model.get_input_embeddings().weight.clone()  # transformers changes it in place
    if (added := words - len(old)) <= 0:
        return 0
    with quiet():
        model.resize_token_embeddings(words, mean_resizing=False).weight.copy_(widened(old, added))
    return added


def widened(weight: Tensor, rows: int) -> Tensor:
    """With as many rows more, each the mean of those that are there."""
    return torch.cat([weight, weight.mean(0, keepdim=True).expand(rows, *weight.shape[1:])])


def recompute(model: Any) -> None:
    """From now on `model` computes the activations inside its blocks again in the backward pass."""
    newer = getattr(model, "activation_checkpointing_enable", None)  # the older name warns where there is this one
    (newer or model.gradient_checkpointing_enable)({"use_reentrant": False})


def width(config: Any) -> int:
    """D: `hidden_size`, or of convolutional networks the channels of the last map."""
    sizes = getattr(config, "hidden_sizes", None)
    found = getattr(config, "hidden_size", None) or (sizes[-1] if sizes else getattr(config, "hidden_dim", None))
    if not isinstance(found, int):
        raise Mistake(
            f"backbone {config.name_or_path}".rstrip(), f"the configuration of {config.model_type} tells no width", "Choose another checkpoint"
        )
    return found


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Whether `function` has a parameter of that name."""
    return name in inspect.signature(function).parameters


def causal(config: Any) -> bool:
    """Whether the family reads from left to right."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as SPEAK
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as FILL

    speaks = config.model_type in SPEAK or (config.model_type in OURS and hasattr(config, "vocab_size"))
    return speaks and config.model_type not in FILL and not config.is_encoder_decoder


def language_model(config: Any) -> Any:
    """transformers' class that says the next word; None where it has none."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING

    if config.model_type in OURS or not causal(config):
        return None
    made: Any = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    return made[0] if isinstance(made, tuple) else made


def conditional(config: Any) -> Any:
    """transformers' class that writes a text from another (T5, BART) or from a sound (Whisper); None where it has none."""
    from transformers import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING

    if not config.is_encoder_decoder:
        return None
    made: Any = next(
        (m[type(config)] for m in (MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING, MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING) if type(config) in m), None
    )
    return made[0] if isinstance(made, tuple) else made


def _class(config: Any) -> tuple[Any, dict[str, Any]]:
    """The base model's class, and what keeps it from making layers that only `pooler_output` reads."""
    from transformers import MODEL_MAPPING

    made: Any = MODEL_MAPPING[type(config)]
    made = made[0] if isinstance(made, tuple) else made
    if hasattr(config, "vision_use_head"):
        config.vision_use_head = False
    return made, {"add_pooling_layer": False} if accepts(made, "add_pooling_layer") else {}


def _encoder_of(model: Any) -> Any:
    if not model.config.is_encoder_decoder:
        return model
    encoder = model.get_encoder()
    encoder.config = model.config  # T5 hands its encoder a copy that has forgotten what it is part of
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


@contextmanager
def quiet() -> Iterator[None]:
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
