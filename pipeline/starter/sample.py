"""A bounded sample of a table's rows, and what it says about the columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config.field_path import as_step
from pipeline.errors import DataRefused
from pipeline.starter.column import Column, column_of_texts, epoch, names_of
from pipeline.starter.dialect import Dialect, cut, dialect_of, encoding_of
from pipeline.starter.files import parquet_schema
from pipeline.starter.header import has_header, header_of
from pipeline.starter.pieces import Pieces, read_pieces, spread
from pipeline.starter.table import FileGroup, Table

BUDGET = 4 << 20
"""Bytes of a table that are looked at."""

_ROWS = 20_000
_CELLS = 1_000_000
_NO_ROW = "hold names of columns and no row"


def look_at(group: FileGroup) -> Table:
    """Read a sample of the group's files.

    Raises:
        DataRefused: a file cannot be read, or there is no row.
    """
    readers = {"csv": _csv, "json": _json, "parquet": _parquet}
    return readers[group.format](group)


def _csv(group: FileGroup) -> Table:
    files = spread(group.files)
    pieces = [read_pieces(file, BUDGET // len(files)) for file in files]
    encoding = encoding_of([part for piece in pieces for part in piece.parts])
    dialect = dialect_of(_lines(pieces[0].parts[0], encoding), encoding)
    rows: list[dict[str, str]] = []
    seen: dict[str, None] = {}
    for file, piece in zip(files, pieces, strict=True):
        records = _records(file, piece, dialect)
        names = header_of(records[:50])
        seen |= dict.fromkeys(names)
        body = records[1:] if has_header(records[:50]) else records
        rows += [dict(zip(names, r, strict=True)) for r in body if len(r) == len(names)]
    rows = _bounded(rows, len(seen))
    if not rows:
        raise DataRefused(f"{group.name}: the files {_NO_ROW}", hint="check the export")
    origins = [name for name in seen if name]
    unusable = [("", "it has no name")] if "" in seen else []
    columns = _columns(origins, rows, dialect.delimiter == ";")
    share = sum(piece.share for piece in pieces) / len(pieces)
    return Table(
        group=group,
        columns=columns,
        rows=_estimate(len(rows) if share == 1 else _count(pieces), share, group, files),
        whole=share == 1 and len(files) == len(group.files) and len(rows) < _most_rows(len(seen)),
        dialect=dialect,
        header=has_header(_records(files[0], pieces[0], dialect)[:50]),
        multiline=any("\n" in cell for row in rows for cell in row.values()),
        unusable=tuple(unusable),
    )


def _columns(
    origins: Sequence[str], rows: Sequence[dict[str, str]], decimal_comma: bool
) -> tuple[Column, ...]:
    return tuple(
        column_of_texts(name, origin, [row.get(origin) for row in rows], decimal_comma)
        for name, origin in zip(names_of(origins), origins, strict=True)
    )


def _lines(part: bytes, encoding: str) -> list[str]:
    text = part.decode(encoding, "replace").removeprefix("\ufeff")
    return list(io.StringIO(text, newline=""))


def _records(file: Path, pieces: Pieces, dialect: Dialect) -> list[list[str]]:
    try:
        return [
            row for part in pieces.parts for row in cut(_lines(part, dialect.encoding), dialect)
        ]
    except csv.Error as error:
        raise DataRefused(
            f"{file} cannot be cut into cells: {error}",
            hint="a quote is not closed, or the file is no CSV",
        ) from error


def _count(pieces: Sequence[Pieces]) -> int:
    return sum(part.count(b"\n") for piece in pieces for part in piece.parts)


def _estimate(rows: int, share: float, group: FileGroup, files: Sequence[Path]) -> int:
    return round(rows / max(share, 1e-9) * len(group.files) / len(files))


def _most_rows(columns: int) -> int:
    return min(_ROWS, max(_CELLS // max(columns, 1), 100))


def _bounded(rows: list[Any], columns: int) -> list[Any]:
    """Evenly spread rows, if there are too many."""
    most = _most_rows(columns)
    step = len(rows) / most
    return rows if step <= 1 else [rows[int(index * step)] for index in range(most)]


def _json(group: FileGroup) -> Table:
    files = spread(group.files)
    pieces = [read_pieces(file, BUDGET // len(files)) for file in files]
    encoding = encoding_of([part for piece in pieces for part in piece.parts])
    found = [
        record
        for file, piece in zip(files, pieces, strict=True)
        for part in piece.parts
        for record in _json_records(file, _lines(part, encoding))
    ]
    names = list(dict.fromkeys(name for record in found for name in record))
    rows = _bounded(found, len(names))
    if not rows:
        raise DataRefused(f"{group.name}: no record in its files", hint="check the export")
    lists = {name for row in rows for name, value in row.items() if isinstance(value, list)}
    origins = [name for name in names if name not in lists]
    texts = [{name: _as_text(row.get(name)) for name in origins} for row in rows]
    share = sum(piece.share for piece in pieces) / len(pieces)
    return Table(
        group=group,
        columns=_columns(origins, texts, False),
        rows=_estimate(_count(pieces) if share < 1 else len(found), share, group, files),
        whole=share == 1 and len(files) == len(group.files) and len(rows) == len(found),
        dialect=Dialect(encoding, ",", '"'),
        unusable=tuple((name, "it holds lists") for name in names if name in lists),
    )


def _json_records(file: Path, lines: Sequence[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if number:
                continue  # is quarantined later
            raise DataRefused(
                f"{file}: its first line is no JSON: {error}",
                hint="write one JSON object a line; several lines an object need multiline: true",
            ) from error
        if isinstance(record, dict):
            yield dict(_flat(record))


def _flat(record: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Scalars and lists of nested objects by their path, as ``a.b``; names that no path can have
    are passed over."""
    for name, value in record.items():
        if not name or "`" in name:
            continue
        if isinstance(value, dict) and above.count(".") < 8:
            yield from _flat(value, f"{above}{as_step(name)}.")
        else:
            yield f"{above}{as_step(name)}", value


