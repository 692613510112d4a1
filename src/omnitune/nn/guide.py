"""Guide: of every row that is written, which token may come next, as its `Control` says.

Shape letters: B rows (of several beams each beam is one), L tokens, V vocabulary.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import LogitsProcessor

from omnitune.errors import Mistake
from omnitune.nn import grammar
from omnitune.nn.control import Control

Array = np.ndarray[Any, Any]
WITHIN = 3
"""Tokens at most until a letter that is begun is whole."""


@dataclass
class State:
    """Of one row.

    Args:
        matcher: of llguidance; None where any text will do.
        forced: tokens that are written next.
        over: whether its end is written, or it can no longer be what it must.
    """

    matcher: Any
    forced: tuple[int, ...] = ()
    over: bool = False


class Guide(LogitsProcessor):  # type: ignore[misc]
    """Masks scores in `generate` of transformers, after penalties and before all that narrows the choice.

    Args:
        control: what texts must be.
        signs: see `omnitune.nn.signs`.
        ends: tokens that end a text, as `signs` know them.
        start: tokens in a row before what is written.
        rooms: of each row, tokens that are written at most.
        beams: of each row.

    Raises:
        Mistake: there is no room for a choice or for the required words.
    """

    def __init__(self, control: Control, signs: Any, ends: Sequence[int], start: int, rooms: Sequence[int], beams: int) -> None:
        self.control, self.signs, self.ends, self.start, self.rooms, self.beams = control, signs, list(ends), start, rooms, beams
        text = control.grammar
        self.root = None if text is None else grammar.matcher(signs, text)
        assert self.root is None or not self.root.is_error(), "what is wrong with it was said before"
        self.words = {} if control.formed else {word: tuple(self._spelled(word)) for word in control.require}
        self.need = sum(map(len, self.words.values()))
        self.states: dict[tuple[int, tuple[int, ...]], State] = {}
        self._check()

    def __call__(self, ids_BL: Tensor, scores_BV: Tensor) -> Tensor:
        """The scores of all rows, by `mask`."""
        return self.mask([(i // self.beams, tuple(row)) for i, row in enumerate(ids_BL[:, self.start :].tolist())], scores_BV)

    def mask(self, rows: Sequence[tuple[int, tuple[int, ...]]], scores_BV: Tensor) -> Tensor:
        """The scores of some rows, by their numbers and what they have written: minus infinity where a token may not be; as they are in rows that are
        over, or where nothing that may be has a score. Each row is asked about once a token."""
        others, asked = self.states, {item for item, _ in rows}
        new = {row: self._state(*row) for row in dict.fromkeys(rows)}
        self.states = {row: state for row, state in others.items() if row[0] not in asked} | new
        best_B = scores_BV.argmax(1).tolist()
        allowed = [self._allowed(new[row], *row, best, scores_BV.shape[1]) for row, best in zip(rows, best_B, strict=True)]
        allowed_BV = torch.from_numpy(np.stack(allowed)).to(scores_BV.device)
        masked_BV = scores_BV.masked_fill(~allowed_BV, -torch.inf)
        return torch.where(masked_BV.isneginf().all(1, keepdim=True), scores_BV, masked_BV)

    def meets(self, ids: Sequence[int]) -> bool:
        """Whether a text is what it must be, by its tokens up to its end."""
        written = [number for number in ids if not self.signs.is_special_token(number)]
        if len(written) < self.control.min_tokens:
            return False
        if self.root is None:
            return True
        matcher = self.root.deep_copy()
        return all(matcher.consume_token(number) for number in written) and bool(matcher.is_accepting())

    def _state(self, item: int, written: tuple[int, ...]) -> State:
        """Of a row that has written so much, from its state a token before."""
        if not written:
            return State(None if self.root is None else self.root.deep_copy())
        before, token = self.states[item, written[:-1]], written[-1]
        matcher = before.matcher if self.beams == 1 or before.matcher is None else before.matcher.deep_copy()
        forced = before.forced[1:] if before.forced[:1] == (token,) else ()
        if token in self.ends or before.over:
            return State(matcher, over=True)
        taken = matcher is None or self.signs.is_special_token(token) or matcher.consume_token(token)
        return State(matcher, forced, not taken)

    def _allowed(self, state: State, item: int, written: tuple[int, ...], best: int, words: int) -> Array:
        """Which tokens may come next, (V,) bool."""
        if state.over:
            return np.ones(words, bool)
        allowed = np.ones(words, bool) if state.matcher is None else _bits(state.matcher.compute_bitmask(), words)
        short = len(written) < self.control.min_tokens
        if self.words and not state.forced and not allowed[self.ends[0]] and self._late(item, len(written), best in self.ends and not short):
            state.forced = (*self._lacking(written), self.ends[0])
        longer = allowed.copy()
        longer[self.ends] = False
        allowed = longer if short and longer.any() else allowed
        if state.forced and allowed[state.forced[0]]:
            return np.asarray(np.arange(words) == state.forced[0])
        state.forced = ()
        return allowed

    def _late(self, item: int, written: int, ends: bool) -> bool:
        """Whether the model would end, or there is just room for the required words."""
        return ends or written + self.need >= max(self.rooms[item] - WITHIN, self.control.min_tokens)

    def _lacking(self, written: tuple[int, ...]) -> tuple[int, ...]:
        """The tokens of required words that are not there yet."""
        text = self.signs.decode_str(list(written))
        return tuple(token for word, ids in self.words.items() if not re.fullmatch(grammar.holding(word, True), text) for token in ids)

    def _spelled(self, word: str) -> list[int]:
        """The tokens of a word in the middle of a text."""
        return list(self.signs.greedy_tokenize(f" {word}"))

    def _check(self) -> None:
        """Raises `Mistake` where there is no room for what is to be written, or no tokens."""
        choices, least = self.control.choices, self.control.min_tokens
        strange = [Mistake(name, f"{one!r} cannot be spelled by the tokens of this model", "Leave it out") for name, one in self._strange()]
        if strange:
            raise Mistake.together(strange)
        for name, what, tokens in (
            ("require", "all of it", self.need), ("min_tokens", "the least", least),
            *(("choices", repr(one), len(self._spelled(one))) for one in choices),
        ):  # fmt: skip
            if tokens > (room := min(self.rooms)):
                raise Mistake(f"control.{name}", f"{what} takes {tokens} tokens, and {room} are written at most", "Shorten it, or allow for more")

    def _strange(self) -> list[tuple[str, str]]:
        named = [("control.choices", one) for one in self.control.choices] + [("control.require", one) for one in self.control.require]
        return [(name, one) for name, one in named if self.signs.decode_bytes(self._spelled(one)) != f" {one}".encode()]


def _bits(mask: bytes, words: int) -> Array:
    """The bits of a mask, (V,) bool."""
    return np.unpackbits(np.frombuffer(mask, np.uint8), count=words, bitorder="little").astype(bool)
