"""text: words, sentences, documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from omnitune.backbones import TOKENIZER, Backbone
from omnitune.component import any_of, component
from omnitune.modalities import Facts, Modality, _prompts, _several, _windows, _words
from omnitune.nn import values as cells
from omnitune.nn.template import Prompt

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

COUNTED = 5_000
"""Training texts whose length is looked at, spread evenly over the rows."""
CHUNK = 256


@component
class Text(Modality):
    """A text, read by a language model. Numbers, dates and true/false are read as they are written; an empty text is a text, not a missing one.

    Args:
        backbone: a language checkpoint: a hub name, a directory or `sample:NAME`.
        max_tokens: tokens that are read of a text, those the checkpoint adds included; the checkpoint's own limit where that is lower.
            What is beyond is cut, and the share of texts this happened to is reported.
        pieces: a text longer than `max_tokens` is read in pieces, each a row of its own, instead of being cut there. What a row is to answer is
            asked of the first piece of its text, which is also what predictions read; the others are for tasks that ask about words.
        most: texts that are read of one cell, the first ones of a list (in files without lists a text such as `["a", "b"]`); with 1 a
            cell holds one. Each is read by itself, and stands as one token in the fusion; their mean is the input's vector.
        token_dropout: share of tokens that training hides (by the checkpoint's mask token where it has one, else by leaving them out), a
            light augmentation against learning single words by heart.
    """

    plain: ClassVar[Literal["text"]] = "text"
    content: ClassVar[bool] = True

    backbone: any_of(Backbone) = Field(default="sample:minilm-l6", validate_default=True)  # type: ignore[valid-type]
    max_tokens: Annotated[int, Field(ge=4)] = 256
    pieces: bool = False
    most: Annotated[int, Field(ge=1, le=64)] = 1
    token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @property
    def augments(self) -> bool:
        """Where tokens are dropped."""
        return self.token_dropout > 0

    def check(self, value: Any) -> str | None:
        """Lists, bytes and infinite numbers are no text; a list is several where more than one may be read."""
        if self.several:
            return _several.check(self.one, value, self.most)
        problem = cells.problem(value)
        return f"{problem}. {_several.FIX}" if problem and isinstance(value, (list, tuple)) else problem

    @property
    def one(self) -> Text:
        """What reads each of several."""
        return self.replace(most=1)

    def each(self, values: Sequence[Any]) -> Sequence[Any]:
        """See `Modality.each`."""
        return _several.Items(values, self.most) if self.several else values

    def learn(self, values: Sequence[Any]) -> Facts:
        """`max_tokens`, as far as the checkpoint goes, and `cut`, the share of (up to 5,000) texts that are longer; and what a backbone that
        starts from nothing learns."""
        return self.learn_shared(values, self.shared([self.each(values)]))

    def shared(self, columns: Sequence[Sequence[Any]]) -> Facts:
        """The tokenizer of a backbone that starts from nothing."""
        learned: Facts = self.backbone.learn(_Texts(columns))
        return learned

    def learn_shared(self, values: Sequence[Any], shared: Facts) -> Facts:
        """See `learn`."""
        values = self.each(values)
        words = self._read_by(self.max_tokens, shared)
        if self.pieces:
            return {"max_tokens": words.limit, "cut": 0.0} | shared
        some = (cells.name(value) for value in islice(values, 0, None, -(-len(values) // COUNTED) or 1) if value is not None)
        seen = cut = 0
        while chunk := list(islice(some, CHUNK)):
            seen, cut = seen + len(chunk), cut + sum(row.cut for row in words.read(chunk))
        return {"max_tokens": words.limit, "cut": cut / seen if seen else 0.0} | shared

    def language(self, facts: Facts) -> Facts:
        """What a task must know that asks about its words: whether the backbone is `causal`, its words `tied`, and whether it `says` them by trained
        layers of its own; whether the tokenizer marks where a text `ends`, the number of the `mask` token (None for none), of `special` ones, of
        those that end a sentence (`stops`) and of the one that pads (`padding`), how many `words` there are and `types` of tokens, whether texts
        are `parted` into words, what stands around a `pair` of texts and around a `single` one, whether they are read in `pieces` and the most
        tokens of one (`limit`); of the encoder of a model that writes (`decodes`) the token that a target begins with (`start`) and those that stand
        for spans of a text (`sentinels`)."""
        tokenizer = self.backbone.tokenizer(facts)
        words = self._read_by(facts["max_tokens"], facts)
        row, several = words.read(["a", "a a"])
        made = self.backbone.architecture()
        return {
            "causal": made.causal, "tied": made.tied, "says": self.backbone.says(), "ends": row.words[-1] < 0, "mask": tokenizer.mask_token_id,
            "special": sorted(tokenizer.all_special_ids), "stops": words.stops(), "padding": words.padding,
            "words": len(tokenizer), "types": made.types,
            "parted": max(several.words) > 0, "pair": words.pair(), "single": sum(word < 0 for word in row.words), "pieces": self.pieces,
            "limit": words.limit, "decodes": made.decodes, "start": made.start, "sentinels": words.sentinels(),
        }  # fmt: skip

    def frame(self, facts: Facts) -> _words.Frame:
        """How texts that are read in pieces lie among special tokens."""
        return self._read_by(facts["max_tokens"], facts).frame(self.backbone.architecture().causal)

    def encode(self, values: Sequence[Any], facts: Facts, rng: np.random.Generator | None = None) -> dict[str, Tensor]:
        """`input_ids` and `attention_mask` (B, L) int64, L the longest of the batch; `words` (B, L), of each token the number of its word in the
        text, -1 of added ones and padding; `cut` (B,), `bytes` (B,) and `next` (B,) of what they say, and of pieces their `place` (B, 3); see
        `_words.Row`, which a value may be too. Of several texts in a cell see `_several.encode`."""
        import torch

        if self.several:
            return _several.encode(self.one, values, self.most, facts, rng)

        words = self._read_by(facts["max_tokens"], facts)
        rows = self._read(words, values, facts)
        if rng is not None and self.token_dropout:
            rows = [words.hide(row, (rng.random(len(row.ids)) < self.token_dropout).tolist()) for row in rows]
        ids, mask, places = (torch.from_numpy(values) for values in words.pad(rows))
        present = torch.tensor([value is not None for value in values], dtype=torch.bool)
        cut = torch.tensor([row.cut for row in rows], dtype=torch.bool)
        read, after = torch.tensor([(row.bytes, row.next) for row in rows], dtype=torch.int64).reshape(-1, 2).T
        place = {"place": torch.tensor([row.place for row in rows], dtype=torch.int64).reshape(-1, 3)} if self.pieces else {}
        told = {"words": places, "cut": cut, "bytes": read, "next": after} | place
        return {"input_ids": ids, "attention_mask": mask, "present": present} | told

    def prompts(self, prompt: Prompt, answer: int, facts: Facts, shown: tuple[_prompts.Shown, ...] = ()) -> _prompts.Prompts:
        """What reads `prompt` in the place of texts, `answer` tokens kept free for what is written behind it; see `Prompts` for `shown`."""
        return _prompts_of(self.backbone, facts["max_tokens"], facts.get(TOKENIZER), self.backbone.stamp(), prompt, answer, shown)

    def prompted(
        self,
        prompt: Prompt,
        answer: int,
        values: Mapping[str, Sequence[Any]],
        answers: Sequence[Any],
        facts: Facts,
        shown: Mapping[_prompts.Shown, Sequence[bool]],
    ) -> dict[str, Tensor]:
        """Prompts and the answers behind them, as `encode` gives texts, with `answer` (B,), tokens of the answer in each; of an encoder-decoder the
        prompts alone, with `labels` (B, T), tokens of the answers, -1 behind them. Where pictures or sounds stand in it, with `slots` (B, L), the
        number of each where it stands, -1 of words.

        Args:
            prompt: what is asked.
            answer: tokens that are kept free for an answer.
            values: by name in the prompt, one a row; a missing one reads as an empty text, and where all are, the row is not present.
            answers: one a row; None where there is none.
            facts: what this input learned.
            shown: pictures and sounds in the prompt, each with the rows that have one.
        """
        import torch

        reader = self.prompts(prompt, answer, facts, tuple(shown))
        rows = [{name: cells.text(values[name][i]) for name in reader.names} for i in range(len(answers))]
        asked = reader.read(rows, [None if cells.missing(said) else cells.text(said) for said in answers])
        made = self.encode([one.row(reader.apart) for one in asked], facts)
        made |= self._standing(reader, asked, values, shown, made["input_ids"].shape)
        told = {"answer": torch.tensor([len(one.answer) for one in asked], dtype=torch.int64)}
        if reader.apart:
            longest = max(1, *(len(one.answer) for one in asked))
            told = {"labels": torch.tensor([one.answer + [-1] * (longest - len(one.answer)) for one in asked], dtype=torch.int64)}
        return made | told

    def _standing(
        self,
        reader: _prompts.Prompts,
        asked: Sequence[_prompts.Asked | _prompts.Fork],
        values: Mapping[str, Sequence[Any]],
        shown: Mapping[_prompts.Shown, Sequence[bool]],
        shape: Sequence[int],
    ) -> dict[str, Tensor]:
        """`present` (B,), and where pictures or sounds stand in prompts `slots` (B, L)."""
        import torch

        from omnitune.nn.inlay import SLOTS

        there = [*([value is not None for value in values[name]] for name in reader.names), *shown.values()]
        present = torch.tensor([not there or any(of[i] for of in there) for i in range(shape[0])], dtype=torch.bool)
        lines = {SLOTS: torch.tensor([_prompts.line(one.slots, shape[1]) for one in asked], dtype=torch.int64)} if shown else {}
        return {"present": present} | lines

    def forked(
        self,
        prompt: Prompt,
        answer: int,
        values: Mapping[str, Sequence[Any]],
        texts: Sequence[Sequence[str]],
        ends: bool,
        facts: Facts,
        shown: Mapping[_prompts.Shown, Sequence[bool]],
    ) -> dict[str, Tensor]:
        """Prompts with several texts behind each: as `prompted` gives them, with `branch` (B, L), 0 in the prompt and from 1 on the number of a text;
        of each of their tokens `at`, `says` and `text` (B, M), see `Fork.told`, -1 behind the last; and `size` (B, K), the bytes of each text, 0
        where there is none. Of an encoder-decoder the prompts alone, with `labels` (B, K, T), tokens of the texts, -1 behind them.

        Args:
            prompt, answer, values, facts, shown: as for `prompted`.
            texts: of each row.
            ends: whether texts have their end token.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        reader = self.prompts(prompt, answer, facts, tuple(shown))
        rows = [{name: cells.text(values[name][i]) for name in reader.names} for i in range(len(texts))]
        asked = reader.fork(rows, texts, ends)
        made = self.encode([one.row(reader.apart) for one in asked], facts)
        most = max(1, *(len(one.texts) for one in asked))
        size = torch.tensor([one.bytes + [0] * (most - len(one.bytes)) for one in asked], dtype=torch.int64)
        made |= {"size": size} | self._standing(reader, asked, values, shown, made["input_ids"].shape)
        if reader.apart:
            longest = max(1, *(len(text) for one in asked for text in one.texts)) if any(one.texts for one in asked) else 1
            padded = [[text + [-1] * (longest - len(text)) for text in one.texts] + [[-1] * longest] * (most - len(one.texts)) for one in asked]
            return made | {"labels": torch.tensor(padded, dtype=torch.int64)}
        told = pad_sequence([torch.tensor(one.told(), dtype=torch.int64).reshape(-1, 3) for one in asked], True, -1)
        lines = [[0] * len(one.ids) + [1 + number for number, text in enumerate(one.texts) for _ in text] for one in asked]
        branch = pad_sequence([torch.tensor(line) for line in lines], True, 0)
        return made | {"branch": branch} | dict(zip(("at", "says", "text"), told.unbind(2), strict=True))

    def tokens(self, texts: Sequence[str], facts: Facts) -> list[int]:
        """How many tokens each text has by itself, special ones left out; one at least."""
        words = self._read_by(facts["max_tokens"], facts)
        return [max(1, len(words.plain.encode(cells.sound(text), add_special_tokens=False).ids)) for text in texts]

    def windowed(
        self,
        question: Prompt,
        answer: int,
        values: Mapping[str, Sequence[Any]],
        texts: Sequence[str],
        spans: Sequence[Sequence[_windows.Span] | None],
        overlap: int,
        facts: Facts,
    ) -> dict[str, Tensor]:
        """Texts in overlapping windows, each with its row's question before it: `input_ids`, `attention_mask` and where the backbone has types
        `token_type_ids` (B, W, L); `start` and `stop` (B, W L), where each token of the text stands in it, -1 of others. Of answers: `pairs` (B, P,
        2), first and last token of each place where one stands, -1 for none; `spans` (B, G, 2), the answers, the first again for none, 0 where there
        is no answer; `answered` (B,), 1 where there is one, 0 where there is none, -1 where that is not known.

        Args:
            question: is filled with the values of a row.
            answer: tokens of an answer at most.
            values: by name in the question.
            texts: one a row.
            spans: of each row the parts of its text that answer the question; None where they are not known.
            overlap: tokens that windows share.
            facts: what this input learned.
        """
        import torch

        words, names = self._read_by(facts["max_tokens"], facts), question.body.names
        asked = [question.body.filled({name: cells.text(values[name][i]) for name in names})[0] for i in range(len(texts))]
        made, cut = _windows.windows(words, asked, texts, overlap)
        found = _windows.tensors(made, words.padding, self.backbone.architecture().types > 1) | _windows.answers(made, spans, answer)
        present = torch.tensor([bool(text) for text in texts], dtype=torch.bool)
        return found | {"present": present, "cut": torch.tensor(cut, dtype=torch.bool)}

    def _read_by(self, max_tokens: int, facts: Facts) -> _words.Words:
        return _words_of(self.backbone, max_tokens, facts.get(TOKENIZER), self.backbone.stamp())

    def _read(self, words: _words.Words, values: Sequence[Any], facts: Facts) -> list[_words.Row]:
        texts = ["" if value is None else cells.name(value) for value in values if not isinstance(value, _words.Row)]
        read = iter(words.firsts(texts, self.frame(facts)) if self.pieces and texts else words.read(texts))
        return [value if isinstance(value, _words.Row) else next(read) for value in values]

    def read(self, values: Sequence[Any], facts: Facts) -> list[Any]:
        """Of each text a `_words.Row`; not of texts that are read in pieces."""
        words = self._read_by(facts["max_tokens"], facts)
        rows = iter(words.read([cells.name(value) for value in values if value is not None]))
        return [None if value is None else next(rows).compact() for value in values]

    def size(self, value: Any) -> int:
        """About how many tokens: one for four bytes, which is near for English as for Chinese."""
        if self.several:
            return _several.size(self.one, value, self.most)
        if isinstance(value, _words.Row):
            return len(value.ids)
        start = cells.name(value)[: 4 * self.max_tokens]
        return 2 + min(self.max_tokens, len(start.encode("utf-8", "replace")) // 4)

    def encoder(self, facts: Facts) -> nn.Module:
        """A `TextReader` with the checkpoint's weights."""
        from omnitune.nn.readers import TextReader

        return TextReader(self.backbone.encoder(facts))

    def skeleton(self, facts: Facts) -> nn.Module:
        """A `TextReader` without them."""
        from omnitune.nn.readers import TextReader

        return TextReader(self.backbone.skeleton(facts))

    def example(self, n: int, rng: np.random.Generator) -> list[Any]:
        """Sentences of different lengths."""
        parts = ["the fabric is soft", "it shrank after one wash", "I bought two more", "too small for me", "a lovely colour", "sent it back"]
        return [f"Order {i}: {', '.join(rng.choice(parts, rng.integers(1, 6)))}." for i in range(n)]


class _Texts:
    """The texts of columns, as often as they are asked for."""

    def __init__(self, columns: Sequence[Sequence[Any]]) -> None:
        self.columns = columns

    def __iter__(self) -> Iterator[str]:
        return (cells.name(value) for values in self.columns for value in values if value is not None)


@cache
def _words_of(backbone: Backbone, max_tokens: int, learned: str | None, stamp: tuple[Any, ...]) -> _words.Words:
    """The tokenizer of the checkpoint, or the one that was `learned`, set up once as long as its files stay as they are."""
    return _words.Words(backbone.tokenizer(None if learned is None else {TOKENIZER: learned}), max_tokens)


@cache
def _prompts_of(
    backbone: Backbone, max_tokens: int, learned: str | None, stamp: tuple[Any, ...], prompt: Prompt, answer: int, shown: tuple[_prompts.Shown, ...]
) -> _prompts.Prompts:
    """The same for a prompt."""
    tokenizer = backbone.tokenizer(None if learned is None else {TOKENIZER: learned})
    return _prompts.Prompts(_words_of(backbone, max_tokens, learned, stamp), tokenizer, prompt, answer, backbone.architecture().decodes, shown)
