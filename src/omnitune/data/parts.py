"""Parts: several files of one table, such as train.csv and test.csv. A column of files without types has one type over all of them."""

from collections.abc import Callable, Collection
from dataclasses import replace

import pyarrow as pa

from omnitune.data import written
from omnitune.data.files import Piece


def agreeing(texts: Collection[str], read: Callable[[Collection[str]], list[Piece]]) -> list[Piece]:
    """The pieces that `read` gives, typed as if they were one file: a column of numbers in one and of words in another is text in all.

    Args:
        texts: columns to be read as they are written, whatever they hold.
        read: gives the pieces, with these columns as they are written.
    """
    pieces = read(texts)
    types: dict[str, set[pa.DataType]] = {}
    for piece in pieces:
        for field in piece.arrow.schema:
            types.setdefault(field.name, set()).update(set() if _says_nothing(piece, field) else {field.type})
    differ = {name for name, kinds in types.items() if pa.string() in kinds and len(kinds) > 1}
    typed = {name for name, kinds in types.items() if kinds and pa.string() not in kinds}
    return [replace(piece, arrow=_emptied(piece, typed)) for piece in (read({*texts, *differ}) if differ else pieces)]


def _says_nothing(piece: Piece, field: pa.Field) -> bool:
    return field.type == pa.null() or (field.type == pa.string() and piece.untyped and written.only_no_value(piece.arrow[field.name]))


def _emptied(piece: Piece, typed: Collection[str]) -> pa.Table:
    """Words for missing values (`NA`) are missing where other pieces hold numbers."""
    table = piece.arrow
    for i, field in enumerate(table.schema):
        if field.name in typed and field.type == pa.string():
            table = table.set_column(i, field.name, pa.nulls(len(table)))
    return table
