"""generate: texts that a trained language model writes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.errors import Mistake
from omnitune.nn.writing import Sampling, Writer, Written
from omnitune.tasks.generate import Generate

Tell = Callable[[str], None]


def generate(run: str | Path | Artifact, prompts: str | Sequence[str], sampling: Sampling | None = None, tell: Tell | None = None) -> list[str]:
    """The texts of `written`, which see."""
    return [one.text for one in written(run, prompts, sampling, tell)]


def written(run: str | Path | Artifact, prompts: str | Sequence[str], sampling: Sampling | None = None, tell: Tell | None = None) -> list[Written]:
    """What the model of `run` writes after each prompt, which is not repeated. A model with a prompt of its own is asked by `predict`; here it goes
    on from these words as they are.

    Args:
        run: a finished run with a task `generate`, or its folder.
        prompts: one or several; an empty one lets the model begin.
        sampling: how tokens are chosen, and what texts must be.
        tell: is given the text of a single prompt as it is written.

    Raises:
        Mistake: the run has no such task, a prompt has no tokens or leaves no room for more, a setting cannot be meant, or there is no
            room for what must be written.
    """
    artifact = run if isinstance(run, Artifact) else artifacts.load(run)
    of = next((task.of for task in artifact.recipe.tasks.values() if isinstance(task, Generate)), None)
    if of is None:
        raise Mistake(str(artifact.path), "no task of this run writes texts", "Train one with a task of kind: generate")
    writer = Writer(artifact.model.pretrained[of], artifact.recipe.inputs[of].backbone.tokenizer(artifact.schema.inputs[of]))
    sampling = sampling or Sampling()
    sampling.options(writer.tokenizer)
    rows = [_read(writer, i, prompt) for i, prompt in enumerate([prompts] if isinstance(prompts, str) else prompts, 1)]
    return writer.write(rows, sampling, tell)


def _read(writer: Writer, number: int, prompt: str) -> list[int]:
    """The tokens of a prompt, behind what the tokenizer begins a text with."""
    tokenizer: Any = writer.tokenizer
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole = tokenizer("a")["input_ids"]
    begin = next(whole[:i] for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
    ids: list[int] = tokenizer(prompt)["input_ids"] if writer.apart else begin + tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if not ids:
        raise Mistake(f"prompt {number}", "has no tokens, and this model has none to begin with", "Write something to go on from")
    if writer.limit is not None and len(ids) >= writer.limit:
        raise Mistake(f"prompt {number}", f"{len(ids):,} tokens leave no room in a context of {writer.limit:,}", "Shorten it")
    return ids
