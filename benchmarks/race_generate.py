"""Race: texts are gone on with to the end of a sentence, greedily, by a language model of 135 million weights.

The limit is the roofline of the work that must be done: products of prompts and of tokens by the matmul peak, but no less than a reading of all
weights for every sixteen tokens, by the bandwidth of memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from flops import Shape, peak
from races import Done, Race, Side, bandwidth, timed
from transformers import AutoModelForCausalLM, AutoTokenizer

from omnitune import samples
from omnitune.data.prepared import prepare
from omnitune.data.table import read as read_table
from omnitune.nn.writing import Sampling, Writer
from omnitune.recipe import read
from omnitune.training.model import Model

BATCH = 16
SHARE = 3
"""A prompt is the title and one of so many words of the review."""
FLOAT = 4


@dataclass(frozen=True)
class Size:
    """How much is written.

    Args:
        backbone: a sample or a folder.
        prompts: that are gone on with.
        tokens: of each at most.
    """

    backbone: str = "sample:smollm2-135m"
    prompts: int = 64
    tokens: int = 48

    @property
    def folder(self) -> str:
        """Of the backbone."""
        name = self.backbone.removeprefix("sample:")
        return str(samples.path(name)) if name != self.backbone else name


def race(size: Size) -> Race:
    """Sixteen texts at once on all sides."""
    tokenizer = AutoTokenizer.from_pretrained(size.folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = prompts(tokenizer, size.prompts)
    ends = sorted({tokenizer.eos_token_id} | {i for word, i in tokenizer.get_vocab().items() if word in (".", "!", "?", ".\u010a")})
    model = theirs(size, ends)
    ordered = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
    sides: dict[str, Side] = {
        "omnitune": ours(size, rows, ends),
        "generate in batches": lambda: timed(lambda: batches(model, tokenizer, rows, list(range(len(rows))), size)),
        "generate in batches, sorted by length": lambda: timed(lambda: batches(model, tokenizer, rows, ordered, size)),
    }
    lengths = [len(row) for row in rows]
    what = f"generate: {size.prompts} prompts of {min(lengths)} to {max(lengths)} tokens, up to {size.tokens} more each"
    return Race(what, "tokens", limit(model, rows, batches(model, tokenizer, rows, ordered, size)), sides)


def prompts(tokenizer: Any, number: int) -> list[list[int]]:
    """The beginnings of reviews, as tokens."""
    table = read_table(f"sample:women-reviews#{8 * number}")
    titles, texts = (table.take(name, range(len(table))) for name in ("title", "text"))
    pairs = [(title, text.split()) for title, text in zip(titles, texts, strict=True) if title and text][:number]
    return [tokenizer(f"{title}: {' '.join(words[: len(words) // SHARE])}")["input_ids"] for title, words in pairs]


def ours(size: Size, rows: Sequence[Sequence[int]], ends: list[int]) -> Side:
    """As `omnitune generate` writes them."""
    text = {"kind": "text", "backbone": size.backbone, "max_tokens": 64}
    recipe = read(
        {
            "data": {"from": [{"text": f"text {i}"} for i in range(40)]},
            "inputs": {"text": text},
            "tasks": {"language": {"kind": "generate", "of": "text"}},
        }
    )
    prepared = prepare(recipe)
    model = Model(prepared.recipe, prepared.schema).eval()
    writer = Writer(model.pretrained["text"], recipe.inputs["text"].backbone.tokenizer(prepared.schema.inputs["text"]))
    writer.model.generation_config.eos_token_id = ends
    assert writer.refills

    def run() -> Done:
        said = writer.write(rows, Sampling(max_new_tokens=size.tokens, temperature=0))
        return Done(sum(len(one.tokens) for one in said), 0, tuple(one.text for one in said))

    return lambda: timed(run)


def theirs(size: Size, ends: list[int]) -> Any:
    """The model of transformers."""
    model = AutoModelForCausalLM.from_pretrained(size.folder, dtype=torch.float32, attn_implementation="sdpa").eval()
    model.generation_config.eos_token_id = ends
    return model


@torch.inference_mode()
def batches(model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], order: list[int], size: Size) -> Done:
    """What `generate` makes of prompts in this order, sixteen at a time; tokens behind an end do not count."""
    said, tokens, ends = {}, 0, set(model.generation_config.eos_token_id)
    for start in range(0, len(order), BATCH):
        some = order[start : start + BATCH]
        read = tokenizer.pad({"input_ids": [rows[i] for i in some]}, padding_side="left", return_tensors="pt")
        made = model.generate(**read, max_new_tokens=size.tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        for i, ids in zip(some, made[:, read["input_ids"].shape[1] :].tolist(), strict=True):
            ids = ids[: next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))]
            said[i], tokens = tokenizer.decode(ids, skip_special_tokens=True), tokens + len(ids)
    return Done(tokens, 0, tuple(said[i] for i in range(len(rows))))


def limit(model: Any, rows: Sequence[Sequence[int]], done: Done) -> float:
    """Tokens a second: see above."""
    shape, best = Shape.of(model.config), peak()
    token = shape.blocks * shape.linear(1) + 2.0 * shape.width * model.config.vocab_size
    prompt = sum(shape.forward(len(row)) for row in rows) / best
    weights = FLOAT * sum(p.numel() for p in model.parameters()) / bandwidth()
    return done.amount / (prompt + max(done.amount * token / best, done.amount / BATCH * weights))
