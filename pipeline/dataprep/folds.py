"""Folds by group, and stratified ones: the number of the fold that validates on each row."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.preprocess import FOLD, PreprocessConfig
from pipeline.dataprep.dealing import NTH, hashed, with_turns


def with_folds(table: DataFrame, config: PreprocessConfig, trained: Column) -> DataFrame:
    """Append ``fold`` to a table of ``config.columns``; nothing where folds are by time.

    Args:
        table: the feature table.
        config: with the kind of the folds.
        trained: whether a row is a training row and has a target.

    Returns:
        ``table`` and, as its last column, ``fold``: int, 0 to ``config.split.folds`` - 1, null
        where ``trained`` is not true.

        By group it is a hash of the group's values, modulo the number of folds: null is a value
        of its own, and no other row has a say in it.

        Stratified, the rows of a segment are dealt to the folds in turn (see ``with_turns``), so
        that the folds' rows differ by at most 1 in each stratum and in each segment. Which fold is
        dealt to first depends on the segment, else one fold would get all rows of segments of one
        row.
    """
    split = config.split
    if split.kind == "time":
        return table
    if split.kind == "group":
        fold = F.pmod(hashed(split.group, split.seed), F.lit(split.folds))
        return table.withColumn(FOLD, F.when(trained, fold.cast("int")))
    first = F.pmod(hashed(config.segment, split.seed), F.lit(split.folds))
    fold = F.pmod(F.col(NTH) + first, F.lit(split.folds))
    dealt = with_turns(table, config, trained, split.seed)
    return dealt.withColumn(FOLD, F.when(trained, fold.cast("int"))).drop(NTH)
