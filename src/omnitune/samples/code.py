"""Code among the samples: functions of Python libraries, and what their authors say of them in a sentence."""

from __future__ import annotations

import ast
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from omnitune.samples.tables import write

SENTENCE = re.compile(r"(?<=\.)\s|\n\s*\n")
WORDS, LINES = range(3, 31), range(3, 61)
"""Of a summary, and of a function, that are kept."""


def functions(wheel: Path, folder: Path) -> None:
    """`library`, `path`, `name`, `code` without its docstring, and `summary`, the first sentence of that; functions of equal code once. Tests,
    functions of a few lines or of very many, and summaries that are no sentence are left out."""
    import pyarrow as pa

    rows: dict[str, dict[str, str]] = {}
    for archive in sorted(wheel.parent.glob("*.whl")):
        with zipfile.ZipFile(archive) as files:
            for name in sorted(name for name in files.namelist() if name.endswith(".py") and "tests/" not in name):
                for row in _documented(files.read(name).decode()):
                    rows.setdefault(row["code"], {"library": archive.name.partition("-")[0], "path": name} | row)
    write(pa.Table.from_pylist(sorted(rows.values(), key=lambda row: (row["path"], row["name"], row["code"]))), folder)


def _documented(source: str) -> Iterator[dict[str, str]]:
    """Functions of a file that say what they do."""
    try:
        tree = ast.parse(source)
    except SyntaxError:  # templates of files, not files
        return
    lines = source.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and (said := ast.get_docstring(node)) and len(node.body) > 1:
            text, summary = _without_docstring(node, lines), " ".join(SENTENCE.split(said.strip())[0].split())
            if len(summary.split()) in WORDS and len(text) in LINES and summary.isascii():
                yield {"name": node.name, "code": "\n".join(text), "summary": summary}


def _without_docstring(node: ast.FunctionDef, lines: list[str]) -> list[str]:
    """The lines of a function, moved to the left."""
    first = node.body[0]
    kept = lines[node.lineno - 1 : first.lineno - 1] + lines[first.end_lineno : node.end_lineno]
    return [line[node.col_offset :] if not line[: node.col_offset].strip() else line for line in kept]
