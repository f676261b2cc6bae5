"""``pipeline init``: read tables, and write a configuration and SQL that run as they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import yaml

from pipeline.errors import ConfigError, DataRefused
from pipeline.store.layout import write_text

_NULLS = ["", "NA", "N/A", "NULL", "null", "NaN", "nan"]
_MOST_CATEGORIES = 1000
_TEST_SHARE = 0.2
_FOLDS = 3


@dataclass(frozen=True)
class Roles:
    """What was found out, or told, about the main table's columns."""

    target: str
    time: str
    key: tuple[str, ...]
    segment: tuple[str, ...]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    left_out: tuple[str, ...]


def write_starter(
    inputs: Sequence[Path], target: str, segment_by: tuple[str, ...], time: str | None, output: Path
) -> list[str]:
    """Write ``output`` and its SQL; returns what was assumed, a line each.

    The first table is the one that models are trained on; the others are declared, so that its
    SQL can join them.

    Raises:
        ConfigError: a file or column is missing, ``output`` exists, or no key or time was found.
        DataRefused: a file cannot be read as CSV or Parquet.
    """
    if output.exists():
        raise ConfigError(f"{output} exists already", hint="Choose another file with -o.")
    tables = {_name(path): _read(path) for path in inputs}
    main, table = next(iter(tables.items()))
    roles = _roles(table, target, segment_by, time)
    sql = output.parent / "sql" / output.stem / "features.sql"
    root = output.parent.parent if output.resolve().parent.name == "conf" else output.parent
    config = {
        "name": output.stem,
        "ingest": {
            "sources": {
                name: _source(path, tables[name], root)
                for name, path in zip(tables, inputs, strict=True)
            }
        },
        "preprocess": {
            "steps": [{"name": "features", "sql": _relative(sql, root)}],
            "main": main,
            "key": list(roles.key),
            "time": roles.time,
            "segment": list(roles.segment),
            "target": roles.target,
            "features": {"numeric": list(roles.numeric), "categorical": list(roles.categorical)},
            "split": _split(table.column(roles.time)),
        },
        "train": {"preset": "standard"},
    }
    write_text(sql, _select(main, roles))
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    write_text(
        output, f"# Written by pipeline init from {inputs[0].name}; change it freely.\n{text}"
    )
    return _said(main, table, roles, output, sql)


def _name(path: Path) -> str:
    stem = path.name.split(".")[0]
    name = "".join(c if c.isalnum() and c.isascii() else "_" for c in stem)
    return name if name[:1].isalpha() else f"t_{name}"


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path)
        options = pyarrow.csv.ConvertOptions(null_values=_NULLS, strings_can_be_null=True)
        return pyarrow.csv.read_csv(path, convert_options=options)
    except pa.ArrowInvalid as error:
        kind = "Parquet" if path.suffix == ".parquet" else "CSV"
        raise DataRefused(f"{path}: cannot be read as {kind}: {error}") from error


def _roles(table: pa.Table, target: str, segment_by: tuple[str, ...], time: str | None) -> Roles:
    names = table.column_names
    for name in (target, *segment_by, *([time] if time else [])):
        if name not in names:
            raise ConfigError(f"no column {name!r}", hint=f"The columns are: {', '.join(names)}.")
    times = [n for n in names if pa.types.is_temporal(table.schema.field(n).type)]
    if time is None and not times:
        raise ConfigError(
            "no column holds dates or times, and the split is by time",
            hint="Name one with --time.",
        )
    chosen = time or times[0]
    key = _key(table, [n for n in names if n != target])
    rest = [n for n in names if n not in (target, chosen, *key)]
    numeric = [n for n in rest if _is_number(table.schema.field(n).type)]
    text = [n for n in rest if pa.types.is_string(table.schema.field(n).type)]
    few = [n for n in text if pc.count_distinct(table.column(n)).as_py() <= _MOST_CATEGORIES]
    used = (*numeric, *few)
    return Roles(
        target=target,
        time=chosen,
        key=key,
        segment=segment_by or ("segment",),
        numeric=tuple(n for n in numeric if n not in segment_by),
        categorical=tuple(few),
        left_out=tuple(n for n in rest if n not in used and n not in segment_by),
    )


def _key(table: pa.Table, names: list[str]) -> tuple[str, ...]:
    """The first column, pair or triple of columns that is unique and has no null."""
    whole = [n for n in names if not table.column(n).null_count][:12]
    for columns in chain.from_iterable(combinations(whole, size) for size in (1, 2, 3)):
        if table.group_by(list(columns)).aggregate([]).num_rows == table.num_rows:
            return columns
    raise ConfigError(
        "no column, nor two or three together, tell the rows apart",
        hint="Add a column that numbers the rows.",
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )


def _source(path: Path, table: pa.Table, root: Path) -> dict[str, Any]:
    source: dict[str, Any] = {"path": _relative(path, root)}
    if path.suffix == ".parquet":
        source["format"] = "parquet"
    else:
        source["null_values"] = _NULLS
    source["columns"] = {field.name: {"type": _type(field.type)} for field in table.schema}
    return source


def _relative(path: Path, root: Path) -> str:
    path, root = path.resolve(), root.resolve()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _type(kind: pa.DataType) -> str:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind):
        return "long"
    if pa.types.is_floating(kind):
        return "double"
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if pa.types.is_timestamp(kind):
        return "timestamp"
    return "date" if pa.types.is_date(kind) else "string"


def _split(times: pa.ChunkedArray) -> dict[str, Any]:
    """The last fifth of the rows is the test; folds cover the last half of what is before."""
    micros = times.cast(pa.timestamp("us")).cast(pa.int64()).drop_null()
    first, last = pc.min(micros).as_py(), pc.max(micros).as_py()
    border = int(pc.quantile(micros, 1 - _TEST_SHARE, interpolation="lower")[0].as_py())
    if first >= border or border >= last:
        raise ConfigError("the time column has too few distinct values to split by")
    days = (border - first) / 86_400e6
    instant = datetime.fromtimestamp(border / 1e6, timezone.utc)
    return {
        "test_from": instant.isoformat(),
        "folds": _FOLDS,
        "validation_days": round(days / 2 / _FOLDS, 4),
        "gap_days": 0,
    }


def _select(main: str, roles: Roles) -> str:
    columns = dict.fromkeys(
        (*roles.key, roles.time, *roles.segment, roles.target, *roles.numeric, *roles.categorical)
    )
    lines = ["  'all' AS segment" if name == "segment" else f"  `{name}`" for name in columns]
    lines = [
        f"  CAST(`{roles.time}` AS TIMESTAMP) AS `{roles.time}`" if n == roles.time else line
        for n, line in zip(columns, lines, strict=True)
    ]
    return f"-- One row for each row of {main}; join the other sources here.\nSELECT\n" + (
        ",\n".join(lines) + f"\nFROM {main}\n"
    )


def _said(main: str, table: pa.Table, roles: Roles, output: Path, sql: Path) -> list[str]:
    return [
        f"table {main}: {table.num_rows:,} rows, {table.num_columns} columns",
        f"key: {', '.join(roles.key)} (unique in this file)",
        f"time: {roles.time}; the last fifth of the rows is the test",
        f"segment: {', '.join(roles.segment)}",
        f"features: {len(roles.numeric)} numeric, {len(roles.categorical)} categorical",
        f"left out: {', '.join(roles.left_out) or 'nothing'} (too many values, or no type for it)",
        f"wrote {output} and {sql}",
        f"next: pipeline run -c {output}",
    ]
