"""Deal rows so that equal values stay together, or so that every part has its share of each class.

Over the rows of all segments, so that it holds for pooled models too. Spark's hash of a value is
the same on every machine and whatever the partitions are.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.preprocess import PreprocessConfig

STRATA = 10
"""Parts of equal size that the targets of a segment are cut into, if they have fractions."""

NTH = "_nth"

_OWN = ("_among", "_whole", "_rank", "_rows", "_stratum", "_hash")


def hashed(names: Sequence[str], *salt: int | str) -> Column:
    """A 64-bit hash of some columns' values, and of what it is for."""
    values = [F.col(name) for name in _quoted(names)]
    # Spark's hash passes over a null, so that (null, a) and (a, null) would have the same.
    parts = [part for value in values for part in (value.isNull(), value)]
    return F.xxhash64(*(F.lit(part) for part in salt), *parts)


def with_turns(
    table: DataFrame, config: PreprocessConfig, among: Column, *salt: int | str
) -> DataFrame:
    """Append ``_nth``, the turn of each row in its segment: 0, 1, … by stratum.

    A stratum is a class: a text, a boolean or a whole number. Numbers of which some have a fraction
    are cut into :data:`STRATA` parts by their rank in the segment; equal ones stay together. Within
    a stratum the turns go by a hash of the rows' keys.

    Args:
        among: true of the rows that are dealt; all others of a segment have turns of their own.
        salt: of the hash.
    """
    strata = _with_strata(table.withColumn("_among", among), config)
    order = [F.col(name) for name in ("_stratum", "_hash", *_quoted(config.key))]
    window = Window.partitionBy(*_quoted(config.segment), "_among").orderBy(*order)
    numbered = strata.withColumn("_hash", hashed(config.key, *salt))
    return numbered.withColumn(NTH, F.row_number().over(window) - 1).drop(*_OWN)


def _with_strata(table: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Append ``_stratum``: the class, or the part of the segment's targets, of a row."""
    target = F.col(f"`{config.target}`")
    if dict(table.dtypes)[config.target] != "double":
        return table.withColumn("_stratum", target)
    segment = Window.partitionBy(*_quoted(config.segment), "_among")
    # A rank, so that equal targets are in one part; ntile would tear them apart.
    ranked = (
        table.withColumn("_whole", F.min(target == F.rint(target)).over(segment))
        .withColumn("_rows", F.count("*").over(segment))
        .withColumn("_rank", F.rank().over(segment.orderBy(target)) - 1)
    )
    part = F.floor(F.col("_rank") * STRATA / F.col("_rows")).cast("double")
    return ranked.withColumn("_stratum", F.when(F.col("_whole"), target).otherwise(part))


def _quoted(names: Sequence[str]) -> list[str]:
    return [f"`{name}`" for name in names]
