"""Table work: a table of several kinds of columns and one question, as plain values, for peers in an environment of their own."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

Columns = dict[str, list[Any]]
Y = "y"
"""The column with the answers; no other may be called so."""


@dataclass(frozen=True)
class TableWork:
    """One question about a table.

    Args:
        kinds: `text`, `number` or `category` of every column but `Y`.
        form: of the answers: `classes` 0 and 1, or `value`.
        train, validation, test: cells by column, None where missing; `Y` among them, which a peer leaves alone in the test rows.
        backbone: a folder in the Hugging Face layout.
        tokens: longest text.
        epochs, batch, seed: of training.
        threads: of torch.
        variant: which of a peer's own models.
    """

    kinds: dict[str, str]
    form: Literal["classes", "value"]
    train: Columns
    validation: Columns
    test: Columns
    backbone: str
    tokens: int
    epochs: int
    batch: int = 32
    seed: int = 0
    threads: int = 1
    variant: str = ""

    def write(self, path: Path) -> Path:
        """As JSON."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path

    @classmethod
    def read(cls, path: Path) -> "TableWork":
        """What `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))

    def of(self, kind: str) -> list[str]:
        """The columns of a kind."""
        return [name for name, of in self.kinds.items() if of == kind]


def few(columns: Mapping[str, list[Any]], form: str, rows: int = 40) -> Columns:
    """The first rows, for a run that is not timed; both classes are among them."""
    found = {name: values[:rows] for name, values in columns.items()}
    if form == "classes":
        found[Y] = [0, 1, *found[Y][2:]]
    return found
