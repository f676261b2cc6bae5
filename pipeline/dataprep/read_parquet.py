"""Parquet files as raw rows; footers are compared with the declared columns on the driver first."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.headers import check_is_file, describe_missing
from pipeline.dataprep.read_csv import escape_glob
from pipeline.errors import DataRefused

_INTEGERS = {
    "int": {"int8", "int16", "int32", "uint8", "uint16"},
    "long": {"int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"},
}
Physical = tuple[tuple[str, str], ...]
"""(column, Arrow type) of the declared columns: files that agree are read together."""


def parquet_groups(
    name: str, source: SourceConfig, files: Sequence[str]
) -> dict[Physical, list[str]]:
    """Group the files by the types of the declared columns.

    Raises:
        DataRefused: a file is not Parquet or is damaged, lacks a declared column, or holds it
            in a type that cannot become the declared one without loss.
    """
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda file: _physical_or_error(file, source), files))
    refused = [item for item in found if isinstance(item, DataRefused)]
    if refused:
        lines = [f"source {name}: {error.message}" for error in refused[:10]]
        more = [f"… and {len(refused) - 10} more files"] if len(refused) > 10 else []
        raise DataRefused("\n".join(lines + more), hint=refused[0].hint)
    groups: dict[Physical, list[str]] = {}
    for file, physical in zip(files, found, strict=True):
        if not isinstance(physical, DataRefused):
            groups.setdefault(physical, []).append(file)
    return groups


def read_parquet_group(
    spark: SparkSession, source: SourceConfig, physical: Physical, files: Sequence[str]
) -> DataFrame:
    """Raw rows of files that share their types, in the declared types."""
    frame = (
        spark.read.option("recursiveFileLookup", True)
        .option("mergeSchema", False)
        .parquet(*(escape_glob(file) for file in files))
    )
    row = F.col("_metadata.row_index") + 1
    return frame.select(
        F.col("_metadata.file_path").alias("_file"),
        F.lit(0).cast("long").alias("_block"),
        row.alias("_line"),
        row.alias("_row"),
        F.to_json(F.struct(*(F.col(f"`{column}`") for column in source.columns))).alias("_raw"),
        F.lit(None).cast("struct<rule:string,column:string,value:string>").alias("_problem"),
        *(
            _as_declared(column, source.columns[column].type, arrow).alias(column)
            for column, arrow in physical
        ),
    )


def _as_declared(column: str, declared: str, arrow: str) -> Column:
    found = F.col(f"`{column}`")
    if arrow.startswith("timestamp[ns"):
        # Read as a count of nanoseconds (see session.py); Spark keeps microseconds.
        return F.expr(f"timestamp_micros((`{column}` - pmod(`{column}`, 1000)) div 1000)")
    return found.cast(declared)


def _physical_or_error(path: str, source: SourceConfig) -> Physical | DataRefused:
    try:
        check_is_file(path)
        with pq.ParquetFile(path) as file:
            arrow, columns = file.schema_arrow, file.schema
            # Arrow shows INT96 as nanoseconds; Spark reads it as a timestamp by itself.
            int96 = {
                columns.column(index).path
                for index in range(len(columns))
                if columns.column(index).physical_type == "INT96"
            }
    except DataRefused as error:
        return error
    except (pa.ArrowException, OSError) as error:
        return DataRefused(
            f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}",
            hint="fetch the file again, or fix its name or the source's format",
        )
    return _check_schema(path, arrow, int96, source)


def _check_schema(
    path: str, arrow: pa.Schema, int96: set[str], source: SourceConfig
) -> Physical | DataRefused:
    folded = [name.casefold() for name in arrow.names]
    twice = [name for name in arrow.names if folded.count(name.casefold()) > 1]
    if twice:
        return DataRefused(
            f"{path}: column names that are equal but for their case: {', '.join(twice)}",
            hint="rename one of them",
        )
    missing = [column for column in source.columns if column not in arrow.names]
    if missing:
        return DataRefused(
            f"{path}: {', '.join(describe_missing(missing, arrow.names))}",
            hint="write the file again with the column, or remove it from the source's columns",
        )
    extra = [name for name in arrow.names if name not in source.columns]
    if extra and source.extra_columns == "refuse":
        return DataRefused(
            f"{path}: columns that are not declared: {', '.join(extra)}",
            hint="declare them, or set extra_columns: ignore",
        )
    physical = []
    for column, config in source.columns.items():
        found = _type_name(arrow.field(column).type)
        found = "int96" if column in int96 else found
        if not _fits(found, arrow.field(column).type, config.type):
            return DataRefused(
                f"{path}: column {column!r} is {found}; {config.type} is declared",
                hint="write the file in the declared type, or declare the type it has",
            )
        physical.append((column, found))
    return tuple(physical)


def _type_name(arrow: pa.DataType) -> str:
    return str(arrow.value_type if pa.types.is_dictionary(arrow) else arrow)


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
