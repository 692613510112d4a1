"""Files of synthetic rows: written whole or not at all, and saying what they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from omnitune.commands._files import part_of, told
from omnitune.data.synthetic import KEY, MARK, PROBABILITY, SOURCE_ROW
from omnitune.data.table import Rows
from omnitune.errors import Mistake

FORMATS = (".parquet", ".jsonl")


def new_file(path: Path) -> Path:
    """`path`, which is not there yet. Raises `Mistake` where it is, or its ending is unknown."""
    if path.suffix.lower() not in FORMATS:
        raise Mistake(str(path), f"no format ends in {path.suffix!r}", f"Use {' or '.join(FORMATS)}")
    if path.exists():
        raise Mistake(str(path), "exists", "Give another --out")
    return path


def _marked(table: pa.Table, numbers: Rows, chances: np.ndarray[Any, Any]) -> pa.Table:
    columns = {MARK: pa.array([True] * len(table)), SOURCE_ROW: pa.array(numbers, pa.int64()), PROBABILITY: pa.array(chances, pa.float64())}
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table


def write(path: Path, table: pa.Table, numbers: Rows, chances: np.ndarray[Any, Any], about: dict[str, Any]) -> None:
    """Writes rows, the `numbers` that they were written from, how likely their answers are, and as metadata of Parquet what is to be known `about`
    them."""
    import pyarrow.parquet as pq

    table, part = _marked(table, numbers, chances), part_of(path)
    with told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if path.suffix.lower() == ".parquet":
                pq.write_table(table.replace_schema_metadata({KEY: json.dumps(about)}), part)
            else:
                part.write_text("".join(json.dumps(row, ensure_ascii=False, default=_plain) + "\n" for row in table.to_pylist()), encoding="utf-8")
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        raise Mistake("--out", "pictures and sounds in cells cannot be written as JSON", "Give a file that ends in .parquet")
    return str(value)
