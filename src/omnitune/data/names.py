"""Names: classes that `datasets` keeps as numbers become the words they stand for."""

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

T = TypeVar("T", pa.Table, pa.RecordBatch)


def with_names(table: T, features: Mapping[str, Any]) -> T:
    """`table` with the names of classes in place of their numbers, also in lists of classes.

    Args:
        features: by column, as `datasets.Features.to_dict()` gives them and as `datasets` writes them into its files.
    """
    for i, column in enumerate(table.column_names):
        feature = features.get(column)
        inner = _inner(feature)
        if names := _names(inner if inner is not None else feature):
            array = table.column(i)
            chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
            named = [_named_lists(c, names) if inner is not None else _named(c, names) for c in chunks]
            kind = pa.list_(pa.string()) if inner is not None else pa.string()
            table = table.set_column(i, column, pa.chunked_array(named, kind) if isinstance(array, pa.ChunkedArray) else named[0])
    return table


def _names(feature: Any) -> list[str] | None:
    return feature.get("names") if isinstance(feature, Mapping) and feature.get("_type") == "ClassLabel" else None


def _inner(feature: Any) -> Any:
    """What the items of a list are; None where `feature` is no list. Older files write a list as `[item]`."""
    if isinstance(feature, list) and len(feature) == 1:
        return feature[0]
    listed = isinstance(feature, Mapping) and feature.get("_type") in {"List", "LargeList", "Sequence"}
    return feature.get("feature") if listed else None


def _named(numbers: pa.Array, names: list[str]) -> pa.Array:
    """A negative number means that the class is not known."""
    places = pc.if_else(pc.less(numbers, 0), None, numbers)
    return pa.array(names, pa.string()).take(places)


def _named_lists(lists: pa.Array, names: list[str]) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, _named(pc.list_flatten(lists), names), mask=lists.is_null())
