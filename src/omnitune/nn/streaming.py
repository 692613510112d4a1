"""Streaming: a text handed over as it is written."""

from collections.abc import Callable
from typing import Any

Tell = Callable[[str], None]


def streamer(tokenizer: Any, tell: Tell) -> Any:
    """What `generate` of transformers takes: `tell` is given the text as it becomes certain."""
    from transformers import TextStreamer

    class Streamer(TextStreamer):  # type: ignore[misc]
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            tell(text)

    return Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
