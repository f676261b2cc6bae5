"""Files that carry types, Parquet and ORC: their schemas against the declared columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.column import ColumnConfig
from pipeline.config.field_path import Step
from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.casts import from_text
from pipeline.dataprep.drift import FileDrift, check_names
from pipeline.dataprep.local_times import SKIPPED_BY_CLOCKS, as_utc
from pipeline.dataprep.raw_rows import MAX_VALUE_CHARS, PROBLEM_TYPE, problem
from pipeline.errors import DataRefused

_INTEGERS = {
    "int": {"int8", "int16", "int32", "uint8", "uint16"},
    "long": {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"},
}
AsTime = Callable[[Column, str], Column]
ELEMENT = "_element"
"""The column of an exploded array's element."""


class Found(NamedTuple):
    """A declared column as a file has it: Arrow's name of its type, None where it is not there."""

    column: str
    arrow: str | None
    fits: bool


@dataclass(frozen=True)
class Physical:
    """What files must share to be read together.

    Attributes:
        found: each declared column.
        tops: (name, Arrow type) of the columns of the file that hold them.
        drift: what the policies let pass.
    """

    found: tuple[Found, ...]
    tops: tuple[tuple[str, str], ...]
    drift: FileDrift


def compare_schema(path: str, schema: pa.Schema, source: SourceConfig) -> Physical:
    """Find the declared columns in the schema of a file.

    Raises:
        DataRefused: the file lacks a declared column, holds it in a type that cannot become the
            declared one without loss, or has others than declared, and a policy refuses that.
    """
    array = _find(schema, source.array, ())
    if source.array and not _is_list(array):
        raise DataRefused(
            f"{path}: explode: {source.explode!r} is {array or 'not there'}, not an array",
            hint="name an array of the file, or remove explode",
        )
    types = {c: _find(schema, source.steps_to(c), source.array) for c in source.columns}
    missing = [column for column, arrow in types.items() if arrow is None]
    tops = list(dict.fromkeys(map(source.top_name, source.columns)))
    drift = check_names(path, _names(schema, tops, source), source, missing=missing)
    found = [_look_at(path, column, arrow, source) for column, arrow in types.items()]
    retyped = [
        f"{column}: {arrow}, not {source.columns[column].type}"
        for column, arrow, fits in found
        if not fits
    ]
    array_top = [str(step) for step in source.array[:1]]
    return Physical(
        tuple(found),
        tuple(
            (top, str(schema.field(top).type))
            for top in dict.fromkeys([*tops, *array_top])
            if top in schema.names
        ),
        replace(drift, retyped=tuple(retyped)),
    )


def _names(schema: pa.Schema, tops: list[str], source: SourceConfig) -> list[str]:
    """The names in a file without the exploded array's, unless it holds a declared column."""
    return [name for name in schema.names if name in tops or name not in source.array[:1]]


def _look_at(path: str, column: str, arrow: pa.DataType | None, source: SourceConfig) -> Found:
    declared = source.columns[column].type
    if arrow is None:
        return Found(column, None, True)
    name = str(arrow.value_type if pa.types.is_dictionary(arrow) else arrow)
    fits = _fits(name, arrow, declared)
    if not fits and (source.changed_types == "refuse" or pa.types.is_nested(arrow)):
        raise DataRefused(
            f"{path}: column {column!r} is {name}; {declared} is declared",
            hint="write the file in the declared type, declare the type it has, or set "
            "changed_types: cast",
        )
    return Found(column, name, fits)


def exploded(frame: DataFrame, source: SourceConfig) -> DataFrame:
    """A row for each element of the declared array, with ``_item`` its number from 1.

    A record without elements stays one row, whose ``_item`` is null.
    """
    if not source.array:
        return frame.select("*", F.lit(None).cast("int").alias("_item"))
    array = _value(source.array, ())
    each = frame.select("*", F.posexplode_outer(array).alias("_place", ELEMENT))
    return each.select("*", (F.col("_place") + 1).cast("int").alias("_item")).drop("_place")


