"""report: what a run measured, as a table for the terminal, Markdown, HTML or JSON."""

from pathlib import Path
from typing import Literal

from omnitune.evaluation.report import Report

Format = Literal["text", "json", "md", "html"]


def report(run: str | Path, format: Format = "text") -> str:
    """The report of a finished run. Needs no model, so it loads no torch.

    Args:
        run: its folder.
        format: `text` is the table of before and after.
    """
    found = Report.read(Path(run))
    if format == "text":
        return str(found)
    if format == "json":
        return found.to_json()
    return (Path(run) / f"report.{format}").read_text(encoding="utf-8")
