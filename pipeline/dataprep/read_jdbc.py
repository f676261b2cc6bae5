"""A table or query of a database as texts.

Every value is fetched as the driver's own text for it, and typed by the declared columns like a
cell of a CSV file: a value that is not of its type (SQLite keeps any, PostgreSQL has ``infinity``)
costs its row and not the job, no decimal is rounded to Spark's scale, and no time is shifted by
the zone of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.config.jdbc import JdbcConfig, JdbcPartition
from pipeline.dataprep.drift import FileDrift, check_names

_SESSION = {"postgresql": "SET TIME ZONE 'UTC'"}
"""What a session begins with: zones of old times have seconds, which no other reader takes."""


def read_jdbc(
    spark: SparkSession, source: SourceConfig, jdbc: JdbcConfig, jar: Path | None
) -> tuple[DataFrame, FileDrift]:
    """The declared columns as strings, and what differs from them; no row is fetched yet.

    Args:
        spark: a running session, which gets the jar if it is given.
        source: the declared columns.
        jdbc: what to read.
        jar: the driver's file.

    Raises:
        DataRefused: a declared column is not there, or another is and may not.
        Py4JJavaError: the database's or the driver's own error, with secrets perhaps.
    """
    if jar is not None:
        spark.sql(f"ADD JAR '{_quoted(jar)}'")  # for this thread of the driver and the executors
    names = _load(spark, jdbc, {}).columns
    drift = check_names(jdbc.place, names, source)
    there = [name for name in dict.fromkeys(source.names_in_files.values()) if name in names]
    texts = {"customSchema": ", ".join(f"`{name}` STRING" for name in there)} if there else {}
    rows = _load(spark, jdbc, texts)
    return rows.select(
        *(
            (F.col(f"`{name}`") if name in there else F.lit(None).cast("string")).alias(column)
            for column, name in source.names_in_files.items()
        )
    ), drift


def conditions(partition: JdbcPartition, quote: str) -> Iterator[str]:
    """SQL conditions that cut all rows into ``num_partitions`` parts; nulls are in the first."""
    column = f"{quote}{partition.column}{quote}"
    inner = list(_cuts(partition))
    yield f"{column} < {inner[0]} OR {column} IS NULL"
    for low, high in pairwise(inner):
        yield f"{column} >= {low} AND {column} < {high}"
    yield f"{column} >= {inner[-1]}"


def _cuts(partition: JdbcPartition) -> Iterator[str]:
    """The inner bounds as SQL literals, at equal distances."""
    low, high, parts = partition.lower, partition.upper, partition.num_partitions
    if isinstance(low, int) and isinstance(high, int):
        for k in range(1, parts):
            yield str(low + (high - low) * k // parts)
        return
    first, last = datetime.fromisoformat(str(low)), datetime.fromisoformat(str(high))
    days = len(str(low)) == len(str(high)) == len("2024-01-01")
    for k in range(1, parts):
        at = (first + (last - first) * k / parts).replace(microsecond=0)
        yield f"'{at.date() if days else at.isoformat(sep=' ')}'"


def _load(spark: SparkSession, jdbc: JdbcConfig, options: dict[str, str]) -> DataFrame:
    common = {
        "driver": jdbc.driver_class,
        "fetchsize": str(jdbc.fetch_size),
        "queryTimeout": str(jdbc.query_timeout_seconds),
        # The database would compare its own types where Spark means texts.
        "pushDownPredicate": "false",
        **options,
    }
    if jdbc.database in _SESSION:
        common["sessionInitStatement"] = _SESSION[jdbc.database]
    rows = jdbc.table if jdbc.table is not None else f"({jdbc.query}) spark_rows"
    reader = spark.read.options(**common)
    properties = jdbc.connection_properties()
    if jdbc.partition is None:
        return reader.jdbc(jdbc.url, rows, properties=properties)
    quote = "`" if jdbc.database in ("mysql", "mariadb") else '"'
    parts = list(conditions(jdbc.partition, quote))
    return reader.jdbc(jdbc.url, rows, predicates=parts, properties=properties)


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace("'", "\\'")
