"""Refill: many texts written at once; one that is done leaves, and the next prompt takes its place.

`generate` of transformers goes on with a batch until its longest text is done: slots whose texts are done are computed all the same. Here they are
given away (Orca: Yu et al. 2022, https://www.usenix.org/conference/osdi22/presentation/yu).

Shape letters: B texts, L tokens of the longest prompt, V vocabulary.
"""

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from omnitune.nn.slots import Slots

SLOTS = 16
"""Texts at once."""
SHARE = 4
"""One slot of so many is to be free before prompts are read into them: reading a few together costs less than each alone, waiting slots cost more."""
TAKES = {"input_ids", "attention_mask", "position_ids", "past_key_values", "use_cache", "logits_to_keep"}
SETTLED = {
    "_from_model_config", "transformers_version", "bos_token_id", "eos_token_id", "pad_token_id", "do_sample", "temperature", "top_k", "top_p",
    "repetition_penalty", "num_beams", "max_length", "max_new_tokens", "use_cache", "output_attentions", "output_hidden_states",
}  # fmt: skip
"""Settings of a checkpoint's `generate` that `Sampling` and the writer say themselves, or that change no token."""


def fits(model: Any) -> bool:
    """Whether the texts of a language model can be written so: it keeps the keys and values of every token in every block (no window that slides, no
    state that recurs, none shared), is told places and what is seen, and its checkpoint asks nothing else of `generate`. All others are written by
    `generate` itself."""
    takes = inspect.signature(model.forward).parameters.keys() >= TAKES
    if not takes or model.config.is_encoder_decoder or not _asked(model.generation_config) <= SETTLED:
        return False
    layers = DynamicCache(config=model.config).layers
    return bool(layers) and all(type(layer) is DynamicLayer for layer in layers)


def _asked(config: Any) -> set[str]:
    return {name for name, value in config.to_diff_dict().items() if value is not None}


@dataclass
class Text:
    """That is being written.

    Args:
        number: among those of a call.
        prompt: its tokens, one at least.
        room: tokens that are written at most, one at least.
        written: tokens so far, the end included.
        chances: how likely each was.
    """

    number: int
    prompt: Sequence[int]
    room: int
    written: list[int] = field(default_factory=list)
    chances: list[float] = field(default_factory=list)


Choose = Callable[[Sequence[Text], Tensor], tuple[list[int], list[float]]]
"""The next token of each text and how likely it is, from logits (B, V) float32."""


class Refill:
    """Writes texts with a model that `fits`, in evaluation mode and without gradients.

    Args:
        model: of transformers, with its language head.
        choose: the next tokens.
        over: whether a text is done that has got a token.
        pad: any token, for places that nobody sees.
        slots: texts at once.
    """

    def __init__(self, model: Any, choose: Choose, over: Callable[[Text], bool], pad: int, slots: int = SLOTS) -> None:
        self.model, self.choose, self.over, self.pad, self.most = model, choose, over, pad, slots
        self.device = model.get_input_embeddings().weight.device

    def __call__(self, texts: Sequence[Text]) -> None:
        """Writes these to their ends; the longest prompts first, so that no text that is there has to make room for a longer one."""
        assert all(text.prompt and text.room > 0 for text in texts), "each has a prompt, and room for more"
        self.waiting = deque(sorted(texts, key=lambda text: -len(text.prompt)))
        self.live: list[Text | None] = [None] * min(self.most, len(texts))
        self.slots = Slots(len(self.live), len(DynamicCache(config=self.model.config).layers))
        while self.waiting or any(self.live):
            free, there = self.slots.free, len(self.live)
            if self.waiting and (len(free) * SHARE >= there or len(free) >= len(self.waiting)):
                self._join(free)
            elif not self.waiting and len(free) * SHARE >= there:
                self._shrink()
            if any(self.live):
                self._step()

    def _join(self, free: Sequence[int]) -> None:
        """Prompts are read into free slots, and have their first token."""
        new = [self.waiting.popleft() for _ in free[: len(self.waiting)]]
        lengths, slots = [len(text.prompt) for text in new], free[: len(new)]
        lacks = [lengths[0] - length for length in lengths]
        ids_BL = torch.tensor([[self.pad] * lack + list(text.prompt) for lack, text in zip(lacks, new, strict=True)])
        mask_BL = (torch.arange(lengths[0]) >= torch.tensor(lacks)[:, None]).long()
        read = DynamicCache(config=self.model.config)
        logits_BV = self._logits(ids_BL, mask_BL, (mask_BL.cumsum(1) - 1).clamp(min=0), read)
        self.slots.join(slots, lengths, read)
        self._write(dict(zip(slots, new, strict=True)), logits_BV)

    def _shrink(self) -> None:
        """Without slots that stay free."""
        kept = [slot for slot, text in enumerate(self.live) if text is not None]
        self.slots.keep(kept)
        self.live = [self.live[slot] for slot in kept]

    def _step(self) -> None:
        """A token more for every text."""
        there = {slot: text for slot, text in enumerate(self.live) if text is not None}
        ids_S1 = torch.full((len(self.live), 1), self.pad)
        ids_S1[list(there), 0] = torch.tensor([text.written[-1] for text in there.values()])
        seen, place_S1 = self.slots.ready()
        logits_SV = self._logits(ids_S1, seen, place_S1, self.slots)
        self.slots.stepped()
        self._write(there, logits_SV[torch.tensor(list(there), device=logits_SV.device)])

    def _logits(self, ids: Tensor, mask: Tensor, places: Tensor, cache: Any) -> Tensor:
        """Of the token behind the last, (B, V) float32."""
        ids, mask, places = (tensor.to(self.device) for tensor in (ids, mask, places))
        out = self.model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True, logits_to_keep=1)
        made: Tensor = out.logits[:, -1].float()
        return made

    def _write(self, texts: dict[int, Text], logits_BV: Tensor) -> None:
        """Texts by their slots get a token each; those that are done leave."""
        for (slot, text), token, chance in zip(texts.items(), *self.choose(list(texts.values()), logits_BV), strict=True):
            text.written.append(token)
            text.chances.append(chance)
            done = self.over(text) or len(text.written) == text.room
            self.live[slot] = None if done else text
        self.slots.leave([slot for slot in texts if self.live[slot] is None])
