"""Spans: where a text gets holes, and what it looks like with them. numpy alone.

T5 hides a share of the tokens in so many spans (Raffel et al. 2020, https://arxiv.org/abs/1910.10683, section 3.1.4); BART draws the lengths of
spans, which may be empty (Lewis et al. 2020, https://arxiv.org/abs/1910.13461).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

Ids = np.ndarray[Any, Any]
Places = tuple[Ids, Ids]
"""Where spans start and where they stop, in the order of the text."""


def hidden(length: int, rate: float) -> int:
    """How many of `length` tokens are hidden: `rate` of them, one at least, and never all."""
    return min(max(1, round(rate * length)), length - 1)


def spans(length: int, rate: float, mean: float) -> int:
    """In how many spans of `mean` length they are hidden, as far as a token can stand between two of them."""
    return min(max(1, round(hidden(length, rate) / mean)), length - hidden(length, rate) + 1)


def corrupted(length: int, rate: float, mean: float, rng: np.random.Generator) -> Places:
    """`hidden` tokens in `spans` spans, parted at random, with a token at least between two of them."""
    lost, count = hidden(length, rate), spans(length, rate, mean)
    gaps = _parts(length - lost + 2, count + 1, rng)
    gaps[[0, -1]] -= 1  # a text may begin and end with a span
    return _placed(_parts(lost, count, rng), gaps)


def infilled(length: int, rate: float, mean: float, rng: np.random.Generator) -> Places:
    """Spans anywhere, of lengths drawn from Poisson(`mean`) until `hidden` tokens are lost; of empty ones only as many as let no text grow."""
    lost, lengths = hidden(length, rate), list[int]()
    while (missing := lost - sum(lengths)) > 0:
        lengths.append(min(missing, int(rng.poisson(mean))))
    for _ in range(len(lengths) - lost):
        lengths.remove(0)
    return _placed(np.array(lengths), _parts(length - lost + len(lengths) + 1, len(lengths) + 1, rng) - 1)


def filled(text: Ids, places: Places, marks: Sequence[int]) -> Ids:
    """The text with a mark for each span."""
    starts, stops = (ends.tolist() for ends in places)
    pieces = [part for stop, start, mark in zip([0, *stops], starts, marks, strict=False) for part in (text[stop:start], [mark])]
    return np.concatenate([*pieces, text[stops[-1] :]]).astype(np.int64)


def spelled(text: Ids, places: Places, marks: Sequence[int]) -> Ids:
    """The spans of the text, each behind its mark, and one mark more."""
    pieces = [part for start, stop, mark in zip(*places, marks, strict=False) for part in ([mark], text[start:stop])]
    return np.concatenate([*pieces, marks[len(places[0]) : len(places[0]) + 1]]).astype(np.int64)


def _parts(total: int, parts: int, rng: np.random.Generator) -> Ids:
    """`total` things in `parts` groups of one at least, every way as likely; (parts,)."""
    cuts = np.sort(rng.choice(total - 1, parts - 1, replace=False)) + 1
    return np.diff(cuts, prepend=0, append=total)


def _placed(lengths: Ids, gaps: Ids) -> Places:
    """Spans of these lengths; `gaps` are before, between and behind them."""
    stops = (gaps[:-1] + lengths).cumsum()
    return stops - lengths, stops
