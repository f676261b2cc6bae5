"""Parquet files as raw rows; footers are compared with the declared columns on the driver first."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import sum_drift
from pipeline.dataprep.headers import check_is_file, group_files
from pipeline.dataprep.raw_rows import RawRows, union
from pipeline.dataprep.read_lines import escape_glob
from pipeline.dataprep.typed_files import (
    Physical,
    compare_schema,
    exploded,
    raw_json,
    typed_columns,
)
from pipeline.errors import DataRefused


def open_parquet(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> RawRows:
    """Raw rows of Parquet files, in the declared types.

    Raises:
        DataRefused: a file is not Parquet or is damaged, lacks a declared column, or holds it
            in a type that cannot become the declared one without loss.
    """
    groups = group_files(name, files, lambda file: _physical(file, source))
    frames = [_read_group(spark, source, physical, group) for physical, group in groups.items()]
    return RawRows(union(frames), sum_drift((p.drift, len(group)) for p, group in groups.items()))


def _read_group(
    spark: SparkSession, source: SourceConfig, physical: Physical, files: Sequence[str]
) -> DataFrame:
    reader = spark.read.option("recursiveFileLookup", True).option("mergeSchema", False)
    read = reader.parquet(*(escape_glob(file) for file in files)).select(
        "*",
        F.col("_metadata.file_path").alias("_file"),
        F.lit(0).cast("long").alias("_block"),
        (F.col("_metadata.row_index") + 1).alias("_row"),
    )
    rows = exploded(read, source)
    return rows.select(
        "_file",
        "_block",
        F.col("_row").alias("_line"),
        "_row",
        "_item",
        raw_json(physical).alias("_raw"),
        *typed_columns(rows, source, physical, _as_time),
    )


def _as_time(found: Column, arrow: str) -> Column:
    if not arrow.startswith("timestamp[ns"):
        return found
    # Read as a count of nanoseconds (see session.py); Spark keeps microseconds.
    whole = found - F.pmod(found, F.lit(1000))
    return F.timestamp_micros(F.call_function("div", whole, F.lit(1000)))


def _physical(path: str, source: SourceConfig) -> Physical:
    check_is_file(path)
    try:
        with pq.ParquetFile(path) as file:
            schema = _with_int96(file.schema_arrow, file.schema)
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(
            f"{path} is not a whole Parquet file: {str(error).splitlines()[0]}",
            hint="fetch the file again, or fix its name or the source's format",
        ) from error
    return compare_schema(path, schema, source)


def _with_int96(schema: pa.Schema, columns: pq.ParquetSchema) -> pa.Schema:
    """Arrow shows INT96 as nanoseconds; Spark reads it as an instant by itself."""
    for index in range(len(columns)):
        column = columns.column(index)
        place = schema.get_field_index(column.path)
        if column.physical_type == "INT96" and place >= 0:
            schema = schema.set(place, pa.field(column.path, pa.timestamp("us", "UTC")))
    return schema
