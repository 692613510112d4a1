"""What SmolLM2 writes for small Python problems, run against tests: before and after learning from other ones. Runs code that a model writes.

python benchmarks/solve.py [tries]
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omnitune import Control, Sampling, fit, solve
from omnitune.commands.check import check

NAMES = ("add", "minus", "times", "larger", "smaller", "mean", "power", "rest", "distance", "both")
OF_TWO = ("a + b", "a - b", "a * b", "max(a, b)", "min(a, b)", "(a + b) / 2", "a ** b", "a % b", "abs(a - b)", "[a, b]")
WORDS = (
    "the sum of a and b", "a minus b", "the product of a and b", "the larger of a and b", "the smaller of a and b", "the mean of a and b",
    "a to the power of b", "the rest of a divided by b", "the distance between a and b", "a list of a and b",
)  # fmt: skip
OF_ONE = {
    "double": ("x * 2", "twice x"), "square": ("x * x", "x squared"), "half": ("x / 2", "half of x"), "is_even": ("x % 2 == 0", "whether x is even"),
    "is_odd": ("x % 2 == 1", "whether x is odd"), "next_one": ("x + 1", "x plus one"), "negative": ("-x", "x with its sign changed"),
    "cube": ("x ** 3", "x to the power of three"), "is_positive": ("x > 0", "whether x is above zero"), "as_text": ("str(x)", "x as a string"),
    "last_digit": ("x % 10", "the last digit of x"), "absolute": ("abs(x)", "the absolute value of x"),
}  # fmt: skip
OF_LISTS = {
    "total": ("sum(x)", "the sum of the list x"),
    "count": ("len(x)", "how many items the list x has"),
    "first": ("x[0]", "the first item of the list x"),
    "last": ("x[-1]", "the last item of the list x"),
    "backwards": ("x[::-1]", "the list x in reverse order"),
    "ordered": ("sorted(x)", "the list x, sorted"),
    "largest": ("max(x)", "the largest item of the list x"),
    "smallest": ("min(x)", "the smallest item of the list x"),
    "unique": ("set(x)", "the set of items in x"),
    "middle": ("x[len(x) // 2]", "the item in the middle of the list x"),
}
PROMPT = '{head}    """Return {what}."""\n'
TASK = {"kind": "generate", "of": "what", "prompt": PROMPT, "target": "code", "answer_tokens": 24, "samples": 0}


def problems() -> Iterator[dict[str, str]]:
    """32 functions, each with what it is to return and three tests."""
    for name, body, words in zip(NAMES, OF_TWO, WORDS, strict=True):
        yield _problem(name, "a, b", body, words, [(7, 3), (2, 5), (4, 4)])
    for some, given in ((OF_ONE, [(8,), (3,), (26,)]), (OF_LISTS, [([3, 1, 2],), ([5],), ([4, 4, 9, 0],)])):
        for name, (body, words) in some.items():
            yield _problem(name, "x", body, words, given)


def _problem(name: str, arguments: str, body: str, words: str, given: list[tuple[Any, ...]]) -> dict[str, str]:
    right = eval(f"lambda {arguments}: {body}")
    tests = "\n".join(f"assert {name}({', '.join(map(repr, some))}) == {right(*some)!r}" for some in given)
    return {"head": f"def {name}({arguments}):\n", "what": words, "code": f"    return {body}", "tests": tests}


def main(tries: int) -> None:
    """Prints a line of JSON for the model with hardly any training, and for the trained one; both on the test rows."""
    rows = [row | {"part": ("test", "train", "train", "validation")[i % 4] if i % 8 != 7 else "train"} for i, row in enumerate(problems())]
    with tempfile.TemporaryDirectory() as folder:
        for part in ("train", "validation", "test"):
            place = Path(folder, "data", part)
            place.parent.mkdir(exist_ok=True)
            place.with_suffix(".jsonl").write_text("\n".join(json.dumps(row) for row in rows if row["part"] == part))
        for name, lr in (("before", 1e-12), ("after", 5e-4)):
            recipe = check({
                "data": {"from": f"{folder}/data", "split": "given"},
                "inputs": {"what": {"kind": "text", "backbone": "sample:smollm2-135m", "max_tokens": 96}},
                "tasks": {"code": TASK},
                "tuning": "lora", "train": {"epochs": 4 if lr > 1e-9 else 1, "batch": 4, "lr": lr},
            })  # fmt: skip
            run = fit(recipe, Path(folder, name))
            test = [row for row in rows if row["part"] == "test"]
            for control in (None, Control(parses="python")):
                found = solve(
                    run, test, "tests", run_code=True, before="head", tries=tries, k=(1, tries), sampling=Sampling(24, 0.4, control=control)
                )
                figures = {metric: round(one["value"], 3) for metric, one in found["metrics"]["models"]["written"].items()}
                print(json.dumps({"model": name, "parses": bool(control)} | figures | {"came": found["came"], "isolated": found["isolated"]}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
