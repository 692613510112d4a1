"""Memory: tables that a program already holds, as Arrow."""

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from omnitune.data import rows
from omnitune.data.files import different
from omnitune.errors import Mistake


def in_memory(name: str, source: Any) -> pa.Table:
    """A DataFrame, an Arrow table or anything with the Arrow interface, a list of rows, or a mapping of columns to lists."""
    if type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "columns"):
        return _from_pandas(name, source)
    if isinstance(source, pa.Table):
        return source
    if hasattr(source, "__arrow_c_stream__"):
        return pa.table(source)
    if isinstance(source, Mapping):
        if not all(isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)) for values in source.values()):
            raise Mistake(name, "a mapping must hold one list a column", "Give a list of rows for rows")
        return rows.table(name, rows.from_columns(name, source))
    if isinstance(source, Iterable):
        return rows.table(name, list(rows.chunked(name, source)))
    raise Mistake(name, f"no table is read from {type(source).__name__}", "Give a path, a DataFrame, an Arrow table or a list of rows")


def _from_pandas(name: str, frame: Any) -> pa.Table:
    frame = frame.set_axis([str(column) for column in frame.columns], axis=1)
    different(name, list(frame.columns))
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except rows.ARROW_REFUSES:  # a column of mixed types, which is told by row, or of pictures
        return rows.table(name, rows.from_columns(name, {column: frame[column].tolist() for column in frame.columns}))
