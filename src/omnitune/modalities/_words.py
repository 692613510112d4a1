"""From texts to token numbers, of long texts no more than is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omnitune.errors import Mistake
from omnitune.nn.values import sound

CHARACTERS = 16
"""A text of up to so many characters a token is read whole: more than nearly all words need."""
MARGIN = 512
"""Characters at the end of a cut text whose tokens are not trusted: what follows might have joined them."""
STOPS = frozenset(".!?。！？…")
SPACES = "ĠĊ▁"
"""What stands for spaces and new lines in the tokens of byte-level BPE and SentencePiece."""


@dataclass(frozen=True)
class Row:
    """Token numbers of one text.

    Args:
        ids: the numbers, at least one.
        words: of each, the number of its word in the text; -1 of those that the checkpoint added.
        cut: whether the text was longer.
        bytes: of UTF-8, that its tokens stand for, a first one that the checkpoint did not add left out.
    """

    ids: list[int]
    words: list[int]
    cut: bool
    bytes: int

    def part(self, places: Sequence[int]) -> Row:
        """The tokens at these places alone."""
        return replace(self, ids=[self.ids[i] for i in places], words=[self.words[i] for i in places])


class Words:
    """A tokenizer that cuts at a limit. It is never changed after, so several threads may read with it.

    Args:
        tokenizer: of a checkpoint.
        max_tokens: to keep of a text, special ones included; the checkpoint's own limit where that is lower.

    Raises:
        Mistake: the checkpoint has no fast tokenizer.
    """

    def __init__(self, tokenizer: Any, max_tokens: int) -> None:
        if not tokenizer.is_fast:
            raise Mistake(f"backbone {tokenizer.name_or_path}", "no fast tokenizer", "A text input needs a checkpoint with tokenizer.json")
        from tokenizers import Tokenizer

        self.limit = min(max_tokens, int(tokenizer.model_max_length))
        self.whole, self.cutting = (Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()) for _ in range(2))
        for made in (self.whole, self.cutting):
            made.no_padding()
            made.no_truncation()
        self.cutting.enable_truncation(self.limit)
        self.mask = tokenizer.mask_token_id
        self.padding = tokenizer.pad_token_id or 0
        starts = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
        self.empty = next((i for i in starts if i is not None), self.padding)

    def read(self, texts: Sequence[str]) -> list[Row]:
        """Their tokens: for every text exactly those that reading the whole of it and then cutting would give."""
        texts = [sound(text) for text in texts]
        starts = [self.start(text) for text in texts]
        rows = []
        for text, start, made in zip(texts, starts, self.cutting.encode_batch(starts), strict=True):
            cut = len(start) < len(text) or bool(made.overflowing)
            words = [-1 if added or word is None else word for added, word in zip(made.special_tokens_mask, made.word_ids, strict=True)]
            row = Row(made.ids, words, cut, _bytes(text, made, cut))
            rows.append(row if row.ids else self._nothing(row))
        return rows

    def start(self, text: str) -> str:
        """A text's start that holds its first `limit` tokens; for long texts only, others come back whole.

        Tokenizers part a text into words (`word_ids`) and read each word by itself. What follows the start can only change its last word,
        or a few before it where the parting looks ahead; so tokens of the last word and of the last `MARGIN` characters are not counted.
        Where too few are left, four times as much is looked at. A tokenizer that takes the whole text for one word reads it whole.
        """
        length = CHARACTERS * self.limit + MARGIN
        while length < len(text):
            start = text[:length].rstrip()
            made = self.whole.encode(start, add_special_tokens=False)
            last = max((word for word in made.word_ids if word is not None), default=0)
            sure = sum(word != last and end <= len(start) - MARGIN for word, (_, end) in zip(made.word_ids, made.offsets, strict=True))
            if sure >= self.limit:
                return start
            length = 4 * length if last or not made.ids else len(text)
        return text

    def hide(self, row: Row, chosen: Sequence[bool]) -> Row:
        """The row with the `chosen` tokens masked, or left out where the checkpoint has no mask token. Special ones stay."""
        kept = [word < 0 or not hidden for word, hidden in zip(row.words, chosen, strict=True)]
        if self.mask is not None:
            return replace(row, ids=[i if keep else self.mask for i, keep in zip(row.ids, kept, strict=True)])
        row = row.part([place for place, keep in enumerate(kept) if keep])
        return row if row.ids else self._nothing(row)

    def pad(self, rows: Sequence[Row]) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
        """Token numbers, mask and numbers of words (-1 for padding), each (B, L), padded on the right to the longest."""
        longest = max((len(row.ids) for row in rows), default=0)
        lacks = [longest - len(row.ids) for row in rows]
        ids = [row.ids + [self.padding] * lack for row, lack in zip(rows, lacks, strict=True)]
        words = [row.words + [-1] * lack for row, lack in zip(rows, lacks, strict=True)]
        return ids, [[1] * (longest - lack) + [0] * lack for lack in lacks], words

    def pair(self) -> dict[str, list[int]]:
        """The tokens that the checkpoint puts at the `start` of two texts, `between` them and at their `end`."""
        made = self.whole.encode("a", "a")
        first, second = ([i for i, text in enumerate(made.sequence_ids) if text == number] for number in (0, 1))
        return {"start": made.ids[: first[0]], "between": made.ids[first[-1] + 1 : second[0]], "end": made.ids[second[-1] + 1 :]}

    def stops(self) -> list[int]:
        """The tokens that end a sentence, whatever mark for spaces they carry."""
        return sorted(number for token, number in self.whole.get_vocab().items() if token.strip(SPACES) in STOPS)

    def _nothing(self, row: Row) -> Row:
        """One token that stands for an empty text, since a row without a token would be a missing value."""
        return Row([self.empty], [-1], row.cut, 0)


def _bytes(text: str, made: Any, cut: bool) -> int:
    """See `Row.bytes`; `made` is what the tokenizer made of the text."""
    if not made.ids:
        return 0
    first = made.token_to_chars(0)  # None of a token that was added
    if not cut:
        return len(text[first[1] if first else 0 :].encode())
    ends = (made.token_to_chars(place) for place in reversed(range(len(made.ids))))
    last = next((end[1] for end in ends if end is not None), 0)
    return len(text[first[1] if first else 0 : last].encode())
