"""Prompts: the tokens of a template that is filled with values, and of the answer behind it. What users wrote is text, whatever it spells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnitune.errors import Mistake
from omnitune.modalities._words import Row, Words
from omnitune.nn.template import Prompt, Span
from omnitune.nn.values import sound, text

PLACE = "\ue000"
"""Stands for a message while a chat template is looked at: a character of private use."""


@dataclass(frozen=True)
class Shown:
    """An input that stands in a prompt as what its backbone makes of it.

    Args:
        name: in the template.
        number: of the input, by which it is told apart.
        most: tokens that it takes at most.
    """

    name: str
    number: int
    most: int


Slot = tuple[int, int]
"""The place of a token that keeps room for what stands there, and the number of that."""


def line(slots: Iterable[Slot], length: int) -> list[int]:
    """Of each of so many tokens of a row the number of what stands there, -1 of words."""
    numbers = dict(slots)
    return [numbers.get(place, -1) for place in range(length)]


@dataclass(frozen=True)
class Asked:
    """One prompt.

    Args:
        ids: its tokens, one for each slot.
        cut: whether a value was cut.
        answer: tokens of the answer with its end; none where there is no answer.
        bytes: of UTF-8, that these stand for.
        long: whether the answer was cut.
        slots: where pictures and sounds stand.
    """

    ids: list[int]
    cut: bool
    answer: list[int]
    bytes: int = 0
    long: bool = False
    slots: tuple[Slot, ...] = ()

    def row(self, apart: bool) -> Row:
        """What the backbone reads: the prompt, and the answer behind it where it is not written by a decoder `apart`."""
        whole = self.ids if apart else [*self.ids, *self.answer]
        return Row(whole, [-1] * len(whole), self.cut, self.bytes)


@dataclass(frozen=True)
class Fork:
    """One prompt with several texts behind it.

    Args:
        ids: tokens of the prompt, one at least.
        cut: whether a value was cut.
        texts: of each text its tokens.
        bytes: of UTF-8, that these stand for.
        long: whether a text was cut.
        slots: where pictures and sounds stand.
    """

    ids: list[int]
    cut: bool
    texts: list[list[int]]
    bytes: list[int]
    long: bool
    slots: tuple[Slot, ...] = ()

    def row(self, apart: bool) -> Row:
        """What the backbone reads: the prompt, and the texts behind it where they are not read by a decoder `apart`."""
        whole = self.ids if apart else [*self.ids, *(token for ids in self.texts for token in ids)]
        return Row(whole, [-1] * len(whole), self.cut, sum(self.bytes))

    def told(self) -> list[tuple[int, int, int]]:
        """Of each token of the texts where the one before it stands in the row, the token, and the number of its text from 0."""
        found, start = list[tuple[int, int, int]](), len(self.ids)
        for number, ids in enumerate(self.texts):
            found += [(start + place - 1 if place else len(self.ids) - 1, token, number) for place, token in enumerate(ids)]
            start += len(ids)
        return found


class Prompts:
    """Reads prompts by the tokenizer of a checkpoint. It is never changed after, so several threads may read with it.

    Args:
        words: of the checkpoint.
        tokenizer: of the same.
        prompt: what is asked.
        answer: tokens that are kept free for an answer, its end included.
        apart: whether it is written by a decoder apart from what reads the prompt (T5, BART).
        shown: inputs that stand in it as what their backbones make of them.

    Raises:
        Mistake: the checkpoint has no chat template or none that takes such messages, its tokenizer has no token that ends a text, or there is no
            room for the template itself.
    """

    def __init__(self, words: Words, tokenizer: Any, prompt: Prompt, answer: int, apart: bool = False, shown: Collection[Shown] = ()) -> None:
        self.words, self.prompt, self.answer, self.apart = words, prompt, answer, apart
        self.shown = {one.name: one for one in shown}
        self.names = [name for name in prompt.body.names if name not in self.shown]
        self.lead = "" if apart else prompt.lead
        self.before, self.after, self.end = self._chat(tokenizer) if prompt.chat else self._plain(tokenizer)
        stand = sum(self.shown[text].most - 1 for named, text in prompt.body.pieces if named and text in self.shown)
        self.room = words.limit - (0 if apart else answer) - len(self.before) - len(self.after) - stand
        self._fits(stand)

    def _fits(self, stand: int) -> None:
        """Whether there is room for the template; what stands in it takes so many tokens besides one each."""
        least = len(_encoded(self, *self.prompt.body.filled(dict.fromkeys(self.prompt.body.names, ""))).ids)
        if least <= self.room:
            return
        around = len(self.before) + len(self.after) + stand
        what = "its own text with the pictures and sounds in it" if self.shown else "its own text"
        wrong = f"{what} takes {least + around} tokens, and beside {self.answer} of an answer there is room for {max(0, self.room + around)}"
        fewer = ", lower prompt_tokens of what stands in it" if self.shown else ""
        raise Mistake("prompt", wrong, f"Shorten it{fewer}, raise max_tokens of the input, or lower answer_tokens")

    def read(self, rows: Sequence[Mapping[str, str]], answers: Sequence[str | None]) -> list[Asked]:
        """The prompts of some rows, each with its answer behind it where there is one.

        Args:
            rows: texts by name of the template, those of `names`.
            answers: one a row; None where there is none.
        """
        found = []
        for texts, answer in zip(rows, answers, strict=True):
            made, cut = self._fitted({name: texts[name] for name in self.names})
            told = ([], 0, False) if answer is None else self.answered(answer)
            slots = tuple((len(self.before) + place, number) for place, number in made.slots)
            found.append(Asked([*self.before, *made.ids, *self.after], cut, *told, slots))
        return found

    def fork(self, rows: Sequence[Mapping[str, str]], texts: Sequence[Sequence[str]], ends: bool) -> list[Fork]:
        """The prompts of some rows, each with several texts behind it; where `ends`, these have their end token."""
        found = []
        for asked, some in zip(self.read(rows, [None] * len(rows)), texts, strict=True):
            told = [self.answered(one) for one in some]
            kept = [ids if ends or long else ids[:-1] for ids, _, long in told]
            ids = asked.ids or [self.words.empty]
            found.append(Fork(ids, asked.cut, kept, [size for _, size, _ in told], any(long for *_, long in told), asked.slots))
        return found

    def lengths(self, answers: Iterable[Any]) -> Any:
        """How many tokens each of some answers has with its end, (n,) int64."""
        import numpy as np

        made = (self.words.plain.encode(self.lead + sound(text(answer)), add_special_tokens=False) for answer in answers)
        return np.array([len(one.ids) + 1 for one in made], np.int64)

    def answered(self, answer: str) -> tuple[list[int], int, bool]:
        """The tokens of an answer with their end, its bytes, and whether it is cut, which leaves the end out."""
        made = self.words.plain.encode(self.lead + sound(answer), add_special_tokens=False)
        if len(made.ids) < self.answer:
            return [*made.ids, self.end], len(sound(answer).encode()), False
        kept = made.ids[: self.answer]
        stop = made.offsets[len(kept) - 1][1] - len(self.lead)
        return kept, len(sound(answer)[: max(0, stop)].encode()), True

    def _fitted(self, texts: dict[str, str]) -> tuple[_Filled, bool]:
        """The tokens of the filled template, and whether values were cut to make it fit: at their ends, the longest ones, to one length."""
        whole, blank = {name: sound(value) for name, value in texts.items()}, dict.fromkeys(self.shown, "")
        texts = {name: self.words.start(value) for name, value in whole.items()}
        while True:
            filled, spans = self.prompt.body.filled(texts | blank)
            made = _encoded(self, filled, spans)
            over = len(made.ids) - self.room
            if over <= 0:
                return made, texts != whole
            texts = _shortened(texts, [span for span in spans if span[0] not in self.shown], made.offsets, over)

    def _plain(self, tokenizer: Any) -> tuple[list[int], list[int], int]:
        """What the checkpoint begins a text with; before a decoder apart also what it ends one with; and the token that ends an answer."""
        if tokenizer.eos_token_id is None:
            raise Mistake("prompt", "the tokenizer has no token that ends a text", "Set eos_token in tokenizer_config.json of the checkpoint")
        frame = self.words.frame(True)
        return list(frame.before), list(frame.after) if self.apart else [], int(tokenizer.eos_token_id)

    def _chat(self, tokenizer: Any) -> tuple[list[int], list[int], int]:
        """What the chat template puts before a user's message and behind it, and the token by which it ends an answer."""
        if not tokenizer.chat_template:
            raise Mistake("chat", "the checkpoint has no chat template", "Leave chat out, or choose one that was trained to chat")
        system = [] if self.prompt.system is None else [{"role": "system", "content": self.prompt.system}]
        user, answer = {"role": "user", "content": PLACE}, {"role": "assistant", "content": PLACE}
        try:
            asked = tokenizer.apply_chat_template([*system, user], tokenize=False, add_generation_prompt=True)
            whole = tokenizer.apply_chat_template([*system, user, answer], tokenize=False)
        except Exception as error:  # a template is a program, and says by any error what it does not take
            raise Mistake("chat", f"the checkpoint's chat template refuses: {error}", "Leave system or chat out") from None
        if asked.count(PLACE) != 1 or whole.count(PLACE) != 2:
            raise Mistake("chat", "the checkpoint's chat template does not say a message as it is", "Leave chat out")
        before, after = (self.words.whole.encode(part, add_special_tokens=False).ids for part in asked.split(PLACE))
        ends = self.words.whole.encode(whole.rpartition(PLACE)[2], add_special_tokens=False).ids
        special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
        end = next((number for number in ends if number in special), tokenizer.eos_token_id)
        if end is None:
            raise Mistake("chat", "the chat template ends an answer by no special token", "Leave chat out")
        return before, after, int(end)


