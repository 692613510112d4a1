"""What it costs to hold texts to something, a token, prompts read and all: SmolLM2 as it is, eight reviews at once, the likeliest token always.

python benchmarks/held.py [rounds]
"""

import json
import sys
from dataclasses import replace
from typing import Any

import torch
from _timing import interleaved, table

from omnitune import Control, Sampling
from omnitune.commands.check import check
from omnitune.data.prepared import prepare
from omnitune.nn.writing import Written
from omnitune.training.auto import resolve
from omnitune.training.device import best_device
from omnitune.training.model import Model
from omnitune.training.writing import Writing

ROWS, TOKENS = 8, 32
FORBIDDEN = """
abysmal appalling atrocious awful bad boring broken cheap crap damn dire disgusting dreadful fake foul garbage ghastly gross hate hell hideous
horrible idiot junk lame lousy mean miserable moron nasty nightmare pathetic poor rotten rubbish shoddy sick stupid terrible trash ugly vile worst
"""
SCHEMA = {
    "type": "object", "properties": {"colour": {"type": "string"}, "words": {"type": "array", "items": {"type": "string"}, "minItems": 20}},
    "required": ["colour", "words"],
}  # fmt: skip
HELD = {
    "as it is": None,
    "any text": Control(regex="(?s:.*)"),
    "words forbidden": Control(forbid=tuple(FORBIDDEN.split())),
    "a JSON schema": Control(json_schema=SCHEMA),
}


def writing() -> tuple[Writing, list[dict[str, Any]]]:
    """SmolLM2 asked about some reviews, and their rows."""
    recipe = check({
        "data": {"from": "sample:women-reviews#200"},
        "inputs": {"text": {"kind": "text", "backbone": "sample:smollm2-135m", "max_tokens": 160}},
        "tasks": {"said": {"kind": "generate", "of": "text", "prompt": "Review: {text}\nIn short:", "target": "title", "answer_tokens": TOKENS}},
    })  # fmt: skip
    prepared = prepare(recipe)
    recipe = recipe.replace(train=resolve(recipe, 100, best_device())[0])
    rows = [{"text": value} for value in prepared.table.take("text", range(len(prepared.table))) if value]
    return Writing(Model(recipe, prepared.schema).eval(), recipe, prepared.schema, "said"), rows[:ROWS]


def main(rounds: int) -> None:
    """Prints the table, then a line of JSON."""
    torch.set_num_threads(1)
    write, rows = writing()
    greedy, said = Sampling(TOKENS, 0), dict[str, list[Written]]()

    def case(name: str) -> Any:
        return lambda: said.update({name: write(rows, replace(greedy, control=HELD[name]))})

    taken = interleaved({name: case(name) for name in HELD}, rounds)
    steps = {name: max(len(one.tokens) for one in texts) for name, texts in said.items()}
    print(table({f"{name}, a token": [seconds / steps[name] for seconds in some] for name, some in taken.items()}))
    same = {name: sum(a.tokens == b.tokens for a, b in zip(texts, said["as it is"], strict=True)) for name, texts in said.items()}
    print(json.dumps({"steps": steps, "rows that are the same": same, "words": len(FORBIDDEN.split())}))
    print(json.dumps({name: texts[0].text for name, texts in said.items()}, ensure_ascii=False))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
