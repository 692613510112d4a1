"""From texts to token numbers, of long texts no more than is needed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np

    Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

from omnitune.errors import Mistake
from omnitune.nn.values import sound

CHARACTERS = 16
"""A text of up to so many characters a token is read whole: more than nearly all words need."""
MARGIN = 512
"""Characters at the end of a cut text whose tokens are not trusted: what follows might have joined them."""
STOPS = frozenset(".!?。！？…")
SENTINEL = re.compile(r"<extra_id_(\d+)>")
"""What stands for a span of a text (T5: Raffel et al. 2020, https://arxiv.org/abs/1910.10683)."""
SPACES = "ĠĊ▁"
"""What stands for spaces and new lines in the tokens of byte-level BPE and SentencePiece."""


@dataclass(frozen=True)
class Row:
    """Token numbers of one text.

    Args:
        ids: the numbers, at least one.
        words: of each, the number of its word in the text, in pieces that of the token; -1 of those that the checkpoint added.
        cut: whether the text was longer.
        bytes: of UTF-8, that its tokens stand for, a first one that the checkpoint did not add left out; of a piece that goes on, those of `next`
            too and not those of its first token.
        next: the token that follows the last one in the same document, where a model that reads from left to right goes on; -1 where none does.
        place: of a piece its number, that of the piece before it in its document, and that of the one behind it; -1 for none, see `nn.recall`.
    """

    ids: Sequence[int]
    words: Sequence[int]
    cut: bool
    bytes: int
    next: int = -1
    place: tuple[int, int, int] = field(default=(-1, -1, -1), repr=False, compare=False)  # not what the piece says: caches are keyed by that

    def compact(self) -> Row:
        """The same in a tenth of the memory."""
        import numpy as np

        ids, words = (cast("Sequence[int]", np.array(numbers, np.int32)) for numbers in (self.ids, self.words))
        return replace(self, ids=ids, words=words)

    def part(self, places: Sequence[int]) -> Row:
        """The tokens at these places alone."""
        return replace(self, ids=[self.ids[i] for i in places], words=[self.words[i] for i in places])


@dataclass(frozen=True)
class Frame:
    """How documents that are read in pieces lie among the special tokens of their checkpoint.

    Before a model that reads from left to right, a document is one sequence, special tokens included, which is cut where the context ends: a
    piece goes on where the one before it ended. To another model every piece is a text of its own, with the special tokens of one.

    Args:
        before, after: special tokens around a text.
        limit: tokens of a piece at most.
        goes_on: whether a piece goes on in the next one.
        empty: the token that stands for nothing at all, since a row without a token would be a missing value.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    limit: int
    goes_on: bool
    empty: int

    @property
    def special(self) -> int:
        """Tokens that are added to every piece."""
        return 0 if self.goes_on else len(self.before) + len(self.after)

    def length(self, tokens: Any) -> Any:
        """What is cut into pieces of documents of so many tokens, (n,) int64; at least one.

        A last token that would be a piece by itself is left out: it was asked for in the piece before, and nothing follows it.
        """
        if not self.goes_on:
            return tokens.clip(1)
        whole = tokens + len(self.before) + len(self.after)
        return (whole - ((whole % self.limit == 1) & (whole > 1))).clip(1)

    def row(self, ids: Any, start: int, stop: int, size: int) -> Row:
        """The piece from `start` to `stop` of what `length` counts.

        Args:
            ids: of the document's own tokens; only those that the piece needs are looked at.
            start, stop: of the piece.
            size: its UTF-8 bytes, see `Row.bytes`.
        """
        if self.goes_on:
            found, words = self._sequence(ids, start, stop + 1)
            found, words, rest = found[: stop - start], words[: stop - start], found[stop - start :]
        else:
            (found, words), rest = self._sequence(ids[start:stop], 0, self.limit), []
        return Row(found, words, False, size, rest[0] if rest else -1) if found else Row([self.empty], [-1], False, 0)

    def _sequence(self, ids: Any, start: int, stop: int) -> tuple[list[int], list[int]]:
        """Tokens `start` to `stop` of a document with its special tokens, and of each its number, -1 of special ones: files know no words."""
        first, last = len(self.before), len(self.before) + len(ids)
        ahead, behind = self.before[start:stop], self.after[max(start - last, 0) : max(stop - last, 0)]
        own = ids[max(start - first, 0) : max(stop - first, 0)].tolist()
        return [*ahead, *own, *behind], [-1] * len(ahead) + list(range(len(own))) + [-1] * len(behind)


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
        self.whole, self.cutting, self.plain = (Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()) for _ in range(3))
        for made in (self.whole, self.cutting, self.plain):
            made.no_padding()
            made.no_truncation()
        self.cutting.enable_truncation(self.limit)
        self.plain.encode_special_tokens = True  # as token files are read: what spells a special token in a document is text
        self.mask = tokenizer.mask_token_id
        self.padding = tokenizer.pad_token_id or 0
        starts = (tokenizer.bos_token_id, tokenizer.cls_token_id, tokenizer.eos_token_id)
        self.empty = next((i for i in starts if i is not None), self.padding)

    def frame(self, goes_on: bool) -> Frame:
        """Of documents that are read in pieces; `goes_on` of a model that reads from left to right."""
        made = self.whole.encode("a")
        inner = [place for place, special in enumerate(made.special_tokens_mask) if not special]
        return Frame(tuple(made.ids[: inner[0]]), tuple(made.ids[inner[-1] + 1 :]), self.limit, goes_on, self.empty)

    def firsts(self, texts: Sequence[str], frame: Frame) -> list[Row]:
        """The first piece of each text, its bytes uncounted."""
        import numpy as np

        starts = [self.start(sound(text)) for text in texts]
        ids = [np.array(made.ids, np.int64) for made in self.plain.encode_batch(starts, add_special_tokens=False)]
        lengths = frame.length(np.array([len(one) for one in ids], np.int64)).clip(max=self.limit - frame.special)
        return [frame.row(one, 0, length, 0) for one, length in zip(ids, lengths.tolist(), strict=True)]

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

    def pad(self, rows: Sequence[Row]) -> tuple[Numbers, Numbers, Numbers]:
        """Token numbers, mask and numbers of words (-1 for padding), each (B, L) int64, padded on the right to the longest."""
        import numpy as np

        shape = len(rows), max((len(row.ids) for row in rows), default=0)
        ids, mask, words = np.full(shape, self.padding), np.zeros(shape, np.int64), np.full(shape, -1)
        for place, row in enumerate(rows):
            length = len(row.ids)
            ids[place, :length], mask[place, :length], words[place, :length] = row.ids, 1, row.words
        return ids, mask, words

    def pair(self) -> dict[str, list[int]]:
        """The tokens that the checkpoint puts at the `start` of two texts, `between` them and at their `end`."""
        made = self.whole.encode("a", "a")
        first, second = ([i for i, text in enumerate(made.sequence_ids) if text == number] for number in (0, 1))
        return {"start": made.ids[: first[0]], "between": made.ids[first[-1] + 1 : second[0]], "end": made.ids[second[-1] + 1 :]}

    def stops(self) -> list[int]:
        """The tokens that end a sentence, whatever mark for spaces they carry."""
        return sorted(number for token, number in self.whole.get_vocab().items() if token.strip(SPACES) in STOPS)

    def sentinels(self) -> list[int]:
        """The tokens that stand for spans of a text, in their order, whatever mark for spaces they carry; none where there are none."""
        found: dict[int, int] = {}
        for token, number in sorted(self.whole.get_vocab().items()):
            if match := SENTINEL.fullmatch(token.strip(SPACES)):
                found.setdefault(int(match[1]), number)
        return [found[place] for place in sorted(found)]

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
