"""Pretrained: any Hugging Face checkpoint of an encoder, a decoder, a vision or a convolutional model."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from omnitune.backbones import Architecture, Backbone, Facts, _location, _picture
from omnitune.component import component
from omnitune.errors import Mistake

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder
    from omnitune.nn.tokens import Pool

POOLING = Path("1_Pooling") / "config.json"
MODES: dict[str, Pool] = {"mean": "mean", "cls": "first", "lasttoken": "last"}  # words of sentence-transformers
OURS = ("gpt3", "transformer_xl")
"""Decoders of this library that transformers does not have."""
SHIFTED = ("roberta", "camembert", "mpnet", "longformer", "data2vec-text", "esm")  # positions start after that of the padding token


@component
class Pretrained(Backbone):
    """A checkpoint with its weights.

    Args:
        name: a directory in the Hugging Face layout (read without network), a name on the hub, or `sample:NAME`.
        revision: branch, tag or commit on the hub; its main branch where it is left out.
        pool: how one vector stands for a row. `auto` follows the checkpoint's own sentence-transformers settings; else decoders take
            the last token, vision models with a class token the first, all others the mean.
    """

    name: str = Field(min_length=1)
    revision: str | None = None
    pool: Literal["auto", "mean", "first", "last"] = "auto"

    @property
    def where(self) -> str:
        """Its place in messages."""
        return f"backbone {self.name}"

    @property
    def folder(self) -> Path:
        """Its files on this machine; fetched where it is a hub name."""
        return _location.locate(self.name, self.revision)

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """See `Backbone.encoder`. Raises `Mistake` where files are missing, damaged, pickles or in need of code of their own."""
        from omnitune.nn import checkpoints

        return self._encoder(checkpoints.read(self.folder, self.where), filled=True)

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """See `Backbone.skeleton`."""
        from omnitune.nn import checkpoints

        return self._encoder(checkpoints.skeleton(self.folder, self.where), filled=False)

    def _encoder(self, model: Any, filled: bool) -> Encoder:
        from omnitune.nn.encoder import Encoder

        model.config.name_or_path = "" if _location.is_directory(self.name) else self.name  # no path of this machine in what is saved
        return Encoder(model, self._pool(model) if self.pool == "auto" else self.pool, filled, self.folder)

    def _pool(self, model: Any) -> Pool:
        """As its family wants."""
        if (self.folder / POOLING).is_file():
            return _sentence_pool(self.folder / POOLING, self.where)
        if _causal(model.config):
            return "last"
        class_token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())
        return "first" if class_token else "mean"

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """Its tokenizer: pads on the right, has a padding token, and knows the longest text the model takes (`model_max_length`)."""
        return _tokenizer(self.folder, self.where)

    def picture(self) -> dict[str, Any]:
        """See `Backbone.picture`."""
        return _picture.facts(self.folder, _config(self.folder, self.where), self.where)

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        from omnitune.nn import checkpoints

        config = checkpoints.configuration(self.folder, self.where)
        attention, tied = getattr(config, "num_attention_heads", None) is not None, bool(getattr(config, "tie_word_embeddings", True))
        return Architecture(checkpoints.width(config), attention, _causal(config), tied, int(getattr(config, "type_vocab_size", None) or 0))

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", _picture.FILE, POOLING):
            if (self.folder / name).is_file():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.folder / name, folder / name)
        if any((self.folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")):
            self.tokenizer().save_pretrained(str(folder))
        elif not (folder / _picture.FILE).is_file():
            _picture.write(folder, self.picture())

    def check(self) -> str | None:
        """See `Backbone.check`."""
        return _location.problem(self.name)


def _causal(config: Any) -> bool:
    """Whether the family reads from left to right."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as SPEAK
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as FILL

    speaks = config.model_type in SPEAK or config.model_type in OURS
    return speaks and config.model_type not in FILL and not config.is_encoder_decoder


def _config(folder: Path, where: str) -> dict[str, Any]:
    from omnitune.nn import checkpoints

    return checkpoints.raw_config(folder, where)


def _sentence_pool(path: Path, where: str) -> Pool:
    """What 1_Pooling/config.json says, in its older form (a flag a mode) or its newer one (`pooling_mode`)."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        old = [key for key, on in values.items() if key.startswith("pooling_mode_") and on is True]
    except (ValueError, AttributeError) as error:
        raise Mistake(where, f"{POOLING} cannot be read: {error}", "Set pool: mean, first or last") from None
    words = [key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for key in old]
    mode = str(values["pooling_mode"]) if "pooling_mode" in values else "+".join(words)
    if mode not in MODES:
        raise Mistake(where, f"it pools by {mode!r}, which is not supported", "Set pool: mean, first or last")
    return MODES[mode]


@cache
def _tokenizer(folder: Path, where: str) -> Any:
    from transformers import AutoTokenizer

    config = _config(folder, where)
    try:
        made = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        line = str(error).strip().splitlines() or [type(error).__name__]
        raise Mistake(where, f"no tokenizer that can be read: {line[0]}", "A text input needs a checkpoint with tokenizer.json") from None
    made.padding_side = made.truncation_side = "right"
    if made.pad_token is None:
        made.pad_token = made.eos_token or made.unk_token
    longest = config.get("max_position_embeddings") or config.get("n_positions")
    if longest:
        shift = int(config.get("pad_token_id") or 0) + 1 if any(word in str(config.get("model_type")) for word in SHIFTED) else 0
        made.model_max_length = min(made.model_max_length, longest - shift)
    return made
