"""Which rows are held out for the test: the column ``split`` of the feature table."""

from __future__ import annotations

from datetime import datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.preprocess import SPLIT, PreprocessConfig
from pipeline.dataprep.dealing import NTH, hashed, with_turns

GAP = "gap"
"""Of the rows between training and test: they are counted and dropped."""

_PARTS = 1_000_000
_SALT = "test"  # so that the folds' hashes, of the same columns maybe, do not go with these


def with_split(table: DataFrame, config: PreprocessConfig) -> DataFrame:
    """Append ``split`` to a table of ``config.columns``: ``train``, ``test``, or ``gap``.

    By time it is ``test`` from ``test_from`` on, and ``gap`` in the days before it if there is a
    gap. By group and by hash it is ``test`` where a hash of the columns' values is among the
    lowest; null is a value of its own, and no other row has a say in it. Stratified, every row of a
    segment that is next in turn (see ``with_turns``) when another ``1 / share`` rows have gone by:
    the test's rows of each stratum and of each segment differ by at most 1 from their share.
    """
    test = config.split.test
    if config.split.test_from is not None:
        return table.withColumn(SPLIT, _by_time(config, config.split.test_from))
    assert test.share is not None  # of all other kinds
    if test.kind == "stratified":
        dealt = with_turns(table, config, _has_target(config), _SALT, test.seed)
        return dealt.withColumn(SPLIT, _named(_is_due(config, test.share))).drop(NTH)
    columns = test.group or test.key or config.key
    part = F.pmod(hashed(columns, _SALT, test.seed), F.lit(_PARTS))
    return table.withColumn(SPLIT, _named(part < round(test.share * _PARTS)))


def is_trained(config: PreprocessConfig) -> Column:
    """Whether a row of a table with ``split`` is a training row with a target."""
    return (F.col(SPLIT) == "train") & _has_target(config)


def _by_time(config: PreprocessConfig, test_from: datetime) -> Column:
    time = F.col(f"`{config.time}`")
    split = F.when(time >= _instant(test_from), "test")
    if config.split.test.gap_days and config.split.train_until is not None:
        split = split.when(time >= _instant(config.split.train_until), GAP)
    return split.otherwise("train")


def _is_due(config: PreprocessConfig, share: float) -> Column:
    """Whether the share of the rows up to this one passes a whole number."""
    # Where the count begins depends on the segment, else none of one row would be in the test.
    begin = F.pmod(hashed(config.segment, _SALT, config.split.test.seed), F.lit(_PARTS)) / _PARTS
    nth = F.col(NTH)
    return F.floor((nth + 1) * share + begin) > F.floor(nth * share + begin)


def _has_target(config: PreprocessConfig) -> Column:
    return F.col(f"`{config.target}`").isNotNull()


def _named(is_test: Column) -> Column:
    return F.when(is_test, "test").otherwise("train")


def _instant(value: datetime) -> Column:
    return F.timestamp_micros(F.lit(round(value.timestamp() * 1_000_000)))