def _as_text(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    return ("true" if value else "false") if isinstance(value, bool) else json.dumps(value)


def _parquet(group: FileGroup) -> Table:
    files = spread(group.files)
    schema = parquet_schema(files[0])
    kinds = {field.name: _declared(field.type) for field in schema}
    usable = [name for name, kind in kinds.items() if kind and name and "`" not in name]
    if not usable:
        raise DataRefused(f"{group.name}: no column has a type that can be declared")
    most = _most_rows(len(usable))
    tables, counts = [], []
    for file in files:
        with pq.ParquetFile(file) as parquet:
            counts.append(parquet.metadata.num_rows)
            tables.append(_rows_of(parquet, usable, -(-most // len(files))))
    found = pa.concat_tables(tables, promote_options="permissive")
    rows = sum(counts)
    if not found.num_rows:
        raise DataRefused(f"{group.name}: the files hold no row", hint="check the export")
    plain = [
        Column(name, origin, {"type": str(kinds[origin])}, _plain(found.column(origin)))
        for name, origin in zip(names_of(usable), usable, strict=True)
    ]
    columns = tuple(epoch(column) or column for column in plain)
    return Table(
        group=group,
        columns=columns,
        rows=_estimate(rows, 1.0, group, files),
        whole=len(files) == len(group.files) and found.num_rows == rows,
        unusable=tuple((n, f"it is {schema.field(n).type}") for n in kinds if n not in usable),
    )


def _rows_of(parquet: pq.ParquetFile, columns: Sequence[str], most: int) -> pa.Table:
    """Rows of evenly spread row groups."""
    groups = parquet.metadata.num_row_groups
    chosen = (
        sorted({round(i * (groups - 1) / 7) for i in range(8)}) if groups > 8 else range(groups)
    )
    parts = []
    for group in chosen:
        read = parquet.read_row_group(group, columns=list(columns))
        parts.append(read.slice(0, -(-most // len(chosen))))
    return pa.concat_tables(parts) if parts else parquet.schema_arrow.empty_table()


def _declared(kind: pa.DataType) -> str | None:
    """The type to declare for a type of Parquet; None where there is none without loss."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return None if pa.types.is_uint64(kind) else "long"
    if pa.types.is_floating(kind):
        return "float" if pa.types.is_float16(kind) else "double"
    if pa.types.is_decimal128(kind) and 0 <= kind.scale <= kind.precision:
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    if pa.types.is_date32(kind):
        return "date"
    return "string" if pa.types.is_string(kind) or pa.types.is_large_string(kind) else None


def _plain(values: pa.ChunkedArray) -> pa.Array:
    kind = values.type
    if pa.types.is_dictionary(kind):
        values = values.cast(kind.value_type)
    elif pa.types.is_timestamp(kind):
        values = values.cast(pa.timestamp("us"), safe=False)
    elif pa.types.is_decimal(kind):
        values = values.cast(pa.float64())
    return values.combine_chunks()
