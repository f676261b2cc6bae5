"""``cyclic_time``: times on a circle, where midnight lies beside 23:59."""

from __future__ import annotations

import math

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from pipeline.config.transforms import CyclicTime, Period
from pipeline.dataprep.transforms.columns import Setting, check_times, with_new
from pipeline.dataprep.transforms.date_parts import clock


def cyclic_time(frame: DataFrame, config: CyclicTime, setting: Setting) -> DataFrame:
    """Add sine and cosine of the place in each period, a period being a full turn."""
    check_times(frame, [config.column], setting.where)
    local = clock(frame, config.column, config.zone)
    turns = [_passed(period, local) * (2 * math.pi) for period in config.periods]
    waves = [wave(turn) for turn in turns for wave in (F.sin, F.cos)]
    return with_new(frame, dict(zip(config.made_of(), waves, strict=True)), setting.where)


def _passed(period: Period, local: Column) -> Column:
    """The share of the period that has passed: 0 at its start, below 1."""
    of_hour = (F.minute(local) * 60 + F.second(local)) / 3600
    of_day = (F.hour(local) + of_hour) / 24
    if period == "hour":
        return of_hour
    if period == "day":
        return of_day
    if period == "week":
        return (F.weekday(local) + of_day) / 7
    if period == "month":
        return (F.dayofmonth(local) - 1 + of_day) / F.dayofmonth(F.last_day(local))
    days = F.dayofyear(F.make_date(F.year(local), F.lit(12), F.lit(31)))
    return (F.dayofyear(local) - 1 + of_day) / days
