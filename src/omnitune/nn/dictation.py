"""Dictation: what the decoder of a Whisper writes of what its encoder heard, by the `generate` of transformers.

Shape letters: B rows, L tokens of the encoder, P tokens of a start.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from transformers import LogitsProcessorList, WhisperTimeStampLogitsProcessor
from transformers.generation import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import BaseModelOutput

from omnitune.nn import checkpoints
from omnitune.nn.chances import drawing, likely
from omnitune.nn.edits import normalised
from omnitune.nn.encoder import Encoder
from omnitune.nn.scribe import Scribe, Window
from omnitune.nn.tokens import Tokens
from omnitune.nn.writing import Sampling, Written

TICK = 0.02
"""Seconds between the times that a token of Whisper can tell."""
SLACK = 1.5
"""Times as many words may lie in what two windows share as in other seconds."""
FASTEST = 15
"""Tokens that are written of a second at most, and as many more: nobody speaks so fast, and a decoder that repeats itself comes to an end."""


@dataclass(frozen=True)
class Said:
    """What a window says.

    Args:
        ids: its tokens, the end and times included.
        probabilities: of each; empty of several beams.
    """

    ids: list[int]
    probabilities: list[float]


class Dictation(Scribe):
    """Writes with the decoder behind an encoder of sounds.

    Args:
        encoder: whose decoder is there; in evaluation mode.
        tokenizer: of the same checkpoint.
        facts: see `Transcribe.learn_from`.
        timed: whether times are asked for.
        spaced: whether spaces part the words of the language.
    """

    def __init__(self, encoder: Encoder, tokenizer: Any, facts: dict[str, Any], timed: bool, spaced: bool) -> None:
        self.encoder, self.tokenizer, self.timed, self.spaced = encoder, tokenizer, timed, spaced
        self.end, self.first_time, self.most = facts["end"], facts["first_time"], facts["most"]
        self.start = facts["timed" if timed else "start"]
        whole = encoder.decode().whole
        start = self.start[0]
        whole.generation_config = GenerationConfig(decoder_start_token_id=start)  # that of its config.json would add tokens that are never first
        words = int(whole.config.vocab_size)
        special = set(range(self.end + 1, words)) - (set(range(self.first_time, words)) if timed else set())
        self.never, self.not_first = sorted(special | set(facts["never"])), facts["not_first"]

    @torch.inference_mode()
    def heard(self, tokens: Tokens, windows: Sequence[Window], sampling: Sampling) -> list[Said]:
        """See `Scribe.heard`."""
        decoder, rows = self.encoder.decode(), len(tokens.x_BLD)
        decoder.look(tokens.mask_BL)
        start_BP = torch.tensor([self.start] * rows, device=tokens.x_BLD.device)
        seconds = max(window.stop - window.start for window in windows)
        room = min(sampling.max_new_tokens, self.most - len(self.start), round(FASTEST * (seconds + 1)))
        options = sampling.options(self.tokenizer) | {"max_new_tokens": room, "eos_token_id": self.end, "pad_token_id": self.end}
        processors = LogitsProcessorList([self._times(options)] if self.timed else [])
        with checkpoints.quiet(), decoder.around(self.encoder.model) as whole, likely(whole) as chances, drawing(sampling.seed, tokens.x_BLD.device):
            config = GenerationConfig(**options, suppress_tokens=self.never, begin_suppress_tokens=self.not_first or None)
            read = BaseModelOutput(last_hidden_state=tokens.x_BLD)
            made = GenerationMixin.generate(
                whole, encoder_outputs=read, decoder_input_ids=start_BP, generation_config=config, logits_processor=processors
            )[:, len(self.start) :]
        chances_BL = chances(made) if sampling.num_beams == 1 else [[]] * rows
        return [self._ended(ids, found) for ids, found in zip(made.tolist(), chances_BL, strict=True)]

    def _times(self, options: dict[str, Any]) -> Any:
        """Keeps times in order and in pairs, as Whisper was trained to tell them."""
        config = GenerationConfig(**options)
        config.no_timestamps_token_id, config.max_initial_timestamp_index = self.first_time - 1, round(1 / TICK)
        return WhisperTimeStampLogitsProcessor(config, begin_index=len(self.start))

    def _ended(self, ids: list[int], chances: list[float]) -> Said:
        stop = ids.index(self.end) + 1 if self.end in ids else len(ids)
        return Said(ids[:stop], chances[:stop])

    def joined(self, parts: Sequence[tuple[Window, Said]]) -> Written:
        """See `Scribe.joined`. With times, each window tells what is its own; without, windows are joined where most words in a row are the same."""
        ids = [number for _, said in parts for number in said.ids]
        tokens = tuple(self.tokenizer.convert_ids_to_tokens(ids))
        chances = tuple(chance for _, said in parts for chance in said.probabilities)
        if self.timed:
            segments = _in_turn([segment for window, said in parts for segment in self._segments(window, said.ids)])
            return Written(self._together([text for _, _, text in segments]), tokens, chances, segments)
        words, last = list[str](), 0
        for window, said in parts:
            new = self._words(self._text(said.ids))
            share = window.overlap / max(window.stop - window.start, window.overlap)
            words, last = new if window.first else joined(words, new, ceil(SLACK * share * max(len(new), last)) + 2), len(new)
        return Written(self._together(words), tokens, chances)

    def _segments(self, window: Window, ids: list[int]) -> list[tuple[float, float, str]]:
        """Stretches between two times, those in the middle of which this window tells; one that is not ended ends with the window."""
        found, start, some = list[tuple[float, float, str]](), 0.0, list[int]()
        for number in [*ids, None]:
            if number is not None and number < self.first_time:
                some.append(number)
                continue
            time = window.stop - window.start if number is None else min((number - self.first_time) * TICK, window.stop - window.start)
            if text := self._text(some):
                found.append((round(window.start + start, 2), round(window.start + time, 2), text))
            start, some = time, []
        return [segment for segment in found if window.owns((segment[0] + segment[1]) / 2)]

    def _text(self, ids: Sequence[int]) -> str:
        text: str = self.tokenizer.decode([number for number in ids if number < self.end], skip_special_tokens=True)
        return text.strip()

    def _words(self, text: str) -> list[str]:
        return text.split() if self.spaced else list(text)

    def _together(self, words: Sequence[str]) -> str:
        return (" " if self.spaced else "").join(words)


def _in_turn(segments: Sequence[tuple[float, float, str]]) -> tuple[tuple[float, float, str], ...]:
    """Stretches of windows that share some seconds, none beginning before the one before it ends."""
    found, time = list[tuple[float, float, str]](), 0.0
    for start, stop, text in segments:
        time, start = max(time, stop), max(time, start)
        found.append((start, time, text))
    return tuple(found)


def joined(left: list[str], right: list[str], most: int) -> list[str]:
    """Words of two windows that share some: up to the middle of a run of words that is in both, then from there on. Of all runs it is the one that is
    longest and leaves out fewest words, those behind it in one window and before it in the other, each counting half; where none is worth that,
    all of both.

    Args:
        left, right: words, in their order.
        most: that lie in what they share.
    """
    before, ahead = ([normalised(word) for word in words] for words in (left[max(0, len(left) - most) :] if most else [], right[:most]))
    best, here = (0.0, 0, 0, 0), np.zeros(len(ahead) + 1, np.int64)
    for place, word in enumerate(before, 1):
        here[1:] = np.where(np.array([bool(word) and word == other for other in ahead], bool), here[:-1] + 1, 0)
        for stop in np.flatnonzero(here).tolist():
            size = int(here[stop])
            worth = size - (len(before) - place + stop - size) / 2
            best = max(best, (worth, size, place, stop))
    _, size, place, stop = best
    half = size // 2
    return left[: len(left) - len(before) + place - half] + right[stop - half :] if size else left + right
