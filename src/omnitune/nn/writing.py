"""Writing: texts that the language model inside an encoder writes, by `refill`, or by the `generate` of transformers.

Shape letters: B rows, L tokens of the longest prompt, V vocabulary.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from omnitune.errors import Mistake
from omnitune.nn import checkpoints, inlay
from omnitune.nn.chances import drawing, likely
from omnitune.nn.choosing import Choosing, Over
from omnitune.nn.control import Control
from omnitune.nn.decoder import Decoder
from omnitune.nn.encoder import Encoder
from omnitune.nn.parsing import parsed, python
from omnitune.nn.refill import Refill, Text, fits
from omnitune.nn.streaming import Tell, streamed, streamer

if TYPE_CHECKING:
    from omnitune.nn.guide import Guide

WARM, APART = 0.8, 7919
"""How texts are drawn again that do not parse: the temperature where the likeliest token was taken, and how far seeds lie apart."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; the words are those of transformers.

    Args:
        max_new_tokens: written at most, and no more than the model's context holds; one that remembers (Transformer-XL) has no end to it.
        temperature: divides the logits; 0 takes the likeliest token always.
        top_k: choose among so many of the likeliest; 0 among all.
        top_p: among the likeliest that hold this share of the probability (Holtzman et al. 2020, https://arxiv.org/abs/1904.09751).
        min_p: among those at least so likely as this share of the likeliest (Nguyen et al. 2024, https://arxiv.org/abs/2407.01082).
        repetition_penalty: divides the logits of tokens that are there already (Keskar et al. 2019); 1 changes nothing.
        num_beams: texts that are followed at once.
        stop_strings: texts at which to stop.
        seed: of the draws; a text's are its own, whatever is written beside it, but where `generate` of transformers writes all at once.
        control: what texts must be; what the recipe says of the task where it is left out.
    """

    max_new_tokens: int = 100
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    num_beams: int = 1
    stop_strings: tuple[str, ...] = ()
    seed: int = 0
    control: Control | None = None

    def options(self, tokenizer: Any) -> dict[str, Any]:
        """For `generate` of transformers. Raises one `Mistake` for all values that cannot be meant."""
        self._check()
        chosen = {k: v for k, v in asdict(self).items() if k not in ("seed", "stop_strings", "temperature", "control")}
        stops = {"stop_strings": list(self.stop_strings), "tokenizer": tokenizer} if self.stop_strings else {}
        if not self.temperature:
            chosen = {k: v for k, v in chosen.items() if k not in ("top_k", "top_p", "min_p")} | {"do_sample": False}
            return chosen | stops
        return chosen | {"do_sample": True, "temperature": self.temperature, "min_p": self.min_p or None} | stops

    def _check(self) -> None:
        fits = {
            "max_new_tokens": self.max_new_tokens >= 1, "temperature": self.temperature >= 0, "top_k": self.top_k >= 0, "top_p": 0 < self.top_p <= 1,
            "min_p": 0 <= self.min_p <= 1, "repetition_penalty": self.repetition_penalty > 0, "num_beams": self.num_beams >= 1,
            "stop_strings": all(self.stop_strings),
        }  # fmt: skip
        wrong = [
            Mistake(name, f"{getattr(self, name)!r} cannot be meant", "See `omnitune generate --help`") for name, fine in fits.items() if not fine
        ]
        if wrong:
            raise Mistake.together(wrong)


@dataclass(frozen=True)
class Written:
    """One text.

    Args:
        text: without special tokens.
        tokens: each as the tokenizer spells it, the end too where there is one.
        probabilities: of each, by the model as it is: before temperature and all that narrows the choice. Empty of several beams.
        segments: of speech, the first and last second of each stretch and its text; None where no times are told.
        meets: whether it is what a `Control` says; None where there is none.
    """

    text: str
    tokens: tuple[str, ...]
    probabilities: tuple[float, ...]
    segments: tuple[tuple[float, float, str], ...] | None = None
    meets: bool | None = None


class Writer:
    """The language model inside an encoder.

    Args:
        encoder: a decoder, or the encoder of an encoder-decoder whose own is there; in evaluation mode while it writes.
        tokenizer: of the same checkpoint.
        end: the token that ends a text; None for what the checkpoint says.
    """

    def __init__(self, encoder: Encoder, tokenizer: Any, end: int | None = None) -> None:
        self.encoder, self.tokenizer, self.end = encoder, tokenizer, end
        self.apart = isinstance(encoder.lm_head, Decoder)
        self.model = encoder.decode().whole if self.apart else _speaking(encoder)
        self.limit = None if encoder.remembers else int(tokenizer.model_max_length)
        self.caches = getattr(self.model.config, "remembers", True)  # a Transformer-XL without a memory reads the whole text for each token
        self.unknown = sorted(set(range(self.model.config.vocab_size)) - set(tokenizer.get_vocab().values()))
        """Rows of the table that are no word, there to make its size a round number."""
        self.refills = not self.apart and self.limit is not None and self.caches and fits(self.model)
        """Whether prompts take the places of texts that are done; of several beams they never do."""

    def write(
        self,
        rows: Sequence[Sequence[int]],
        sampling: Sampling,
        tell: Tell | None = None,
        vectors: Tensor | None = None,
        numbers: Sequence[int] | None = None,
    ) -> list[Written]:
        """What follows each of these rows of tokens, each of one at least; `tell` is given a single text as it is written, or once it is kept.
        Numbers beyond words stand for `vectors` (K, D), see `inlay`. Their draws are told apart by `numbers`, from 0 on
        where they are left out."""
        control, numbered = sampling.control, list(zip(range(len(rows)) if numbers is None else numbers, rows, strict=True))
        if control is None or control.parses is None:
            return self._once(numbered, sampling, tell, vectors)
        warm = replace(sampling, temperature=sampling.temperature or WARM, num_beams=1)
        tries = [sampling, *(replace(warm, seed=sampling.seed + number * APART) for number in range(1, control.tries))]
        made = parsed(lambda some, number: self._once(some, tries[number], None, vectors), numbered, control.tries, lambda one: one.meets is True)
        if tell and len(made) == 1:
            tell(made[0].text)
        return made

    @torch.inference_mode()
    def _once(self, rows: Sequence[tuple[int, Sequence[int]]], sampling: Sampling, tell: Tell | None, vectors: Tensor | None) -> list[Written]:
        sampling.options(self.tokenizer)
        if not rows:
            return []
        numbers, prompts = [number for number, _ in rows], [row for _, row in rows]
        if self.refills and sampling.num_beams == 1:
            return self._refilled(prompts, numbers, sampling, tell, vectors)
        return self._generated(prompts, replace(sampling, seed=sampling.seed + numbers[0]), tell, vectors)

    def _refilled(
        self, rows: Sequence[Sequence[int]], numbers: Sequence[int], sampling: Sampling, tell: Tell | None, vectors: Tensor | None
    ) -> list[Written]:
        """Each as long as its own prompt leaves room for."""
        assert self.limit is not None
        texts = [Text(i, row, min(sampling.max_new_tokens, self.limit - len(row))) for i, row in enumerate(rows)]
        guide = self._guide(sampling, 0, [text.room for text in texts])
        over = Over(self._ends(), sampling.stop_strings, self.tokenizer)
        stream = streamed(self.tokenizer, tell, over) if tell and len(rows) == 1 else over
        with self._alone(sampling.seed), inlay.reading(self.encoder.model, vectors):
            Refill(self.model, Choosing(sampling, numbers, self.unknown, guide), stream, self.tokenizer.pad_token_id)(texts)
        return [self._written(text.written, text.chances, guide, sampling.control) for text in texts]

    def _generated(self, rows: Sequence[Sequence[int]], sampling: Sampling, tell: Tell | None, vectors: Tensor | None) -> list[Written]:
        """All as long as the longest prompt leaves room for, by transformers."""
        options = sampling.options(self.tokenizer)
        longest, device = max(map(len, rows)), self.encoder.model.device
        ids_BL, mask_BL = (torch.tensor(padded, device=device) for padded in _padded(rows, longest, self.tokenizer.pad_token_id, self.apart))
        start, read = (1, 0) if self.apart else (longest, longest)
        room = sampling.max_new_tokens if self.limit is None else min(sampling.max_new_tokens, self.limit - read)
        options |= {"use_cache": self.caches, "suppress_tokens": self.unknown or None, "max_new_tokens": room}
        options |= {} if self.end is None else {"eos_token_id": self.end}
        options |= {"streamer": streamer(self.tokenizer, tell)} if tell and len(rows) == 1 and sampling.num_beams == 1 else {}
        guide = self._guide(sampling, start, [room] * len(rows))
        penalty = None if vectors is None else inlay.Repetition(options.pop("repetition_penalty"))
        options |= {"logits_processor": [one for one in (penalty, guide) if one is not None]}
        with self._alone(sampling.seed), likely(self.model) as chances, inlay.reading(self.encoder.model, vectors):
            made_BL = self.model.generate(ids_BL, attention_mask=mask_BL, pad_token_id=self.tokenizer.pad_token_id, **options)[:, start:]
        chances_BL = chances(made_BL) if sampling.num_beams == 1 else [[]] * len(rows)
        return [self._written(row, some, guide, sampling.control) for row, some in zip(made_BL.tolist(), chances_BL, strict=True)]

    def _guide(self, sampling: Sampling, start: int, rooms: Sequence[int]) -> "Guide | None":
        """What holds texts to their `Control`; None where there is nothing to hold to."""
        control = sampling.control
        if control is None or not (control.grammar or control.min_tokens):
            return None
        from omnitune.nn.guide import Guide

        return Guide(control, self._signs, sorted(self._ends()), start, rooms, sampling.num_beams)

    @cached_property
    def _signs(self) -> Any:
        from omnitune.nn.signs import signs

        return signs(self.tokenizer, self.model.config.vocab_size, sorted(self._ends()))

    def _written(self, ids: list[int], likely: list[float], guide: "Guide | None", control: Control | None) -> Written:
        """The text of one row, up to its end."""
        ends = self._ends()
        stop = next((place + 1 for place, number in enumerate(ids) if number in ends), len(ids))
        text: str = self.tokenizer.decode(ids[:stop], skip_special_tokens=True)
        tokens = tuple(self.tokenizer.convert_ids_to_tokens(ids[:stop]))
        meets = None if control is None else (guide is None or guide.meets(ids[:stop])) and (control.parses is None or python(text))
        return Written(text, tokens, tuple(likely[:stop]), meets=meets)

    def _ends(self) -> set[int]:
        found = self.model.generation_config.eos_token_id if self.end is None else self.end
        return set(found) if isinstance(found, list) else {found}

    @contextmanager
    def _alone(self, seed: int) -> Iterator[None]:
        """Draws of its own, transformers' own attention, evaluation mode; then all is as it was."""
        base, device = self.encoder.model, self.encoder.model.device
        attention, training = base.config._attn_implementation, self.encoder.training
        base.set_attn_implementation("sdpa")
        self.encoder.eval()
        try:
            with drawing(seed, device), checkpoints.quiet(), self._whole():
                yield
        finally:
            base.set_attn_implementation(attention)
            self.encoder.train(training)

    def _whole(self) -> AbstractContextManager[Any]:
        """Meanwhile, `model` is one that `generate` of transformers takes."""
        head = self.encoder.lm_head
        return head.around(self.encoder.model) if isinstance(head, Decoder) else nullcontext()


def _padded(rows: Sequence[Sequence[int]], longest: int, pad: int, right: bool) -> tuple[list[list[int]], list[list[int]]]:
    """Rows and their masks, padded to the longest, on the left or on the right."""
    lacks = [longest - len(row) for row in rows]
    if right:
        ids = [list(row) + [pad] * lack for lack, row in zip(lacks, rows, strict=True)]
        return ids, [[1] * (longest - lack) + [0] * lack for lack in lacks]
    return [[pad] * lack + list(row) for lack, row in zip(lacks, rows, strict=True)], [[0] * lack + [1] * (longest - lack) for lack in lacks]


def _speaking(encoder: Encoder) -> Any:
    """The model inside `encoder` with the layers that say words."""
    from transformers import AutoModelForCausalLM

    base = encoder.model
    if (head := encoder.speak()) is not None:
        return head.assemble(base)
    config = base.config
    config.tie_word_embeddings = True
    with torch.device("meta"):
        made: Any = AutoModelForCausalLM.from_config(config)
    setattr(made, made.base_model_prefix, base)
    if made.get_output_embeddings() is not None:  # a Transformer-XL has none, and says words by its table itself
        made.get_output_embeddings().weight = base.get_input_embeddings().weight
    return made.eval()
