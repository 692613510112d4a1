"""The public surface is frozen: a change of it is a change of this file, on purpose."""

import ast
import inspect
from pathlib import Path

import pytest
import typer

import omnitune
from omnitune.cli import app
from omnitune.component import find, kinds
from omnitune.recipe import FAMILIES

NAMES = {
    "BERT", "GPT", "Artifact", "Attend", "Audio", "Auto", "Behaviour", "Bias", "Category", "Choose", "Classify", "Concat", "Contrast", "Control",
    "Cross", "Data", "Date", "Denoise", "Extract", "Forecast", "Freeze", "Full", "Gated", "Generate", "Image", "Items", "Label", "Late", "LoRA",
    "MaskedImage", "MaskedText", "Match", "Mistake", "NextSentence", "Number", "Ordinal", "Prefer", "Pretrained", "Probe", "Quantile", "Rank",
    "Recipe", "Reconstruct", "Regress", "Report", "Retriever", "Sampling", "Series", "Set", "Spectrogram", "Table", "Tag", "Text", "Train",
    "Transcribe", "TransformerXL", "ViT", "ZeroShot", "alone", "augment", "check", "compare", "fit", "generate", "index", "infer", "load", "search",
    "solve",
}  # fmt: skip
CONTROL = {"--choice", "--regex", "--json-schema", "--forbid", "--require", "--min-tokens", "--parses", "--tries"}
COMMANDS = {
    "fit": {"source", "changes", "--target", "-t", "--minutes", "--out", "--resume", "--log", "--quiet", "-q", "--json"},
    "infer": {"table", "changes", "--target", "-t", "--out", "--json"},
    "check": {"recipe", "changes", "--json"},
    "predict": {"--beams", "--seed", "--temperature", "--tokens", "--top-k", "--top-p", "run", "rows", "--out", "--int8", "--weights", "--json"}
    | CONTROL,
    "index": {"run", "table", "--of", "--out", "--task", "--approximate", "--json"},
    "retrieve": {"index", "query", "--by", "--table", "--same", "-k", "--exact", "--show", "--run", "--indexed", "--json"},
    "zero-shot": {"run", "rows", "--class", "-c", "--template", "--of", "--target", "-t", "--task", "--json"},
    "generate": {
        "run",
        "--prompt",
        "-p",
        "--tokens",
        "--temperature",
        "--top-k",
        "--top-p",
        "--min-p",
        "--repetition-penalty",
        "--beams",
        "--stop",
        "--seed",
        "--json",
    }
    | CONTROL,
    "solve": {
        "run",
        "rows",
        "--tests",
        "--run-code",
        "--before",
        "--task",
        "--tries",
        "-k",
        "--tokens",
        "--temperature",
        "--top-p",
        "--seed",
        "--parses",
        "--seconds",
        "--megabytes",
        "--workers",
        "--json",
    },
    "augment": {
        "run",
        "--writer",
        "--way",
        "--out",
        "--rows",
        "--keep",
        "--prompt",
        "-p",
        "--share",
        "--of",
        "--tokens",
        "--temperature",
        "--top-k",
        "--top-p",
        "--seed",
        "--json",
    },
    "report": {"run", "--format"},
    "compare": {"a", "b", "--json"},
    "alone": {"run", "--quiet", "-q", "--json"},
    "search": {"recipe", "changes", "--trials", "--out", "--seed", "--quiet", "-q", "--json"},
    "kinds": {"word", "--json"},
    "schema": set(),
    "cache": {"--empty", "--json"},
    "samples list": {"--json"},
    "samples get": {"names"},
    "samples path": {"name"},
}


def test_the_names() -> None:
    assert set(omnitune.__all__) == NAMES
    assert set(dir(omnitune)) >= NAMES
    assert omnitune.__version__


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_name_is_found_and_documented(name: str) -> None:
    assert inspect.getdoc(getattr(omnitune, name))


def test_editors_see_the_same_names() -> None:
    tree = ast.parse(Path(str(omnitune.__file__)).read_text(encoding="utf-8"))
    seen = {
        alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and str(node.module).startswith("omnitune.") for alias in node.names
    }
    assert seen == NAMES


def test_every_kind_is_public() -> None:
    classes = {find(family, kind) for family in FAMILIES.values() for kind in kinds(family)}
    assert classes <= {getattr(omnitune, name) for name in NAMES}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fitt'"):
        _ = omnitune.fitt


def test_the_command_line() -> None:
    assert _surface(typer.main.get_command(app)) == COMMANDS


def _surface(command, before: str = "") -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            found |= _surface(inner, f"{before}{name} ")
        else:
            found[before + name] = {o for p in inner.params for o in (p.opts if p.param_type_name == "option" else [p.name])} - {"--help"}
    return found
