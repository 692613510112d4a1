"""Sounds among the samples: files beside data.parquet, their paths in the column `audio`."""

from __future__ import annotations

import gzip
import re
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from omnitune.samples.fetch import extract
from omnitune.samples.tables import write

LANGUAGES = ("en", "es", "fr", "it", "ru")
ASIDE = re.compile(r"[\[\](){}<>;]")
"""Signs of a line that describes a sound (a beep) instead of saying its words."""
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


def english_prompts(archive: Path, folder: Path) -> None:
    """As `phone_prompts`, those in English."""
    phone_prompts(archive, folder, LANGUAGES[:1])


def phone_prompts(archive: Path, folder: Path, languages: Sequence[str] = LANGUAGES) -> None:
    """`text`: what is said; `language`: two letters. Tones and other sounds without words are left out."""
    import pyarrow as pa

    with TemporaryDirectory() as work:
        rows = [row for language in languages for row in _prompts(archive.parent, language, Path(work) / language, folder)]
    write(pa.Table.from_pylist(rows), folder)


def _prompts(archives: Path, language: str, work: Path, folder: Path) -> Iterator[dict[str, str]]:
    for name in (language, f"{language}-wav"):
        extract(next(archives.glob(f"asterisk-core-sounds-{name}-1*.deb")), "./usr/share/", work)
    (voice,) = (work / "asterisk" / "sounds").iterdir()
    files = {file.relative_to(voice).with_suffix("").as_posix(): file for file in voice.rglob("*.wav")}
    lines = gzip.decompress(next(work.rglob("core-sounds-*.txt.gz")).read_bytes()).decode()
    (folder / "audio" / language).mkdir(parents=True)
    for line in lines.splitlines():
        name, _, said = line.strip().partition(": ")
        text = " ".join(said.replace("...", " ").split()).strip(' ,"')
        if name in files and text and not ASIDE.search(text):
            path = f"audio/{language}/{name.replace('/', '_')}.wav"
            shutil.copyfile(files[name], folder / path)
            yield {"audio": path, "text": text, "language": language}
