"""A key is unique in all units of a source together: which of their rows come too late.

Looked for here and not in Spark, which takes most of a minute for ten thousand small files.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.key_hashes import hashes_of, repeated_hashes
from pipeline.dataprep.quarantine import path_column, quarantine_table
from pipeline.dataprep.raw_rows import MAX_VALUE_CHARS
from pipeline.dataprep.read import read_source
from pipeline.dataprep.rules import TableRules, is_good
from pipeline.dataprep.schema import enforce, source_rules
from pipeline.store.units import Unit

Place = tuple[bool, str, int]
"""(corrected, file, number among the file's good rows from 0): the order of a source's rows."""


@dataclass
class Repeated:
    """Good rows of one unit whose key stands in an earlier row.

    Attributes:
        rows: their numbers in the unit's files, as if these were one.
        keys: the rows' places → the key as text.
    """

    rows: list[int] = field(default_factory=list)
    keys: dict[Place, str] = field(default_factory=dict)


def repeated_rows(units: Sequence[Unit], key: Sequence[str]) -> dict[str, Repeated]:
    """By the unit's key, the rows that are not the first of theirs; units without any left out.

    The first is the first by file and row; corrected rows come after all others.
    """
    places = _starts(units)
    if not places or not key:
        return {}
    rows_out = sum(unit.record.rows_out for unit in units)
    shared = repeated_hashes(list(places), key, rows_out)
    if not shared.size:
        return {}
    rows = []
    for file, (unit, start) in places.items():
        table = pq.read_table(file, columns=list(key))
        numbers = np.flatnonzero(np.isin(hashes_of(table), shared))
        for number, row in zip(numbers.tolist(), table.take(numbers).to_pylist(), strict=True):
            rows.append((place(unit, start + number), tuple(row.values()), unit, start + number))
    return _later_ones(rows)


def _later_ones(rows: Iterable[tuple[Place, tuple[Any, ...], Unit, int]]) -> dict[str, Repeated]:
    later: dict[str, Repeated] = {}
    seen: set[tuple[Any, ...]] = set()
    for at, key, unit, number in sorted(rows, key=lambda row: row[0]):
        if key in seen:
            repeated = later.setdefault(unit.key, Repeated())
            repeated.rows.append(number)
            repeated.keys[at] = ",".join(map(_text, key))[:MAX_VALUE_CHARS]
        seen.add(key)
    return later


def _text(value: Any) -> str:
    """A value as Spark casts it to a string, but for numbers with exponents."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.replace(tzinfo=None) if isinstance(value, datetime) else value)


def _starts(units: Sequence[Unit]) -> dict[Path, tuple[Unit, int]]:
    """Parquet file → its unit, and how many of the unit's rows stand in the files before it."""
    found: dict[Path, tuple[Unit, int]] = {}
    for unit in units:
        start = 0
        rows = {entry.path: entry.rows or 0 for entry in unit.record.files}
        for file in unit.good if unit.record.rows_out else ():
            found[file] = (unit, start)
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
    places: Collection[Place],
) -> DataFrame:
    """Read good rows of raw files again, for the quarantine: their text, file and row.

    Args:
        source: as ``unit_source`` gives it.
        places: of rows that were not corrected.

    Returns:
        Rows as ``quarantine_table`` gives them: by file and row, as their places are.
    """
    wanted = spark.createDataFrame(
        [(file, number) for _, file, number in places], "_path string, _number long"
    )
    files = sorted({file for _, file, _ in places})
    raw = read_source(spark, source, name, files)
    numbered = number_good_rows(raw, source, source_rules(spark, source, name, ()))
    found = numbered.join(F.broadcast(wanted), ["_path", "_number"])
    texts = [F.col(f"`{column}`").cast("string") for column in key]
    reason = F.struct(
        F.lit("duplicate_key").alias("rule"),
        F.lit(",".join(key)).alias("column"),
        F.substring(F.concat_ws(",", *texts), 1, MAX_VALUE_CHARS).alias("value"),
    )
    marked = found.withColumn("_reasons", F.array(reason))
    return quarantine_table(marked, raw, name, source)


def number_good_rows(raw: DataFrame, source: SourceConfig, rules: TableRules) -> DataFrame:
    """The good rows of raw files, each with its file in ``_path`` and its ``_number`` there."""
    of_file = Window.partitionBy("_file").orderBy("_block", "_line", "_item")
    return (
        enforce(raw, source, rules)
        .filter(is_good())
        .select(
            "*",
            path_column("_file").alias("_path"),
            (F.row_number().over(of_file) - 1).alias("_number"),
        )
    )
