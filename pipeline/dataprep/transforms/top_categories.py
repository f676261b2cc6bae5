"""``top_categories``: the frequent values of a column; all others are one."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import TopCategories
from pipeline.dataprep.transforms.columns import Setting, check_texts, check_times, with_new
from pipeline.errors import ConfigError


def top_categories(frame: DataFrame, config: TopCategories, setting: Setting) -> DataFrame:
    """Add each column with its frequent values alone.

    Learns at once, in one small job a column: as a join, the plan would hold the frame twice.
    """
    check_texts(frame, config.columns, setting.where)
    training = _training_rows(frame, setting)
    kept = {name: _most_frequent(training, name, config.top) for name in config.columns}
    for name, values in kept.items():
        if config.other in values:
            raise ConfigError(
                f"{setting.where}: {config.other!r} is a frequent value of {name}",
                hint="set other to a text that is none",
            )
    new = {config.name(name): _kept(name, values, config.other) for name, values in kept.items()}
    return with_new(frame, new, setting.where)


def _training_rows(frame: DataFrame, setting: Setting) -> DataFrame:
    if setting.train_until is None:
        raise ConfigError(
            f"{setting.where} learns from the rows before the test, so the test must be by time",
            hint="Leave it to train: max_categories of a candidate is learned on training rows.",
        )
    check_times(frame, [setting.time], setting.where)
    end = F.timestamp_micros(F.lit(round(setting.train_until.timestamp() * 1_000_000)))
    return frame.filter(F.col(f"`{setting.time}`").cast("timestamp") < end)


def _most_frequent(training: DataFrame, name: str, top: int) -> list[str]:
    column = F.col(f"`{name}`")
    counted = training.filter(column.isNotNull()).groupBy(column.alias("value")).count()
    return [row["value"] for row in counted.orderBy(F.desc("count"), "value").limit(top).collect()]


def _kept(name: str, values: list[str], other: str) -> Column:
    column = F.col(f"`{name}`")
    return F.when(column.isin(values), column).when(column.isNotNull(), F.lit(other))
