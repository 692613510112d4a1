"""Pretrained: any Hugging Face checkpoint of an encoder, a decoder, a vision, a convolutional or a sound model."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from omnitune.backbones import Architecture, Backbone, Facts, _location, _picture, _sound, _speech
from omnitune.component import component
from omnitune.errors import Mistake

if TYPE_CHECKING:
    from omnitune.nn.encoder import Encoder
    from omnitune.nn.tokens import Pool

POOLING = Path("1_Pooling") / "config.json"
MODES: dict[str, Pool] = {"mean": "mean", "cls": "first", "lasttoken": "last"}  # words of sentence-transformers
PROCESSORS = (".json", ".txt", ".model")
"""How files end that tokenizers and what is expected of pictures are read from."""
SHIFTED = ("roberta", "camembert", "mpnet", "longformer", "data2vec-text", "esm")  # positions start after that of the padding token


@component
class Pretrained(Backbone):
    """A checkpoint with its weights; an adapter beside them is added to them.

    Args:
        name: a directory in the Hugging Face layout (read without network), a name on the hub, or `sample:NAME`.
        revision: branch, tag or commit on the hub; its main branch where it is left out.
        pool: how one vector stands for a row. `auto` follows the checkpoint's own sentence-transformers settings; else decoders take
            the last token, vision models with a class token the first, all others the mean.
        resize: where the tokenizer knows more tokens than the table of words has rows, rows are added, each the mean of the others (Hewitt 2021,
            https://www.cs.columbia.edu/~johnhew/vocab-expansion.html).
    """

    name: str = Field(min_length=1)
    revision: str | None = None
    pool: Literal["auto", "mean", "first", "last"] = "auto"
    resize: bool = False

    @property
    def where(self) -> str:
        """Its place in messages."""
        return f"backbone {self.name}"

    @property
    def folder(self) -> Path:
        """Its files on this machine; fetched where it is a hub name."""
        return _location.locate(self.name, self.revision)

    @property
    def _weights(self) -> Path:
        """Where its weights are; beside an adapter that came without them, those of the checkpoint that it was made for."""
        from omnitune.nn import adapters, weights

        folder = self.folder
        if weights.there(folder) or not adapters.there(folder):
            return folder
        return Pretrained(adapters.base(folder, self.where)).folder

    def encoder(self, facts: Facts | None = None) -> Encoder:
        """See `Backbone.encoder`. Raises `Mistake` where files are missing, damaged, pickles or in need of code of their own."""
        from omnitune.nn import adapters, checkpoints

        model = checkpoints.read(self._weights, self.where)
        if adapters.there(self.folder):
            adapters.fold(model, self.folder)
        return self._encoder(model, filled=True)

    def skeleton(self, facts: Facts | None = None) -> Encoder:
        """See `Backbone.skeleton`."""
        from omnitune.nn import checkpoints

        return self._encoder(checkpoints.skeleton(self.folder, self.where), filled=False)

    def _encoder(self, model: Any, filled: bool) -> Encoder:
        from omnitune.nn import adapters, checkpoints
        from omnitune.nn.encoder import Encoder

        added = checkpoints.widen(model, _known(self.tokenizer())) if self.resize else 0
        model.config.name_or_path = "" if _location.is_directory(self.name) else self.name  # no path of this machine in what is saved
        adapter = self.folder if filled and adapters.there(self.folder) else None
        return Encoder(model, self._pool(model) if self.pool == "auto" else self.pool, filled, self._weights, added, adapter)

    def _pool(self, model: Any) -> Pool:
        """As its family wants."""
        from omnitune.nn import checkpoints

        if (self.folder / POOLING).is_file():
            return _sentence_pool(self.folder / POOLING, self.where)
        if checkpoints.causal(model.config):
            return "last"
        class_token = any(name.endswith(("cls_token", "class_embedding")) for name, _ in model.named_parameters())
        return "first" if class_token else "mean"

    def tokenizer(self, facts: Facts | None = None) -> Any:
        """Its tokenizer: pads on the right, has a padding token, and knows the longest text the model takes (`model_max_length`).

        Raises:
            Mistake: there is none that can be read, or it knows words that the model does not, without `resize`.
        """
        made, rows = _tokenizer(self.folder, self.where, self.stamp()), _config(self.folder, self.where).get("vocab_size")
        if rows and _known(made) > rows and not self.resize:
            wrong = f"its tokenizer knows {_known(made):,} tokens, and its table of words has {rows:,} rows"
            raise Mistake(self.where, wrong, f"Write backbone: {{kind: pretrained, name: {self.name}, resize: true}}, which adds rows")
        return made

    def picture(self) -> dict[str, Any]:
        """See `Backbone.picture`."""
        return _picture.facts(self.folder, _config(self.folder, self.where), self.where)

    def sound(self) -> dict[str, Any]:
        """See `Backbone.sound`."""
        return _sound.facts(self.folder, _config(self.folder, self.where), self.where)

    def speech(self) -> dict[str, Any]:
        """See `Backbone.speech`."""
        from omnitune.nn import checkpoints, weights
        from omnitune.nn.ctc import TABLE

        config = _config(self.folder, self.where)
        decodes = checkpoints.conditional(checkpoints.configuration(self.folder, self.where)) is not None
        written = _speech.written(self.folder, config, self.where) if decodes and self.says() else None
        spelled = None if decodes else _speech.letters(self.folder, self.where)
        if spelled is not None and TABLE not in weights.names(weights.files(self._weights, self.where), self.where):
            spelled = None  # letters that no layer of the checkpoint says
        return {"written": written, "letters": spelled, "steps": _sound.steps(config)}

    def architecture(self) -> Architecture:
        """See `Backbone.architecture`."""
        from omnitune.nn import checkpoints

        config = checkpoints.configuration(self.folder, self.where)
        attention, tied = getattr(config, "num_attention_heads", None) is not None, bool(getattr(config, "tie_word_embeddings", True))
        types = int(getattr(config, "type_vocab_size", None) or 0)
        patch, remembers = getattr(config, "patch_size", None), getattr(config, "remembers", False)
        patch = patch if isinstance(patch, int) else None
        causal, decodes = checkpoints.causal(config), checkpoints.conditional(config) is not None
        start = getattr(config, "decoder_start_token_id", None) if decodes else None
        return Architecture(
            checkpoints.width(config), attention, causal, tied, types=types, patch=patch, remembers=remembers, decodes=decodes, start=start
        )

    def stamp(self) -> tuple[Any, ...]:
        """See `Backbone.stamp`: the folder, and the size and time of each file there that holds no weights."""
        return self.folder, *_location.stamps(self.folder, PROCESSORS)

    def says(self) -> bool:
        """See `Backbone.says`."""
        from omnitune.nn import checkpoints, weights
        from omnitune.nn.lm_head import LMHead

        config = checkpoints.configuration(self.folder, self.where)
        if checkpoints.conditional(config):
            return any("decoder" in name.split(".") for name in weights.names(weights.files(self._weights, self.where), self.where))
        head = LMHead.of(config)
        return head is not None and not head.lacking(weights.names(weights.files(self._weights, self.where), self.where))

    def save_processor(self, folder: Path, facts: Facts | None = None) -> None:
        """See `Backbone.save_processor`."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("config.json", _picture.FILE, POOLING):
            if (self.folder / name).is_file():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(self.folder / name, folder / name)
        if _sound.known(_config(self.folder, self.where).get("model_type")):  # its decoder and the words of it stay behind
            if not (folder / _picture.FILE).is_file():
                _sound.write(folder, self.sound())
        elif any((self.folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "vocab.json", "spiece.model")):
            self.tokenizer().save_pretrained(str(folder))
        elif not (folder / _picture.FILE).is_file():
            _picture.write(folder, self.picture())

    def save_words(self, folder: Path) -> None:
        """See `Backbone.save_words`."""
        if self.speech()["written"] is not None:
            self.tokenizer().save_pretrained(str(folder))
            shutil.copyfile(self.folder / _speech.GENERATION, folder / _speech.GENERATION)

    def check(self) -> str | None:
        """See `Backbone.check`."""
        return _location.problem(self.name)


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


def _known(tokenizer: Any) -> int:
    """Rows that a table needs for every token."""
    return 1 + int(max(tokenizer.get_vocab().values()))


@cache
def _tokenizer(folder: Path, where: str, stamp: tuple[Any, ...]) -> Any:
    """Read once, as long as the files stay as they are."""
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
