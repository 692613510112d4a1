"""Windows: a long text, which is read in overlapping parts, each beside a question if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from omnitune.errors import Mistake
from omnitune.modalities._words import Words
from omnitune.nn.values import sound

if TYPE_CHECKING:
    from torch import Tensor

Span = tuple[int, int]
"""Where a part of a text starts and stops, in characters."""
MOST = 64
"""Windows of a text at most; what is beyond is not read."""
LEAST = 8
"""Tokens of the text that a window holds at least."""


@dataclass(frozen=True)
class Window:
    """One question with one part of a text.

    Args:
        ids: tokens.
        types: of each, 1 from the text on behind a question.
        spans: of each, where it stands in the text; (-1, -1) of all others.
    """

    ids: list[int]
    types: list[int]
    spans: list[Span]


def windows(words: Words, questions: Sequence[str], texts: Sequence[str], overlap: int) -> tuple[list[list[Window]], list[bool]]:
    """The windows of each text, one at least, and whether a question or a text was cut. A question takes at most half of a window; an empty
    one leaves its text by itself.

    Args:
        words: reads them.
        questions, texts: one a row.
        overlap: tokens that a window shares with the one before it, less where it holds few.

    Raises:
        Mistake: a window has no room.
    """
    pair = words.pair()
    room = words.limit - sum(map(len, pair.values()))
    if room < 2 * LEAST:
        raise Mistake("question", f"a window of {words.limit} tokens has no room for a question and a text", "Raise max_tokens of the input")
    alone = pair | {"between": []}
    found, cut = [], []
    for question, text in zip(questions, texts, strict=True):
        asked = words.plain.encode(words.start(sound(question)), add_special_tokens=False).ids
        made = words.plain.encode(sound(text), add_special_tokens=False)
        offsets = [_bare(text, span) for span in made.offsets]
        kept = asked[: room // 2]
        frame = pair if kept else alone
        size = words.limit - sum(map(len, frame.values())) - len(kept)
        step = size - min(overlap, size // 2)
        starts = [0, *range(step, max(1, len(made.ids) - size + step), step)] if len(made.ids) > size else [0]
        found.append([_window(frame, kept, made.ids[start : start + size], offsets[start : start + size]) for start in starts[:MOST]])
        cut.append(len(kept) < len(asked) or len(starts) > MOST)
    return found, cut


def _bare(text: str, span: Span) -> Span:
    """A token's place without white space at its ends, which tokenizers of bytes keep and no answer begins with; empty where that is all."""
    start, stop = span
    part = text[start:stop]
    bare = part.strip()
    first = start + part.find(bare) if bare else stop
    return first, first + len(bare)


def _window(frame: dict[str, list[int]], question: list[int], ids: list[int], offsets: list[Span]) -> Window:
    first = [*frame["start"], *question, *frame["between"]]
    nowhere = (-1, -1)
    whole = [*first, *ids, *frame["end"]] or [0]
    types = [0] * len(first) + [int(bool(question))] * (len(whole) - len(first))
    return Window(
        whole, types, [nowhere] * len(first) + [(start, stop) for start, stop in offsets] + [nowhere] * (len(whole) - len(first) - len(ids))
    )


def places(spans: Sequence[Span], wanted: Sequence[Span]) -> list[Span]:
    """The first and the last token of each of the `wanted` parts that lies in a window whose tokens stand at `spans`."""
    found = []
    there = [i for i, (start, stop) in enumerate(spans) if stop > start >= 0]
    for start, stop in wanted:
        inside = [i for i in there if spans[i][0] < stop and spans[i][1] > start]
        if inside and spans[inside[0]][0] <= start and spans[inside[-1]][1] >= stop:
            found.append((inside[0], inside[-1]))
    return found


def tensors(rows: Sequence[Sequence[Window]], padding: int, types: bool) -> dict[str, Tensor]:
    """`input_ids`, `attention_mask` and where there are `types` `token_type_ids` (B, W, L); `start` and `stop` (B, W L), -1 where no text stands."""
    import torch

    shape = len(rows), max(map(len, rows)), _longest(rows)
    found = {name: torch.full(shape, fill) for name, fill in (("input_ids", padding), ("attention_mask", 0), ("start", -1), ("stop", -1))}
    found |= {"token_type_ids": torch.zeros(shape, dtype=torch.int64)} if types else {}
    for i, row in enumerate(rows):
        for j, one in enumerate(row):
            size, spans = len(one.ids), torch.tensor(one.spans)
            found["input_ids"][i, j, :size], found["attention_mask"][i, j, :size] = torch.tensor(one.ids), 1
            found["start"][i, j, :size], found["stop"][i, j, :size] = spans.unbind(1)
            if types:
                found["token_type_ids"][i, j, :size] = torch.tensor(one.types)
    return found | {name: found[name].flatten(1) for name in ("start", "stop")}


def answers(rows: Sequence[Sequence[Window]], spans: Sequence[Sequence[Span] | None], longest: int) -> dict[str, Tensor]:
    """`pairs`, `spans` and `answered`, see `Text.windowed`; parts of more than `longest` tokens are not said."""
    import torch

    wide, pairs = _longest(rows), list[list[Span]]()
    for row, some in zip(rows, spans, strict=True):
        found = [(first + j * wide, last + j * wide) for j, one in enumerate(row) for first, last in places(one.spans, some or ())]
        pairs.append([(first, last) for first, last in found if last - first < longest])
    most, several = max(1, *map(len, pairs)), max(1, *(len(some or ()) for some in spans))
    told = [[*some, *[some[0] if some else (0, 0)] * (several - len(some))] for some in (some or () for some in spans)]
    return {
        "pairs": torch.tensor([[*row, *[(-1, -1)] * (most - len(row))] for row in pairs], dtype=torch.int64),
        "spans": torch.tensor(told, dtype=torch.int64),
        "answered": torch.tensor([-1 if some is None else int(bool(some)) for some in spans], dtype=torch.int64),
    }


def _longest(rows: Sequence[Sequence[Window]]) -> int:
    return max(len(one.ids) for row in rows for one in row)
