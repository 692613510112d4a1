"""Views: Arrow's newer layout of texts and bytes, as Polars and DuckDB hand them over, which pyarrow itself cannot take rows from."""

import pyarrow as pa


def without_views(table: pa.Table) -> pa.Table:
    """`table` with texts and bytes in the usual layout, also inside lists and structures."""
    schema = pa.schema([(field.name, usual(field.type)) for field in table.schema], table.schema.metadata)
    return table if schema.types == table.schema.types else table.cast(schema)


def usual(kind: pa.DataType) -> pa.DataType:
    """The type with no view in it. Offsets are of 64 bits, since a chunk may hold more than 2 GB."""
    if pa.types.is_string_view(kind):
        return pa.large_string()
    if pa.types.is_binary_view(kind):
        return pa.large_binary()
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, usual(kind.value_type), kind.ordered)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = usual(kind.value_type)
        return kind if inner == kind.value_type else (pa.list_ if pa.types.is_list(kind) else pa.large_list)(inner)
    if pa.types.is_struct(kind):
        fields = [(kind.field(i).name, usual(kind.field(i).type)) for i in range(kind.num_fields)]
        return kind if all(inner == kind.field(i).type for i, (_, inner) in enumerate(fields)) else pa.struct(fields)
    return kind
