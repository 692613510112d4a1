"""Tokens numbered by frequency, as clusters of words want them (`nn.adaptive`).

Byte pair encoding numbers tokens as it learns them: all 256 bytes first, and pairs in the order in which they were frequent at that time, which
says little of tokens that later became parts of longer ones. A tokenizer merges by the order of its rules, not by numbers, so these are free.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from omnitune.backbones import _tokenizer, _vocabulary

PARTS = 16
"""Parts of texts, of 65,536 characters at most, that are tokenised at once."""


def by_frequency(learned: str, texts: Iterable[str]) -> str:
    """A tokenizer of `learn_marked` with its tokens numbered anew, the most frequent in `texts` first; of two as frequent, the older number.

    It parts every text as before. The token that begins and ends a text counts once a text, as it is asked for.
    """
    facts: dict[str, Any] = json.loads(learned)
    older: dict[str, int] = facts["model"]["vocab"]
    times = _counted(learned, texts)
    order = sorted(older, key=lambda token: (-times[older[token]], older[token]))
    newer = {token: number for number, token in enumerate(order)}
    facts["model"]["vocab"] = newer
    for token in facts["added_tokens"]:
        token["id"] = newer[token["content"]]
    for part in facts["post_processor"]["processors"]:
        for token, mark in part.get("special_tokens", {}).items():
            mark["ids"] = [newer[token]]
    return json.dumps(facts)


def _counted(learned: str, texts: Iterable[str]) -> Counter[int]:
    """How often each token stands in the texts, by number."""
    from tokenizers import Tokenizer

    made, found, count = Tokenizer.from_str(learned), Counter[int](), 0
    end = made.token_to_id(_vocabulary.SPECIAL["bpe"]["eos_token"])
    assert end is not None

    def counting() -> Iterable[str]:
        nonlocal count
        for text in texts:
            count += 1
            yield text

    parts = iter(_tokenizer.Reading(counting()))
    while some := list(islice(parts, PARTS)):
        for encoding in made.encode_batch_fast(some, add_special_tokens=False):
            found.update(encoding.ids)
    found[end] += count
    return found
