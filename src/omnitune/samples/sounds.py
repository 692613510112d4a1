"""Sounds among the samples: files beside data.parquet, their paths in the column `audio`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from omnitune.samples.fetch import extract
from omnitune.samples.tables import write

COMMON = 10
"""Sounds of a family from which on it can be told from others."""


def sonic(archive: Path, folder: Path) -> None:
    """`family` is the first word of a sound's name; `common` the same where at least ten sounds have it, else null."""
    import pyarrow as pa

    extract(archive, "package/samples/", folder / "audio")
    files = sorted((file.name for file in (folder / "audio").iterdir()), key=str.lower)
    families = [name.partition("_")[0] for name in files]
    counts = Counter(families)
    common = [family if counts[family] >= COMMON else None for family in families]
    write(pa.table({"audio": [f"audio/{name}" for name in files], "family": families, "common": common}), folder)
