"""generate: texts that a trained language model writes."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.errors import Mistake
from omnitune.modalities.text import Text
from omnitune.nn import checkpoints
from omnitune.nn.encoder import Encoder
from omnitune.tasks.generate import Generate

Tell = Callable[[str], None]


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
        seed: of the draws.
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

    def options(self, tokenizer: Any) -> dict[str, Any]:
        """For `generate` of transformers. Raises one `Mistake` for all values that cannot be meant."""
        self._check()
        chosen = {k: v for k, v in asdict(self).items() if k not in ("seed", "stop_strings", "temperature")}
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


def generate(run: str | Path | Artifact, prompts: str | Sequence[str], sampling: Sampling | None = None, tell: Tell | None = None) -> list[str]:
    """What the model of `run` writes after each prompt, which is not repeated.

    Args:
        run: a finished run with a task `generate`, or its folder.
        prompts: one or several; an empty one lets the model begin.
        sampling: how tokens are chosen.
        tell: is given the text of a single prompt as it is written.

    Raises:
        Mistake: the run has no such task, a prompt has no tokens or leaves no room for more, or a setting cannot be meant.
    """
    artifact = run if isinstance(run, Artifact) else artifacts.load(run)
    writer = Writer(artifact)
    return writer.write([prompts] if isinstance(prompts, str) else list(prompts), sampling or Sampling(), tell)


class Writer:
    """The language model inside an artifact, as transformers generates with it.

    Args:
        artifact: with a task `generate`.
    """

    def __init__(self, artifact: Artifact) -> None:
        of = next((task.of for task in artifact.recipe.tasks.values() if isinstance(task, Generate)), None)
        if of is None:
            raise Mistake(str(artifact.path), "no task of this run writes texts", "Train one with a task of kind: generate")
        modality: Any = artifact.recipe.inputs[of]
        assert isinstance(modality, Text)
        self.tokenizer = _tokenizer(artifact, of)
        self.model = _speaking(artifact.model.backbones[of])
        self.limit = None if artifact.model.backbones[of].remembers else int(self.tokenizer.model_max_length)
        self.caches = getattr(self.model.config, "remembers", True)  # a Transformer-XL without a memory reads the whole text for each token
        self.unknown = sorted(set(range(self.model.config.vocab_size)) - set(self.tokenizer.get_vocab().values()))
        """Rows of the table that are no word, there to make its size a round number."""

    @torch.inference_mode()
    def write(self, prompts: list[str], sampling: Sampling, tell: Tell | None) -> list[str]:
        """See `generate`."""
        options = sampling.options(self.tokenizer)
        rows = [self._read(i, prompt) for i, prompt in enumerate(prompts, 1)]
        if not rows:
            return []
        longest = max(map(len, rows))
        pad, device = self.tokenizer.pad_token_id, self.model.device
        ids_BL = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], device=device)
        mask_BL = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
        options |= {"use_cache": self.caches, "suppress_tokens": self.unknown or None}
        options["max_new_tokens"] = sampling.max_new_tokens if self.limit is None else min(sampling.max_new_tokens, self.limit - longest)
        streamer = _Told(self.tokenizer, tell) if tell and len(rows) == 1 and sampling.num_beams == 1 else None
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), checkpoints.quiet():
            torch.manual_seed(sampling.seed)
            made_BL = self.model.generate(ids_BL, attention_mask=mask_BL, pad_token_id=pad, streamer=streamer, **options)
        written: list[str] = self.tokenizer.batch_decode(made_BL[:, longest:], skip_special_tokens=True)
        return written

    def _read(self, number: int, prompt: str) -> list[int]:
        """The tokens of a prompt, behind what the tokenizer begins a text with."""
        plain = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        whole = self.tokenizer("a")["input_ids"]
        begin = next(whole[:i] for i in range(len(whole)) if whole[i : i + len(plain)] == plain)
        ids: list[int] = begin + self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        if not ids:
            raise Mistake(f"prompt {number}", "has no tokens, and this model has none to begin with", "Write something to go on from")
        if self.limit is not None and len(ids) >= self.limit:
            raise Mistake(f"prompt {number}", f"{len(ids):,} tokens leave no room in a context of {self.limit:,}", "Shorten it")
        return ids


def _tokenizer(artifact: Artifact, of: str) -> Any:
    return artifact.recipe.inputs[of].backbone.tokenizer(artifact.schema.inputs[of])


def _speaking(encoder: Encoder) -> Any:
    """The model inside `encoder` with the layers that say words."""
    from transformers import AutoModelForCausalLM

    base = encoder.model
    base.set_attn_implementation("sdpa")
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


class _Told:
    """Hands over text as it becomes certain, in the form that transformers wants of a streamer."""

    def __init__(self, tokenizer: Any, tell: Tell) -> None:
        from transformers import TextStreamer

        class Streamer(TextStreamer):  # type: ignore[misc]
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                tell(text)

        self.streamer = Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)

    def put(self, value: Any) -> None:
        """Takes new tokens."""
        self.streamer.put(value)

    def end(self) -> None:
        """Hands over the rest."""
        self.streamer.end()
