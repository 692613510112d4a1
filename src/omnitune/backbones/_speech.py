"""What a checkpoint of sound writes what is said with, from its JSON files: words of a decoder (Whisper), or letters of CTC (wav2vec 2.0)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from omnitune.errors import Mistake

if TYPE_CHECKING:
    from pathlib import Path

GENERATION = "generation_config.json"
VOCABULARY = "vocab.json"
SETTINGS = "tokenizer_config.json"


def written(folder: Path, config: dict[str, Any], where: str) -> dict[str, Any]:
    """Of a decoder: the token that it begins with (`start`) and ends with (`end`), what stands behind an end (`padding`), the token that asks for
    no times (`untimed`), the first of those that tell times (`first_time`), tokens of `languages` by code and the one that asks to `transcribe`,
    where there are several languages; tokens that it never writes (`never`) and never first (`not_first`); and the `most` tokens it writes. Where its
    files do not tell how a text begins, what is `wrong` alone.
    """
    told = _json(folder / GENERATION, where)
    start = told.get("decoder_start_token_id", config.get("decoder_start_token_id"))
    end, untimed = told.get("eos_token_id", config.get("eos_token_id")), told.get("no_timestamps_token_id")
    if start is None or end is None or untimed is None:
        return {"wrong": f"{GENERATION} names no decoder_start_token_id, eos_token_id or no_timestamps_token_id, by which a transcript is written"}
    several = bool(told.get("is_multilingual", bool(told.get("lang_to_id"))))
    return {
        "start": int(start), "end": int(end[0] if isinstance(end, list) else end), "padding": int(told.get("pad_token_id") or config["pad_token_id"]),
        "untimed": int(untimed), "first_time": int(untimed) + 1,
        "languages": {name.strip("<|>"): int(number) for name, number in (told.get("lang_to_id") or {}).items()} if several else {},
        "transcribe": int(told["task_to_id"]["transcribe"]) if several else None,
        "never": list(told.get("suppress_tokens") or ()), "not_first": list(told.get("begin_suppress_tokens") or ()),
        "most": int(config.get("max_target_positions", 448)),
    }  # fmt: skip


def letters(folder: Path, where: str) -> dict[str, Any] | None:
    """Of a checkpoint of CTC: its `letters` in the order of their numbers, the number of the `blank`, the one that stands for a space, and the one
    for what is unknown (None for none); None where it has no vocabulary."""
    if not (folder / VOCABULARY).is_file():
        return None
    numbers, told = _json(folder / VOCABULARY, where), _json(folder / SETTINGS, where)
    blank, space, unknown = (_name(told.get(f"{name}_token"), usual) for name, usual in (("pad", "<pad>"), ("word_delimiter", "|"), ("unk", "<unk>")))
    if sorted(numbers.values()) != list(range(len(numbers))) or blank not in numbers:
        raise Mistake(where, f"{VOCABULARY} does not number its letters from 0 on, or lacks {blank!r}, the blank of CTC", "Choose another checkpoint")
    order = sorted(numbers, key=numbers.__getitem__)
    return {"letters": order, "blank": numbers[blank], "space": numbers.get(space), "unknown": numbers.get(unknown)}


def _name(token: Any, usual: str) -> str:
    return str(token["content"]) if isinstance(token, dict) else usual if token is None else str(token)


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except (ValueError, OSError) as error:
        raise Mistake(where, f"{path.name} cannot be read: {error}", "Copy the folder again") from None
    if not isinstance(values, dict):
        raise Mistake(where, f"{path.name} is no mapping", "Copy the folder again")
    return values
