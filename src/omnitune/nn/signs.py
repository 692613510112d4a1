"""Signs: what each token of a checkpoint spells, in bytes, as llguidance wants to know it."""

import json
from collections.abc import Sequence
from typing import Any

from omnitune.errors import Mistake
from omnitune.nn import grammar

WORD, SPACE = "▁", b" "
PRINTED = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
"""Bytes that a byte-level vocabulary writes as themselves; it writes the others, in their order, as the letters from 256 on."""


class Signs:
    """The tokens of a tokenizer, in the form that llguidance takes of one.

    Args:
        tokenizer: of transformers.
        words: rows of the model's table.
        ends: tokens that end a text.

    Raises:
        Mistake: what its tokens spell depends on those beside them, as in a BERT.
    """

    def __init__(self, tokenizer: Any, words: int, ends: Sequence[int]) -> None:
        self.eos_token_id, self.bos_token_id = ends[0], None
        known = tokenizer.added_tokens_decoder
        special = {number for number, token in known.items() if token.special} | {*ends}
        read = _reader(tokenizer)
        names = tokenizer.convert_ids_to_tokens(range(min(words, len(tokenizer))))
        texts = [known[number].content.encode() if number in known else read(name) for number, name in enumerate(names)]
        self.tokens = [*texts, *[b""] * (words - len(texts))]
        self.special_token_ids = sorted(special)

    def __call__(self, text: bytes) -> list[int]:
        """Not known: llguidance then takes the longest token at each place."""
        raise TypeError("texts are not read")


def _reader(tokenizer: Any) -> Any:
    """What gives the bytes of a token by its name."""
    told = json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())["decoder"], ensure_ascii=False)
    if '"ByteLevel"' in told:
        numbers = {chr(byte): byte for byte in PRINTED} | {chr(256 + i): byte for i, byte in enumerate(sorted(set(range(256)) - set(PRINTED)))}
        return lambda name: bytes(numbers[sign] for sign in name)
    if WORD in told:
        return lambda name: (
            bytes([int(name[3:5], 16)]) if name.startswith("<0x") and name.endswith(">") else name.encode().replace(WORD.encode(), SPACE)
        )
    raise Mistake(
        "control", "what a token of this tokenizer spells depends on those beside it", "Take a checkpoint with a byte-level or a Unigram tokenizer"
    )


def signs(tokenizer: Any, words: int, ends: Sequence[int]) -> Any:
    """The tokenizer as llguidance's own. Raises as `Signs`."""
    library = grammar.library()
    return library.LLTokenizer(library.TokenizerWrapper(Signs(tokenizer, words, ends)), n_vocab=words, eos_token=list(ends))
