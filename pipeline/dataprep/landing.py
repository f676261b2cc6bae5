"""Rows of databases and catalogs, read once and laid down as files of texts.

What follows reads the files: a broken row is looked at again without asking the database again,
which may have changed meanwhile, and its connection is not kept open for longer than it takes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from pipeline.config.ingest import SourceConfig
from pipeline.dataprep.drift import FileDrift, sum_drift
from pipeline.dataprep.parts import count_rows, write_parts
from pipeline.dataprep.raw_rows import PROBLEM_TYPE, RawRows
from pipeline.dataprep.read_catalog import read_catalog
from pipeline.dataprep.read_jdbc import read_jdbc
from pipeline.dataprep.read_lines import escape_glob
from pipeline.dataprep.session import prepare_session
from pipeline.engines.database import refusal
from pipeline.errors import StageFailed

_POSITIVE = (1 << 63) - 1
_DRIFT = "_drift.json"
"""Beside the files: how the table's columns differ from the declared ones."""


@dataclass(frozen=True)
class Landed:
    """Files of one source's rows.

    Attributes:
        files: Parquet files of the declared columns as strings.
        rows: how many rows they hold.
        content: a hash of the rows, whatever their order; 20 hexadecimal digits.
    """

    files: list[Path]
    rows: int
    content: str


def land(
    spark: SparkSession, source: SourceConfig, name: str, jar: Path | None, folder: Path
) -> Landed:
    """Read a source that is no file, once, into ``folder``.

    Raises:
        DataRefused: a declared column or the table itself is not there.
        ConfigError: the source's SQL is refused.
        StageFailed: the database or the catalog failed; the message holds no secret.
    """
    prepare_session(spark)
    try:
        if source.jdbc is not None:
            rows, drift = read_jdbc(spark, source, source.jdbc, jar)
        else:
            rows, drift = read_catalog(spark, source, name)
        landed = _write(rows, source, folder)
    except (Py4JJavaError, PySparkException) as error:
        if source.jdbc is not None:
            raise refusal(name, source.jdbc, error) from None  # the cause may hold a secret
        first = str(error).strip().splitlines()[0]
        raise StageFailed(f"source {name}: Spark could not read it: {first}") from error
    (folder / _DRIFT).write_text(json.dumps(asdict(drift)))
    return landed


def open_landed(
    spark: SparkSession, source: SourceConfig, name: str, files: Sequence[str]
) -> RawRows:
    """Raw rows as ``read.open_source`` describes them, from the files of :func:`land`.

    A table's rows have neither a place nor an order. Their number is made of their content, so
    that the same one of two rows with a key is kept in every run.
    """
    rows = spark.read.parquet(*(escape_glob(file) for file in files))
    names = list(source.columns)
    number = _hash(names, 0).bitwiseAND(F.lit(_POSITIVE))
    raw = rows.select(
        F.lit(source.place.replace("%", "%25")).alias("_file"),
        F.lit(0).cast("long").alias("_block"),
        number.alias("_line"),
        number.alias("_row"),
        F.lit(None).cast("int").alias("_item"),
        F.to_json(F.struct(*names), {"ignoreNullFields": "false"}).alias("_raw"),
        F.lit(None).cast(PROBLEM_TYPE).alias("_problem"),
        *names,
    )
    return RawRows(raw, sum_drift([(_drift(Path(files[0]).parent), 1)]))


def _drift(folder: Path) -> FileDrift:
    found = json.loads((folder / _DRIFT).read_text())
    return FileDrift(
        extra=tuple(found["extra"]),
        missing=tuple(found["missing"]),
        reordered=found["reordered"],
    )


def _write(rows: DataFrame, source: SourceConfig, folder: Path) -> Landed:
    names, found = list(source.columns), Observation()
    sums = [F.sum(_hash(names, seed).cast("decimal(38,0)")).alias(f"s{seed}") for seed in (1, 2)]
    # A database gives rows in any order; equal rows shall make equal files.
    ordered = rows.observe(found, *sums).sortWithinPartitions(*(source.key or names))
    files = write_parts(ordered, folder)
    count = count_rows(files)
    totals = found.get
    text = f"{count} {totals['s1']} {totals['s2']}"
    return Landed(files, count, hashlib.sha256(text.encode()).hexdigest()[:20])


def _hash(names: Sequence[str], seed: int) -> Column:
    # Whether a value is null is hashed too: Spark passes over nulls.
    cells = [part for name in names for part in (F.col(name), F.col(name).isNull())]
    return F.xxhash64(F.lit(seed), *cells)
