"""Column: the values of some rows, read in chunks, media opened; so that a table larger than memory can be walked."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, overload

import numpy as np

from omnitune.data.decoded import Decoded
from omnitune.data.media import open_each
from omnitune.data.table import Rowed
from omnitune.errors import Mistake


class Column(Sequence[Any]):
    """Values of `column` at `rows`, as a modality takes them: None where missing, bytes for media.

    Args:
        table: the table; a column it does not have reads as missing everywhere.
        column: its name.
        rows: row numbers, in the order wanted.
        media: whether values are files to be opened.
    """

    def __init__(self, table: Rowed, column: str, rows: np.ndarray[Any, Any], media: bool = False) -> None:
        self.table, self.column, self.rows, self.media = table, column, rows, media

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return self._read(self.rows[index])
        return self._read(self.rows[[index]])[0]

    def __iter__(self) -> Iterator[Any]:
        for rows in self.table.blocks(self.column, self.rows):
            yield from self._read(rows)

    def _read(self, rows: np.ndarray[Any, Any]) -> list[Any]:
        if self.column not in self.table.columns:
            return [None] * len(rows)
        values = self.table.take(self.column, rows)
        if not self.media:
            return values
        return [value if value is None else open_each(value, self.table.root) for value in values]

    def problems(self, check: Any, decoded: Decoded | None = None) -> Iterator[tuple[int, str]]:
        """(row, what is wrong) for every value that cannot be opened or that `check` objects to. Media are looked at side by side, and those
        that `decoded` knows to be readable not again."""
        with ThreadPoolExecutor() as pool:
            for rows in self.table.blocks(self.column, self.rows):
                values = self.table.take(self.column, rows)
                look = lambda value: self._problem(value, check, decoded)  # noqa: E731
                for row, problem in zip(rows, pool.map(look, values) if self.media else map(look, values), strict=True):
                    if problem:
                        yield int(row), problem

    def _problem(self, value: Any, check: Any, decoded: Decoded | None) -> str | None:
        if value is None:
            return None
        try:
            if decoded:
                return decoded.problem(value, check)
            return check(open_each(value, self.table.root) if self.media else value)  # type: ignore[no-any-return]
        except Mistake as mistake:
            return f"{mistake.what}. {mistake.fix}" if mistake.fix else mistake.what
