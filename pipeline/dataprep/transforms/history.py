"""When rows become known to others and when they ask, as the history transforms declare it."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.duration import micros
from pipeline.config.transforms import History
from pipeline.dataprep.transforms.columns import Setting, check_columns, check_times, instant


def check_history(frame: DataFrame, config: History, setting: Setting) -> None:
    """Refuse a history whose columns are not there, or whose times are none."""
    check_columns(frame, (*config.by, *config.columns), setting.where)
    known = [config.known_column] if config.known_column else []
    check_times(frame, (config.time or setting.time, *known), setting.where)


def asks_at(time: str, config: History) -> Column:
    """When a row asks, in microseconds: its time less the horizon."""
    return instant(time) - F.lit(micros(config.horizon))


def known_at(time: str, config: History) -> Column:
    """When a row's values become known, in microseconds: never before its own time.

    A column that says otherwise is in error, and would let a row know its own target.
    """
    at = instant(time)
    if config.known_column is None:
        return at + F.lit(micros(config.delay))
    known = instant(config.known_column)
    return F.when(known.isNotNull() & at.isNotNull(), F.greatest(known, at))


def group_columns(by: tuple[str, ...]) -> dict[str, Column]:
    """The columns of ``by`` under names of their own."""
    return {f"__by_{at}": F.col(f"`{name}`") for at, name in enumerate(by)}
