"""``join_as_of``: the newest row of another table that was known when a row asks."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from pipeline.config.duration import micros
from pipeline.config.transforms import JoinAsOf
from pipeline.dataprep.transforms.columns import (
    Setting,
    check_columns,
    check_new,
    check_times,
    instant,
)
from pipeline.dataprep.transforms.history import asks_at, group_columns, known_at
from pipeline.dataprep.transforms.timeline import AT, answer, joint_timeline
from pipeline.errors import ConfigError

_TIME, _SEEN, _ASKS_AT = "__time", "__seen", "__asks_at"


def join_as_of(frame: DataFrame, config: JoinAsOf, setting: Setting) -> DataFrame:
    """Add the columns of the table's row; null where none is known, or all are too old."""
    table = setting.views[config.table]
    time = config.time or setting.time
    table_time, table_by = config.table_time or time, config.table_by or config.by
    names = [config.prefixed(name) for name in config.columns]
    _check(frame, table, config, setting)
    check_new(frame, names, setting.where)
    groups = group_columns(config.by)
    seen = F.struct(
        # Greatest first by time: the newest row is the greatest struct.
        instant(table_time).alias(_TIME),
        *(F.col(f"`{name}`").alias(f"__{at}") for at, name in enumerate(config.columns)),
    )
    facts = group_columns(table_by) | {AT: known_at(table_time, config), _SEEN: seen}
    timeline = joint_timeline(frame, table, facts, groups | {AT: asks_at(time, config)})
    totals = {_SEEN: F.max(_SEEN)}
    answered = answer(timeline, list(groups), totals, inclusive=config.inclusive)
    found = F.col(_SEEN)
    if config.tolerance is not None:
        age = asks_at(time, config) - found[_TIME]
        found = F.when(age <= micros(config.tolerance), found)
    own = (f"`{name}`" for name in frame.columns)
    return answered.select(*own, *(found[f"__{at}"].alias(name) for at, name in enumerate(names)))


def _check(frame: DataFrame, table: DataFrame, config: JoinAsOf, setting: Setting) -> None:
    time = config.time or setting.time
    table_by = config.table_by or config.by
    there = f"{setting.where}, table {config.table}"
    check_columns(frame, config.by, setting.where)
    check_times(frame, [time], setting.where)
    check_columns(table, (*table_by, *config.columns), there)
    known = [config.known_column] if config.known_column else []
    check_times(table, [config.table_time or time, *known], there)
    for left, right in zip(config.by, table_by, strict=True):
        kinds = [frame.schema[left].dataType, table.schema[right].dataType]
        if kinds[0] != kinds[1] and not all(isinstance(kind, T.IntegralType) for kind in kinds):
            raise ConfigError(
                f"{setting.where}: {left} is {kinds[0].simpleString()}, and {right} of "
                f"{config.table} is {kinds[1].simpleString()}",
                hint="cast one of them in a SQL step before",
            )
