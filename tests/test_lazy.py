"""What is asked first is answered without torch; `benchmarks/start.py` measures how quickly."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEMO = str(ROOT / "recipes" / "demo.yaml")
HEAVY = ("torch", "transformers", "peft", "sklearn", "matplotlib", "datasets")


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