def typed_columns(
    frame: DataFrame, source: SourceConfig, physical: Physical, as_time: AsTime
) -> list[Column]:
    """``_problem`` and the declared columns, in their types.

    Args:
        frame: the rows of files that share ``physical``, exploded.
        source: the declared columns.
        physical: the types in the files.
        as_time: makes a timestamp of what Spark reads, given Arrow's name of the type.
    """
    values, problems = [], []
    for column, arrow, fits in physical.found:
        config = source.columns[column]
        if arrow is None:
            values.append(F.lit(None).cast(config.type).alias(column))
            continue
        found = _value(source.steps_to(column), source.array)
        if arrow.startswith("timestamp"):
            found = as_time(found, arrow)
        changed = None if fits else frame.select(found).schema[0].dataType
        value, rule = _as_declared(found, arrow, config, changed)
        values.append(value.alias(column))
        if rule is not None:
            broken = F.when(value.isNull() & found.isNotNull(), F.lit(rule))
            shown = F.substring(found.cast("string"), 1, MAX_VALUE_CHARS)
            problems.append(problem(broken, F.lit(column), shown))
    none = F.lit(None).cast(PROBLEM_TYPE)
    return [F.coalesce(none, *problems).alias("_problem"), *values]


def _as_declared(
    found: Column, arrow: str, config: ColumnConfig, changed: T.DataType | None
) -> tuple[Column, str | None]:
    """The declared value, and the rule that is broken where it is null and ``found`` is not."""
    if changed is not None:
        return _what_fits(found, changed, config), f"not_a_{config.type.replace(' ', '')}"
    value = found.cast(config.type)
    if config.zone is not None and "tz=" not in arrow:
        return as_utc(value, config.zone), SKIPPED_BY_CLOCKS
    return value, None


def raw_json(physical: Physical) -> Column:
    """A record's columns that hold declared ones, as JSON."""
    return F.to_json(F.struct(*(F.col(f"`{top}`") for top, _ in physical.tops)))


def _what_fits(found: Column, spark_type: T.DataType, config: ColumnConfig) -> Column:
    """The value in the declared type where nothing of it is lost, else null."""
    declared = T._parse_datatype_string(config.type)
    numbers = (T.NumericType, T.BooleanType)
    times = (T.DateType, T.TimestampType, T.TimestampNTZType)
    for kinds in (numbers, times):
        if isinstance(spark_type, kinds) and isinstance(declared, kinds):
            value = found.cast(declared)
            return F.when(value.cast(spark_type) == found, value)
    return from_text(found.cast("string"), config)


def _value(path: tuple[Step, ...], array: tuple[Step, ...]) -> Column:
    """The value at a path; below the exploded array it is taken from the element."""
    if array and path[: len(array)] == array:
        value, rest = F.col(ELEMENT), path[len(array) :]
    else:
        value, rest = F.col(f"`{path[0]}`"), path[1:]
    for step in rest:
        value = value.getField(step) if isinstance(step, str) else value.getItem(step)
    return value


def _find(schema: pa.Schema, path: tuple[Step, ...], array: tuple[Step, ...]) -> pa.DataType | None:
    here: pa.DataType | None = pa.struct(list(schema))
    for depth, step in enumerate(path, 1):
        here = _child(here, step)
        if array and path[:depth] == array:
            here = _child(here, 0)
    return here


def _child(kind: pa.DataType | None, step: Step) -> pa.DataType | None:
    if kind is None:
        return None
    if isinstance(step, int):
        return kind.value_type if _is_list(kind) else None
    index = kind.get_field_index(step) if pa.types.is_struct(kind) else -1
    return kind.field(index).type if index >= 0 else None


def _is_list(kind: pa.DataType | None) -> bool:
    return kind is not None and bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _fits(found: str, arrow: pa.DataType, declared: str) -> bool:
    """Whether every value of a Parquet type has an equal one in the declared type."""
    if declared in _INTEGERS:
        return found in _INTEGERS[declared]
    if declared == "float":
        return found in {"float", "halffloat"}
    if declared == "double":
        return found in {"float", "double"} | _INTEGERS["int"]
    if declared == "string":
        return found in {"string", "large_string"}
    if declared == "boolean":
        return found == "bool"
    if declared == "date":
        return found == "date32[day]"
    if declared == "timestamp":
        return found == "int96" or found.startswith("timestamp[")
    precision, scale = (int(part) for part in declared[8:-1].split(","))
    return isinstance(arrow, pa.Decimal128Type) and (
        arrow.scale <= scale and arrow.precision - arrow.scale <= precision - scale
    )
