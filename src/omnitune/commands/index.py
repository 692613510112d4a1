"""index: the vectors of a table, made once, to be searched with `retrieve`."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omnitune import artifact as artifacts
from omnitune.artifact import Artifact
from omnitune.checksums import SUMS
from omnitune.commands._files import told
from omnitune.data.table import read
from omnitune.embedding import Embedded
from omnitune.errors import Mistake
from omnitune.vector_graph import library
from omnitune.vector_index import About, VectorIndex


def index(
    run: str | Path | Artifact,
    table: Any,
    of: str,
    out: str | Path,
    task: str | None = None,
    approximate: bool = False,
    batch: int = 32,
    tell: Callable[[int, int], None] | None = None,
) -> VectorIndex:
    """Reads one column of a table with a trained model, and writes a vector for every row into a new folder.

    Args:
        run: a finished run with a task that compares inputs (`match`), or its folder.
        table: where rows are, as for `fit`; `retrieve` reads it again, so that a file, a folder or a sample is wanted.
        of: the input that is read.
        out: a new folder.
        task: that compares the input; may be left out where only one does.
        approximate: search along the links of a graph instead of looking at all rows. Quicker, and some of the nearest rows are missed; how many is
            measured and noted in the index (`about.approximation`). Wants the extra `omnitune[approximate]`.
        batch: as for `Artifact.predict`.
        tell: is told how many rows are done, and of how many.

    Raises:
        Mistake: no such run, input, task or table, the folder is there already or cannot be written, or the library of `approximate` is missing.
    """
    path = Path(out)
    if path.exists():
        raise Mistake(str(path), "exists", "Give another --out")
    if approximate:
        library()
    artifact = run if isinstance(run, Artifact) else artifacts.load(run)
    embedder = artifact.embedder(of, task, batch)
    rows = read(table, texts={embedder.column})
    named = str(table) if isinstance(table, (str, Path)) else ""
    about = About(str(artifact.path), fingerprint(artifact.path), embedder.task, of, named, rows.fingerprint)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return VectorIndex.write(path, about, _counted(embedder(rows), len(rows), tell), approximate)


def fingerprint(run: Path) -> str:
    """Of a saved model: its `SHA256SUMS` note the sums of all that `load` reads, those of weights included."""
    return hashlib.sha256((run / SUMS).read_bytes()).hexdigest()[:16]


def _counted(embedded: Iterator[Embedded], rows: int, tell: Callable[[int, int], None] | None) -> Iterator[Embedded]:
    done = 0
    for one in embedded:
        yield one
        done += len(one.problems)
        if tell:
            tell(done, rows)