@dataclass(frozen=True)
class _Filled:
    """A filled template: its tokens, where each lies in the text, and slots among them, which lie nowhere."""

    ids: list[int]
    offsets: list[tuple[int, int]]
    slots: list[Slot]


def _encoded(prompts: Prompts, filled: str, spans: Sequence[Span]) -> _Filled:
    """Tokens of a filled template, text on both sides of a slot apart."""
    ids, offsets, slots, last = list[int](), list[tuple[int, int]](), list[Slot](), 0
    ends = [(start, prompts.shown[name].number) for name, start, _ in spans if name in prompts.shown]
    for stop, number in [*ends, (len(filled), -1)]:
        made = prompts.words.plain.encode(filled[last:stop], add_special_tokens=False)
        ids += made.ids
        offsets += [(last + start, last + end) for start, end in made.offsets]
        if number >= 0:
            slots.append((len(ids), number))
            ids.append(prompts.words.empty)
            offsets.append((stop, stop))
        last = stop
    return _Filled(ids, offsets, slots)


def _shortened(texts: dict[str, str], spans: Sequence[Span], offsets: Sequence[tuple[int, int]], over: int) -> dict[str, str]:
    """Values with at least `over` tokens less in all, where each stands once; every call takes some."""
    places = {span: [i for i, (start, stop) in enumerate(offsets) if start < span[2] and stop > span[1]] for span in spans}
    most = _level([len(found) for found in places.values()], sum(map(len, places.values())) - over)
    made = dict(texts)
    for (name, start, _), found in places.items():
        if len(found) > most:
            made[name] = min(made[name], texts[name][: max(0, offsets[found[most]][0] - start)], key=len)
    if made == texts:  # what is left lies in tokens that a value shares with the template
        longest = max(texts, key=lambda name: len(texts[name]))
        made[longest] = texts[longest][:-1]
    return made


def _level(sizes: list[int], room: int) -> int:
    """The largest number to which all sizes can be cut so that they fit into the room."""
    rest = max(0, room)
    for place, size in enumerate(sorted(sizes)):
        share = rest // (len(sizes) - place)
        if size > share:
            return share
        rest -= size
    return max(sizes, default=0)
