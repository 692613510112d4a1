"""Checksums: what a folder's files were when they were written, as `sha256sum` notes and checks it (`sha256sum -c SHA256SUMS`)."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from omnitune.errors import Mistake

SUMS = "SHA256SUMS"
AGAIN = "Fetch or copy it again"


def note(folder: Path, files: Mapping[str, Path] | Iterable[Path]) -> None:
    """Writes `SHA256SUMS`.

    Args:
        folder: where it goes.
        files: below `folder`; where a file is still to be renamed, each by the name it will have.
    """
    named = files if isinstance(files, Mapping) else {path.relative_to(folder).as_posix(): path for path in files}
    lines = [f"{sha256(path)}  {name}\n" for name, path in named.items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def noted(path: Path) -> dict[str, str]:
    """Digests by file, from a file in the form of `sha256sum`."""
    lines = [line.partition(" ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {name.strip().lstrip("*"): digest.lower() for digest, _, name in lines}


def verify(folder: Path) -> None:
    """Raises one `Mistake` naming every file that is not as `SHA256SUMS` notes it."""
    if not (folder / SUMS).is_file():
        raise Mistake(str(folder), f"no {SUMS} here, so nobody can tell whether its files are whole", AGAIN)
    wrong = []
    for name, digest in noted(folder / SUMS).items():
        path = folder / name
        if not path.is_file():
            wrong.append(Mistake(str(path), "is missing", AGAIN))
        elif sha256(path) != digest:
            wrong.append(Mistake(str(path), f"is damaged or was changed: its SHA-256 is not the one in {SUMS}", AGAIN))
    if wrong:
        raise Mistake.together(wrong)


def sha256(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
