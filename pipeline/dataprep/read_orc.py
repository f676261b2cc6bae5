"""ORC files as raw rows; their schemas are compared with the declared columns first."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pyarrow import orc
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import sum_drift
from pipeline.dataprep.headers import check_is_file, group_files
from pipeline.dataprep.raw_rows import RawRows, union
from pipeline.dataprep.read_lines import escape_glob, number_lines
from pipeline.dataprep.typed_files import (
    Physical,
    compare_schema,
    exploded,
    raw_json,
    typed_columns,
)
from pipeline.errors import DataRefused


def open_orc(spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]) -> RawRows:
    """Raw rows of ORC files, in the declared types.

    Raises:
        DataRefused: a file is not ORC or is damaged, lacks a declared column, or holds it in a
            type that cannot become the declared one without loss.
    """
    groups = group_files(name, files, lambda file: _physical(file, source))
    frames = [_read_group(spark, source, physical, group) for physical, group in groups.items()]
    return RawRows(union(frames), sum_drift((p.drift, len(group)) for p, group in groups.items()))


def _read_group(
    spark: SparkSession, source: SourceConfig, physical: Physical, files: Sequence[str]
) -> DataFrame:
    reader = spark.read.option("recursiveFileLookup", True).option("mergeSchema", False)
    read = reader.orc([escape_glob(file) for file in files]).select(
        "*",
        F.col("_metadata.file_path").alias("_file"),
        F.col("_metadata.file_block_start").alias("_block"),
    )
    rows = exploded(number_lines(read), source)
    zone = spark._jvm.java.util.TimeZone.getDefault().getID()  # type: ignore[union-attr]

    def as_time(found: Column, _: str) -> Column:
        # ORC's timestamps are what clocks show; Spark takes the clocks of the JVM's zone.
        return F.from_utc_timestamp(found, zone)

    return rows.select(
        "_file",
        "_block",
        "_line",
        "_row",
        "_item",
        raw_json(physical).alias("_raw"),
        *typed_columns(rows, source, physical, as_time),
    )


def _physical(path: str, source: SourceConfig) -> Physical:
    check_is_file(path)
    try:
        schema = orc.ORCFile(path).schema
    except (pa.ArrowException, OSError) as error:
        raise DataRefused(
            f"{path} is not a whole ORC file: {str(error).splitlines()[0]}",
            hint="fetch the file again, or fix its name or the source's format",
        ) from error
    instants = [field.name for field in schema if "tz=" in str(field.type)]
    if instants:  # not even the other columns of such a file
        raise DataRefused(
            f"{path}: Spark 3.5 cannot read ORC's 'timestamp with local time zone', which is the "
            f"type of {', '.join(instants)}",
            hint="write a plain timestamp in UTC, or write Parquet",
        )
    return compare_schema(path, schema, source)
