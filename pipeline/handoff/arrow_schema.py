"""The one Arrow form that a Parquet schema has after the hand-off, whatever the mode."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.types as kinds


def canonical_schema(schema: pa.Schema) -> pa.Schema:
    """The schema that blocks have: plain types, no metadata, every field nullable.

    pyarrow and Spark describe the same Parquet differently (list children named ``item`` or
    ``element``, dictionary and large types, time zones, nullability). Both are cast to this form:
    timestamps in microseconds, with time zone UTC where the file says that they are instants and
    without one where it does not; dictionaries as their values; 32-bit offsets.
    """
    return pa.schema([_field(field) for field in schema])


def canonical_type(kind: pa.DataType) -> pa.DataType:
    """The type that a column of Arrow type ``kind`` has after the hand-off."""
    if kinds.is_dictionary(kind):
        return canonical_type(kind.value_type)
    if kinds.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC" if kind.tz else None)
    if kinds.is_large_string(kind) or _is_view(kind, "string_view"):
        return pa.string()
    if kinds.is_large_binary(kind) or _is_view(kind, "binary_view"):
        return pa.binary()
    if kinds.is_fixed_size_binary(kind):
        return pa.binary()
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return pa.list_(pa.field("element", canonical_type(kind.value_type)))
    if kinds.is_map(kind):
        return pa.map_(canonical_type(kind.key_type), canonical_type(kind.item_type))
    if kinds.is_struct(kind):
        return pa.struct([_field(kind.field(i)) for i in range(kind.num_fields)])
    return kind


def in_form(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """``table``'s columns in the order and types of ``schema``.

    Raises:
        pyarrow.ArrowInvalid: a value does not fit (a timestamp with nanoseconds, say).
        KeyError: a column is missing.
    """
    columns = [_cast(table.column(field.name), field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    return column if column.type.equals(kind) else column.cast(kind)


def _field(field: pa.Field) -> pa.Field:
    return pa.field(field.name, canonical_type(field.type), nullable=True)


def _is_view(kind: pa.DataType, name: str) -> bool:
    return str(kind) == name
