"""Folds by group, and stratified ones: the number of the fold that validates on each row.

Dealt here, over the rows of all segments, so that what must lie together does so for pooled models
too. Spark's hash of a value is the same on every machine and whatever the partitions are.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline.config.preprocess import FOLD, PreprocessConfig

STRATA = 10
"""Parts of equal size that the targets of a segment are cut into, if they have fractions."""

_OWN = ("_trained", "_whole", "_rank", "_rows", "_stratum", "_hash", "_nth")


def with_folds(table: DataFrame, config: PreprocessConfig, trained: Column) -> DataFrame:
    """Append ``fold`` to a table of ``config.columns``; nothing where folds are by time.

    Args:
        table: the feature table.
        config: with the kind of the folds.
        trained: whether a row lies before the test period and has a target.

    Returns:
        ``table`` and, as its last column, ``fold``: int, 0 to ``config.split.folds`` - 1, null
        where ``trained`` is not true.

        By group it is a hash of the group's values, modulo the number of folds: null is a value
        of its own, and no other row has a say in it.

        Stratified, the rows of a segment are ordered by stratum, within a stratum by a hash of
        their key, and dealt to the folds in turn. So the folds' rows differ by at most 1 in each
        stratum and in each segment. A stratum is a class: a text, a boolean or a whole number.
        Numbers of which some have a fraction are cut into :data:`STRATA` parts by their rank in
        the segment; equal ones stay together. Which fold is dealt to first depends on the
        segment, else one fold would get all rows of segments of one row.
    """
    split = config.split
    if split.kind == "time":
        return table
    if split.kind == "group":
        fold = F.pmod(_hash(split.group, split.seed), F.lit(split.folds))
        return table.withColumn(FOLD, F.when(trained, fold.cast("int")))
    dealt = _dealt(_with_strata(table.withColumn("_trained", trained), config), config)
    first = F.pmod(_hash(config.segment, split.seed), F.lit(split.folds))
    fold = F.pmod(F.col("_nth") + first, F.lit(split.folds))
    return dealt.withColumn(FOLD, F.when(F.col("_trained"), fold.cast("int"))).drop(*_OWN)


def _with_strata(table: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Append ``_stratum``: the class, or the part of the segment's targets, of a row."""
    target = F.col(f"`{config.target}`")
    if dict(table.dtypes)[config.target] != "double":
        return table.withColumn("_stratum", target)
    segment = Window.partitionBy(*_segment(config))
    # A rank, so that equal targets are in one part; ntile would tear them apart.
    ranked = (
        table.withColumn("_whole", F.min(target == F.rint(target)).over(segment))
        .withColumn("_rows", F.count("*").over(segment))
        .withColumn("_rank", F.rank().over(segment.orderBy(target)) - 1)
    )
    part = F.floor(F.col("_rank") * STRATA / F.col("_rows")).cast("double")
    return ranked.withColumn("_stratum", F.when(F.col("_whole"), target).otherwise(part))


def _dealt(table: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Append ``_nth``: how many rows of its segment are dealt before a row."""
    order = [F.col(name) for name in ("_stratum", "_hash", *_quoted(config.key))]
    window = Window.partitionBy(*_segment(config)).orderBy(*order)
    hashed = table.withColumn("_hash", _hash(config.key, config.split.seed))
    return hashed.withColumn("_nth", F.row_number().over(window) - 1)


def _segment(config: PreprocessConfig) -> list[str]:
    return [*_quoted(config.segment), "_trained"]  # rows that are not trained on have no rank


def _hash(names: Sequence[str], seed: int) -> Column:
    """A 64-bit hash of some columns' values."""
    values = [F.col(name) for name in _quoted(names)]
    # Spark's hash passes over a null, so that (null, a) and (a, null) would have the same.
    parts = [part for value in values for part in (value.isNull(), value)]
    return F.xxhash64(F.lit(seed), *parts)


def _quoted(names: Sequence[str]) -> list[str]:
    return [f"`{name}`" for name in names]
