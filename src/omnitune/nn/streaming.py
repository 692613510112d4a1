"""Streaming: a text handed over as it is written."""

from collections.abc import Callable
from typing import Any

import torch

from omnitune.nn.refill import Text

Tell = Callable[[str], None]


def streamer(tokenizer: Any, tell: Tell) -> Any:
    """What `generate` of transformers takes: `tell` is given the text as it becomes certain."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc]
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            tell(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)


def streamed(tokenizer: Any, tell: Tell, over: Callable[[Text], bool]) -> Callable[[Text], bool]:
    """For `Refill` what `over` is, whether a text is done; on the way `tell` is given it as it becomes certain."""
    stream = streamer(tokenizer, tell)
    stream.put(torch.zeros(1, dtype=torch.int64))  # in the place of the prompt, which is skipped

    def look(text: Text) -> bool:
        stream.put(torch.tensor(text.written[-1:]))
        done = over(text)
        if done or len(text.written) == text.room:
            stream.end()
        return done

    return look
