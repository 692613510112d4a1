"""Tokenizers learned from texts, as Hugging Face reads and writes them. Families and special tokens: see `_vocabulary`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

from omnitune.backbones import _vocabulary
from omnitune.errors import Mistake, did_you_mean
from omnitune.nn.values import sound

Kind = Literal["bpe", "wordpiece", "unigram"]
PART = 1 << 16
"""Characters that are read at once; a longer text is parted at a space, for learning only."""


def learn_tokenizer(texts: Iterable[str], kind: Kind, size: int, lowercase: bool = False) -> str:
    """A tokenizer as the content of `tokenizer.json`.

    The same texts give the same bpe and wordpiece, in every run; unigram differs a little from run to run, so keep what was learned. Memory
    grows with the different words of the texts, not with the texts.

    Args:
        texts: read once.
        kind: of tokenizer.
        size: tokens of the vocabulary, special ones included; fewer where the texts do not hold as many.
        lowercase: whether capitals are read as small letters and accents are dropped (uncased BERT); not for bpe, which changes nothing.

    Raises:
        Mistake: there is no text, or the size has no room for the 256 bytes or the characters of the texts.
    """
    where = "tokenizer"
    if kind not in get_args(Kind):
        raise Mistake(where, f"there is no kind {kind!r}", did_you_mean(kind, get_args(Kind)))
    if kind == "bpe" and lowercase:
        raise Mistake(where, "bpe gives every text back as it was, capitals too", "Take wordpiece or unigram, or leave lowercase out")
    least = len(_vocabulary.SPECIAL[kind]) + (_vocabulary.BYTES if kind == "bpe" else 2)
    if size < least:
        raise Mistake(
            where, f"{size} tokens have no room for {'the 256 bytes' if kind == 'bpe' else 'a letter'} and special tokens", f"Give {least} or more"
        )
    reading = Reading(texts)
    try:
        made = {"bpe": _vocabulary.bpe, "wordpiece": _vocabulary.wordpiece, "unigram": _vocabulary.unigram}[kind](iter(reading), size, lowercase)
    except _vocabulary.Refused as error:
        if reading.found:
            raise Mistake(where, f"{size} tokens cannot be learned: {error}", "Give a larger size") from None
    if not reading.found:
        raise Mistake(where, "there is no text to learn from", "Give a column with texts")
    return made.to_str()


def learn_marked(texts: Iterable[str], size: int) -> str:
    """A byte-level tokenizer that marks where a text begins and where it ends by one token, as the content of `tokenizer.json`.

    Arguments as in `learn_tokenizer`.
    """
    learned = json.loads(learn_tokenizer(texts, "bpe", size))
    end = _vocabulary.SPECIAL["bpe"]["eos_token"]
    mark, text = {"SpecialToken": {"id": end, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    known = next(token["id"] for token in learned["added_tokens"] if token["content"] == end)
    marks = {
        "type": "TemplateProcessing", "single": [mark, text, mark], "pair": [mark, text, mark, {"Sequence": {"id": "B", "type_id": 0}}, mark],
        "special_tokens": {end: {"id": end, "ids": [known], "tokens": [end]}},
    }  # fmt: skip
    learned["post_processor"] = {"type": "Sequence", "processors": [learned["post_processor"], marks]}
    return json.dumps(learned)


def fast_tokenizer(text: str, limit: int) -> Any:
    """A `PreTrainedTokenizerFast` that `save_pretrained` writes and `AutoTokenizer` reads again as it was.

    Args:
        text: what `learn_tokenizer` gave.
        limit: tokens of the longest text its model takes.
    """
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    special = _vocabulary.SPECIAL[json.loads(text)["model"]["type"].lower()]
    if "pad_token" not in special:  # as GPT-2 is used: one token begins, ends and pads, which the attention mask tells apart
        special = dict.fromkeys(("bos_token", "eos_token", "pad_token"), special["eos_token"])
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(text), model_max_length=limit, padding_side="right", clean_up_tokenization_spaces=False, **special
    )


class Reading:
    """Texts in parts; `found` says whether one of them held anything."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts, self.found = texts, False

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            for part in _parts(sound(text)):
                self.found |= not part.isspace()
                yield part


def _parts(text: str) -> Iterator[str]:
    start = 0
    while len(text) - start > PART:
        space = text.rfind(" ", start + 1, start + PART)
        stop = space if space > 0 else start + PART
        yield text[start:stop]
        start = stop
    if start < len(text):
        yield text[start:]
