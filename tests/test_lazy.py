"""What is asked first is answered without torch, and quickly."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEMO = str(ROOT / "recipes" / "demo.yaml")
HEAVY = ("torch", "transformers", "peft", "sklearn", "matplotlib", "datasets")
LIMIT = 1.0
"""Seconds for a command, the start of Python included, the best of a few tries since other processes may be in the way."""


def loaded_after(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint('loaded', *[m for m in {HEAVY!r} if m in sys.modules])"],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def command(*words: str) -> str:
    return f"from omnitune.cli import app\ntry: app({list(words)!r})\nexcept SystemExit as end: assert not end.code, end.code"


@pytest.mark.parametrize(
    "code",
    [
        "import omnitune; omnitune.Recipe; omnitune.Text; omnitune.LoRA; omnitune.Pretrained; omnitune.Mistake; dir(omnitune)",
        command("--help"), command("check", DEMO), command("kinds"), command("kinds", "text", "--json"), command("schema"),
        command("samples", "list"),
        "from omnitune.commands.infer import infer; print(infer({'x': [1.5, 2.5] * 50, 'y': ['a', 'b'] * 50}, 'y'))",
    ],
    ids=["import", "help", "check", "kinds", "kinds text", "schema", "samples", "infer"],
)  # fmt: skip
def test_nothing_heavy_is_loaded(code: str) -> None:
    loaded = loaded_after(code)
    assert set(loaded) <= ({"sklearn"} if "infer" in code else set()), loaded


@pytest.mark.parametrize("words", [["--help"], ["check", DEMO], ["--version"]], ids=lambda words: words[0])
def test_commands_answer_within_a_second(words: list[str]) -> None:
    best = min(_seconds(words) for _ in range(3))
    assert best < LIMIT, f"{best:.2f} s"


def _seconds(words: list[str]) -> float:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "omnitune.cli", *words], capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT / "src")})
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - began
