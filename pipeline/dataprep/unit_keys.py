"""A key is unique in all units of a source together: which of their rows come too late."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.quarantine import path_column, quarantine_table
from pipeline.dataprep.read import read_source
from pipeline.dataprep.schema import MAX_VALUE_CHARS, enforce
from pipeline.dataprep.split_units import path_of
from pipeline.store.units import Unit

Place = tuple[bool, str, int]
"""(corrected, file, number among the file's good rows from 0): the order of a source's rows."""


@dataclass
class Repeated:
    """Good rows of one unit whose key stands in an earlier row.

    Attributes:
        rows: their numbers in the unit's files, as if these were one.
        keys: place → the key as text.
    """

    rows: list[int] = field(default_factory=list)
    keys: dict[Place, str] = field(default_factory=dict)


def repeated_rows(
    spark: SparkSession, units: Sequence[Unit], key: Sequence[str]
) -> dict[str, Repeated]:
    """By the unit's key, the rows that are not the first of theirs; units without any left out.

    The first is the first by file and row; corrected rows come after all others.
    """
    files = [str(file) for unit in units if unit.record.rows_out for file in unit.good]
    if not files or not key:
        return {}
    rows = spark.read.option("recursiveFileLookup", True).parquet(*files)
    hashed = rows.select(*key, "_metadata.file_path", "_metadata.row_index").select(
        "*", _hash(rows, key).alias("_hash")
    )
    counts = hashed.groupBy("_hash").count().filter("count > 1").select("_hash")
    shared = counts.persist()
    try:
        if not shared.head():
            return {}
        texts = [F.coalesce(F.col(f"`{name}`").cast("string"), F.lit("null")) for name in key]
        text = F.substring(F.concat_ws(",", *texts), 1, MAX_VALUE_CHARS)
        found = hashed.join(shared, "_hash", "left_semi").select(
            F.struct(*key), text, "file_path", "row_index"
        )
        return _later_ones(units, [tuple(row) for row in found.collect()])
    finally:
        shared.unpersist()


def _hash(frame: DataFrame, key: Sequence[str]) -> Column:
    # -0.0 and 0.0 are one key, but have two hashes.
    kinds = dict(frame.dtypes)
    return F.xxhash64(
        *(F.col(n) + F.lit(0.0) if kinds[n] in ("float", "double") else F.col(n) for n in key)
    )


def _later_ones(units: Sequence[Unit], found: Sequence[tuple[Any, ...]]) -> dict[str, Repeated]:
    starts = _starts(units)
    rows = []
    for key, text, uri, index in found:
        unit, start = starts[path_of(uri)]
        rows.append((place(unit, start + index), tuple(key), text, unit, start + index))
    later: dict[str, Repeated] = {}
    seen: set[tuple[Any, ...]] = set()
    for at, key, text, unit, number in sorted(rows, key=lambda row: row[0]):
        if key in seen:
            repeated = later.setdefault(unit.key, Repeated())
            repeated.rows.append(number)
            repeated.keys[at] = text
        seen.add(key)
    return later


def _starts(units: Sequence[Unit]) -> dict[str, tuple[Unit, int]]:
    """Parquet file → its unit, and how many of the unit's rows stand in the files before it."""
    found: dict[str, tuple[Unit, int]] = {}
    for unit in units:
        start = 0
        rows = {entry.path: entry.rows or 0 for entry in unit.record.files}
        for file in unit.good:
            found[str(file)] = (unit, start)
            start += rows[file.relative_to(unit.folder).as_posix()]
    return found


def place(unit: Unit, number: int) -> Place:
    """Where the row of a unit stood that has some number in its files."""
    for file, rows in unit.record.good_rows.items():
        if number < rows:
            return False, file, number
        number -= rows
    return True, *unit.record.corrected[number]


def quarantined_duplicates(
    spark: SparkSession,
    source: SourceConfig,
    name: str,
    key: Sequence[str],
    places: Mapping[Place, str],
) -> DataFrame:
    """Read good rows of raw files again, for the quarantine: their text, file and row.

    Args:
        source: without its key, as the units were read.
        places: of rows that were not corrected → the key as text.

    Returns:
        Rows as ``quarantine_table`` gives them: by file and row, as their places are.
    """
    wanted = spark.createDataFrame(
        [(file, number, text) for (_, file, number), text in places.items()],
        "_path string, _number long, _key string",
    )
    raw = read_source(spark, source, name, sorted({file for _, file, _ in places}))
    of_file = Window.partitionBy("_file").orderBy("_block", "_line")
    good = enforce(raw, source).filter("not _broken")
    numbered = good.select(
        "*",
        path_column("_file").alias("_path"),
        (F.row_number().over(of_file) - 1).alias("_number"),
    )
    found = numbered.join(F.broadcast(wanted), ["_path", "_number"])
    reason = F.struct(
        F.lit("duplicate_key").alias("rule"),
        F.lit(",".join(key)).alias("column"),
        F.col("_key").alias("value"),
    )
    marked = found.withColumn("_reasons", F.array(reason))
    return quarantine_table(marked.select(*good.columns), raw, name)
