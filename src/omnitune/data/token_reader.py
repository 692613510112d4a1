"""TokenReader: a tokenizer that reads documents of any length, many at a time, and tells where in the text each token starts.

Long texts are read in parts that give the tokens of the whole, so that memory stays small and threads share the work.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np

from omnitune.errors import Mistake

Array = np.ndarray[Any, Any]
BATCH = 1 << 20
"""Characters read at once: what the library notes about tokens takes a hundred times as much memory as their numbers."""
PART = 1 << 16
"""Characters of a part, at least."""
AROUND = 256
"""Characters on either side of a cut whose tokens must be the same with it."""
TRIES = 32
"""Places that are tried; a tokenizer that joins words across all of them reads the rest whole."""
PLACE = re.compile(r"(?<=\S)[ \n](?=\S)")


class TokenReader:
    """Reads without special tokens: what spells one in a text (`<|endoftext|>`) is text.

    Args:
        tokenizer: a fast one of transformers; its threads (RAYON_NUM_THREADS) share the work.

    Attributes:
        dtype: uint16 where the vocabulary allows, else uint32.
        digest: of all that decides which tokens a text gives.

    Raises:
        Mistake: it is not a fast one.
    """

    def __init__(self, tokenizer: Any) -> None:
        import tokenizers

        if not tokenizer.is_fast:
            raise Mistake(f"tokenizer {tokenizer.name_or_path}", "is no fast tokenizer", "Take one with tokenizer.json")
        self.library = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self.library.no_padding()
        self.library.no_truncation()
        self.library.encode_special_tokens = True
        self.dtype = np.dtype("<u2" if max(self.library.get_vocab().values(), default=0) < 1 << 16 else "<u4")
        self.digest = hashlib.sha256(f"{tokenizers.__version__} {self.library.to_str()}".encode()).hexdigest()

    def read(self, texts: Sequence[str]) -> list[Array]:
        """Token numbers of each text."""
        parts = ((number, part) for number, text in enumerate(texts) for part in self._parts(text))
        found: list[list[Array]] = [[np.zeros(0, self.dtype)] for _ in texts]
        for batch in _batched(parts):
            read = self.library.encode_batch_fast([part for _, part in batch], add_special_tokens=False)
            for (number, _), made in zip(batch, read, strict=True):
                found[number].append(np.array(made.ids, self.dtype))
        return [np.concatenate(made) for made in found]

    def starts(self, text: str, ids: Array) -> Array:
        """UTF-8 bytes of `text` before each of its tokens, int64, never falling. A token inside a character starts where the character does,
        or, of byte-level tokenizers, at its own byte.

        Args:
            text: as it was read.
            ids: what `read` gave.
        """
        if self._widths is not None and int(self._widths[ids].sum()) == len(text.encode()):  # else a normalizer changed the text
            return np.cumsum(self._widths[ids]) - self._widths[ids]
        parts = list(self._parts(text))
        before = np.cumsum([0] + [len(part) for part in parts])
        made = self.library.encode_batch(parts, add_special_tokens=False)
        starts = [first + start for first, one in zip(before, made, strict=False) for start, _ in one.offsets]
        assert len(starts) == len(ids), "the text or the tokenizer is not that of these tokens"
        return np.maximum.accumulate(_bytes_before(text)[np.array(starts, np.int64)])

    def bytes_before(self, ids: Array, places: Array, size: int) -> Array | None:
        """UTF-8 bytes before the tokens at `places`, by the tokens of a byte-level tokenizer alone; None where those do not tell.

        Args:
            ids: of a document.
            places: rising, up to len(ids).
            size: bytes of the document.
        """
        if self._widths is None:
            return None
        found, total = np.zeros(len(places), np.int64), 0
        for start in range(0, len(ids), BATCH):
            ends = total + np.cumsum(self._widths[ids[start : start + BATCH]])
            here = slice(*np.searchsorted(places, [start + 1, start + len(ends) + 1]))
            found[here] = ends[places[here] - start - 1]
            total = int(ends[-1])
        return found if total == size else None  # else a normalizer changed the text

    @cached_property
    def _widths(self) -> Array | None:
        """Bytes of every token of a byte-level tokenizer; None for others."""
        from tokenizers import pre_tokenizers

        if "ByteLevel" not in str(self.library.decoder):
            return None
        letters = set(pre_tokenizers.ByteLevel.alphabet())
        vocabulary = self.library.get_vocab()
        widths = np.zeros(max(vocabulary.values()) + 1, np.int64)
        for token, number in vocabulary.items():
            widths[number] = len(token) if letters.issuperset(token) else len(token.encode())
        return widths

    def _parts(self, text: str) -> Iterator[str]:
        """Consecutive parts, cut before a space or line end between words.

        Tokenizers part a text into words and read each by itself, and what parts words looks a few characters ahead at most. So a cut that
        changes no token near it changes none.
        """
        start = 0
        while len(text) - start > PART:
            places = (found.start() for found in islice(PLACE.finditer(text, start + PART), TRIES))
            stop = next((place for place in places if _same(text, place, self._tokens)), None)
            if stop is None:
                break
            yield text[start:stop]
            start = stop
        yield text[start:]

    def _tokens(self, text: str) -> list[int]:
        return self.library.encode(text, add_special_tokens=False).ids


def _same(text: str, place: int, tokens: Callable[[str], list[int]]) -> bool:
    before, after = text[max(place - AROUND, 0) : place], text[place : place + AROUND]
    return tokens(before + after) == tokens(before) + tokens(after)


def _bytes_before(text: str) -> Array:
    """UTF-8 bytes before each character, and of the whole, (len(text) + 1,)."""
    points = np.frombuffer(text.encode("utf-32-le"), "<u4")
    widths = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    return np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)


def _batched(parts: Iterator[tuple[int, str]]) -> Iterator[list[tuple[int, str]]]:
    """About `BATCH` characters at a time."""
    held, size = list[tuple[int, str]](), 0
    for number, part in parts:
        held.append((number, part))
        size += len(part)
        if size >= BATCH:
            yield held
            held, size = [], 0
    if held:
        yield held
