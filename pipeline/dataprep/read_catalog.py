"""A table of Spark's catalog, or one SELECT over its tables, as texts."""

from __future__ import annotations

from pyspark.errors import AnalysisException, ParseException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, BinaryType, DataType, MapType, StructType

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import FileDrift, check_names
from pipeline.dataprep.sql import describe_problem
from pipeline.dataprep.sql_guard import check_catalog_query
from pipeline.errors import ConfigError, DataRefused


def read_catalog(
    spark: SparkSession, source: SourceConfig, name: str
) -> tuple[DataFrame, FileDrift]:
    """The declared columns as strings, and what differs from them; lists, maps, structs as JSON.

    Raises:
        DataRefused: there is no such table, a declared column is not in it or cannot be a text,
            or another column is there and may not.
        ConfigError: the SQL is wrong, or does more than read tables of the catalog.
    """
    frame = _of_table(spark, source.table, name) if source.table else _of_sql(spark, source, name)
    drift = check_names(source.place, frame.columns, source)
    types = {field.name: field.dataType for field in frame.schema.fields}
    texts = (
        _text(source, found, types.get(found)).alias(column)
        for column, found in source.names_in_files.items()
    )
    return frame.select(*texts), drift


def _of_table(spark: SparkSession, table: str, name: str) -> DataFrame:
    # Asked for first, since Spark takes `text.x` for a file where there is no such table.
    if not spark.catalog.tableExists(table):
        raise DataRefused(
            f"source {name}: Spark's catalog has no table {table}",
            hint="check its name, and that engines.spark.conf names the catalog",
        )
    return spark.table(table)


def _of_sql(spark: SparkSession, source: SourceConfig, name: str) -> DataFrame:
    text = source.sql or ""
    try:
        check_catalog_query(spark, f"source {name}", text)
        return spark.sql(text)
    except (ParseException, AnalysisException) as error:
        raise ConfigError(
            describe_problem(f"source {name}", error), hint=f"correct ingest.sources.{name}.sql"
        ) from error


def _text(source: SourceConfig, name: str, found: DataType | None) -> Column:
    if found is None:
        return F.lit(None).cast("string")
    if isinstance(found, BinaryType):
        raise DataRefused(
            f"{source.place}: column {name!r} is binary",
            hint="read it by sql, with hex() or decode() around it",
        )
    value = F.col(f"`{name}`")
    if isinstance(found, ArrayType | MapType | StructType):
        return F.to_json(value)
    return value.cast("string")
